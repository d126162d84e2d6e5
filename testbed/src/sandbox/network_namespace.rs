//! Entering a network namespace.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Moves the calling thread into the namespace that `file` stands for. Sockets stay in the one they were opened in.
pub(super) fn enter(file: &Path) -> io::Result<()> {
    let namespace = File::open(file)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot open {}: {error}", file.display())))?;
    Ok(move_into_link_name_space(
        namespace.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}
