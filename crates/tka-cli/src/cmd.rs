//! The commands, one file each.

pub(crate) mod approvals;
pub(crate) mod args;
pub(crate) mod cluster_info;
pub(crate) mod clusters;
pub(crate) mod complete;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod credential;
pub(crate) mod doctor;
pub(crate) mod elevate;
#[cfg(unix)]
pub(crate) mod exec;
pub(crate) mod generate;
pub(crate) mod get;
pub(crate) mod kubeconfig;
pub(crate) mod login;
pub(crate) mod policy;
pub(crate) mod reauthenticate;
pub(crate) mod recordings;
pub(crate) mod rules;
pub(crate) mod sessions;
pub(crate) mod set;
#[cfg(unix)]
pub(crate) mod shell;
pub(crate) mod shell_eval;
pub(crate) mod signout;
pub(crate) mod status;
pub(crate) mod version;
