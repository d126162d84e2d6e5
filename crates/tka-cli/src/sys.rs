//! The operating system: files, signals, processes and threads.

pub(crate) mod environment;
pub(crate) mod files;
pub(crate) mod limited;
pub(crate) mod search_path;
pub(crate) mod signals;
pub(crate) mod together;
#[cfg(test)]
pub(crate) mod untested;
