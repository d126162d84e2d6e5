# The image of tka-server, for those who have an engine: `docker build --tag tka-server .`, or `--build-arg PACKAGE=tka-cli --build-arg PROGRAM=tka`
# for that of tka. `cargo xtask image` makes the same images without an engine, and the same bytes each time; this does not promise that.
ARG RUST=1.95-bookworm

FROM docker.io/library/rust:${RUST} AS build
ARG PACKAGE=tka-server
ARG PROGRAM=tka-server
WORKDIR /tka
COPY . .
# Static: the image has no library. The target must be named, or the flag would hold for build scripts too.
RUN host="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS=-Ctarget-feature=+crt-static cargo build --locked --release --package "$PACKAGE" --target "$host" \
    && mkdir -p /image/usr/bin /image/etc /image/usr/share/doc/tka \
    && cp "target/$host/release/$PROGRAM" /image/usr/bin/ \
    && ln -s "$PROGRAM" /image/usr/bin/entrypoint \
    && cp LICENSE /image/usr/share/doc/tka/ \
    && install -d -m 1777 /image/tmp \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' > /image/etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' > /image/etc/group \
    && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/entrypoint"]
CMD ["serve"]
