//! The environment of this process.

use std::path::PathBuf;

/// A variable of the environment; one that is not Unicode counts as not set.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where `~` is: `HOME`, on Windows the user's profile.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
