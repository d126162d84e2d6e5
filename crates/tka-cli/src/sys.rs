//! The operating system: files, signals, processes and threads.

pub(crate) mod command_output;
pub(crate) mod environment;
pub(crate) mod files;
pub(crate) mod parallel;
pub(crate) mod search_path;
pub(crate) mod signals;
#[cfg(test)]
pub(crate) mod test_requirements;
