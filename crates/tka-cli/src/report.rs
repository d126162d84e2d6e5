//! The results of commands: as text for users, as data for programs.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod cluster_info;
pub(crate) mod policy;
pub(crate) mod recordings;
pub(crate) mod rules;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod status;
