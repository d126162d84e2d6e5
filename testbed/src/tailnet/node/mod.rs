//! Nodes: a userspace tailscaled each, with a proxy through which its programs reach the tailnet.

mod change;
mod join;
pub(super) mod record;

pub use self::record::{Node, Owner};
pub(crate) use self::{
    change::{change, remove},
    join::{ensure, ensure_all, panicked, wait_acquainted},
    record::{SERVER, all, find},
};
