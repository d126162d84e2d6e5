//! What was written, wherever below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Every file below `dir`; none where there is no such folder.
pub fn below(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !dir.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
