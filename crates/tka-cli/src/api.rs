//! The client of a TKA server: what is asked for, how it is asked, and what came back.

pub(crate) mod access;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod device_sessions;
pub(crate) mod retry;
