//! Where a server is, and the way to it.

pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod tailscale;
