//! Why imports cannot be checked.

use std::{fs, path::Path};

/// What holds the layers.
pub(super) const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Why imports cannot be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not Rust.
    #[error("{file} is not Rust")]
    Parse {
        /// Which.
        file: String,
        /// Why.
        source: syn::Error,
    },
    /// The block of layers is not one.
    #[error("{ARCHITECTURE}: {0}")]
    Layers(String),
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        file: path.display().to_string(),
        source,
    })
}
