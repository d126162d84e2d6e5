//! Images of containers as files, made without an engine and without a registry: the same content makes the same bytes.

mod archive;
mod elf;
mod rootfs;

pub use self::{
    archive::{Archive, Compression, Image, gzip, sha256},
    elf::interpreter,
    rootfs::Rootfs,
};

/// The architecture that Rust calls `arch`, as Go, images and release archives call it; none that images are made for.
#[must_use]
pub fn architecture(arch: &str) -> Option<&'static str> {
    match arch {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}
