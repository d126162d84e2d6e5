//! The environment of this process.

use std::path::PathBuf;

/// A variable of the environment. One that is not Unicode counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The home folder: `HOME`, or the profile on Windows.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
