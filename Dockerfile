# The image of tka-server, for those who have an engine: `docker build --tag tka-server .`, or `docker build --build-arg PROGRAM=tka --tag tka .`
# for that of tka. `cargo xtask image` makes the same images without an engine, and the same bytes each time; this does not promise that.
ARG RUST=1.95-bookworm
ARG PROGRAM=tka-server
# That of Cargo.toml.
ARG VERSION=0.1.0

FROM docker.io/library/rust:${RUST} AS build
ARG PROGRAM
WORKDIR /tka
COPY . .
# Static: the image has no library. The target must be named, or the flag would hold for build scripts too.
RUN host="$(rustc -vV | sed -n 's/^host: //p')" \
    && case "$PROGRAM" in \
         tka-server) package=tka-server profile=release ;; \
         tka) package=tka-cli profile=cli ;; \
         *) echo "PROGRAM=$PROGRAM: there are tka-server and tka" >&2; exit 1 ;; \
       esac \
    && RUSTFLAGS=-Ctarget-feature=+crt-static cargo build --locked --profile "$profile" --package "$package" --target "$host" \
    && mkdir -p /image/usr/bin /image/etc /image/usr/share/doc/tka \
    && cp "target/$host/$profile/$PROGRAM" /image/usr/bin/ \
    && ln -s "$PROGRAM" /image/usr/bin/entrypoint \
    && cp LICENSE /image/usr/share/doc/tka/ \
    && install -d -m 1777 /image/tmp \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' > /image/etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' > /image/etc/group \
    && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf

FROM scratch AS image
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/entrypoint"]
ARG VERSION
LABEL org.opencontainers.image.version="${VERSION}"
LABEL org.opencontainers.image.source="https://github.com/SpechtLabs/tka"
LABEL org.opencontainers.image.licenses="Apache-2.0"

FROM image AS image-tka-server
CMD ["serve"]

FROM image AS image-tka
CMD ["help"]

FROM image-${PROGRAM}
ARG PROGRAM
LABEL org.opencontainers.image.title="${PROGRAM}"
