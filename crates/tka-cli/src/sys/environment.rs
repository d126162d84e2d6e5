//! The environment of this process.

use std::path::PathBuf;

/// A variable of the environment. One that is not Unicode counts as unset, but for settings of `tka`: those have replacement characters then, and
/// are refused.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    match value.into_string() {
        Ok(value) => Some(value),
        Err(value) if name.starts_with("TKA_") => Some(value.to_string_lossy().into_owned()),
        Err(_) => None,
    }
}

/// The home folder: `HOME`, or the profile on Windows.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
