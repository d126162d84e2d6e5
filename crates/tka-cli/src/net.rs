//! Addresses of servers, proxies and tailscaled.

pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod tailscale;
