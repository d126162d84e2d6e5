//! Kubeconfigs on this machine: the one of ours for each server, and entries of ours in the user's own.

pub(crate) mod current;
pub(crate) mod export;
pub(crate) mod integration;
pub(crate) mod known;
pub(crate) mod merge;
pub(crate) mod names;
pub(crate) mod plugin;
#[cfg(unix)]
pub(crate) mod private;
pub(crate) mod sent;
pub(crate) mod store;
