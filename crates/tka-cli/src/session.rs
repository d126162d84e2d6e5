//! Beginning and ending sessions, and what they leave on this machine.

pub(crate) mod flow;
pub(crate) mod keep;
pub(crate) mod local;
#[cfg(unix)]
pub(crate) mod own;
pub(crate) mod signin;
