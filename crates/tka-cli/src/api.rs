//! The client of a TKA server.

pub(crate) mod access;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod device_sessions;
pub(crate) mod retry;
