//! What commands print: for people as text, for programs as data.

pub(crate) mod cluster_info;
pub(crate) mod rules;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod status;
