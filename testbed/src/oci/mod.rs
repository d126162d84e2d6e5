//! Images of containers as files, made without an engine and without a registry: the same content makes the same bytes.

mod archive;
mod elf;
mod rootfs;

pub use self::{
    archive::{Archive, Compression, Image},
    elf::interpreter,
    rootfs::Rootfs,
};
