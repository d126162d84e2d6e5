//! Kubeconfigs on this machine: the file of `tka` for each server, and entries in the user's own kubeconfig.

pub(crate) mod committed;
pub(crate) mod current_context;
pub(crate) mod entry_names;
pub(crate) mod env_variable;
pub(crate) mod exec_plugin;
pub(crate) mod gateway_address;
pub(crate) mod known_replicas;
pub(crate) mod merge;
#[cfg(unix)]
pub(crate) mod private_folder;
pub(crate) mod server_kubeconfig;
pub(crate) mod session_cache;
pub(crate) mod shell_integration;
pub(crate) mod store;
