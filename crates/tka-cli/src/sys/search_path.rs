//! Finds programs by PATH.

use std::env::{self, consts::EXE_SUFFIX};
use std::path::{Path, PathBuf};

/// The program `name` in the absolute folders of PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let name = name.strip_suffix(EXE_SUFFIX).unwrap_or(name);
    let paths = folders().into_iter();
    let mut paths = paths.map(|folder| folder.join(format!("{name}{EXE_SUFFIX}")));
    paths.find(|path| is_program(path))
}

#[cfg(unix)]
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// The absolute folders of PATH. Relative ones are below the working directory.
pub(crate) fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}
