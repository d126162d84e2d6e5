#![doc = include_str!("../README.md")]

mod certificate;
mod client;
mod connector;
mod error;
mod id;
mod json;
mod status;
mod watch;
mod whois;

pub use certificate::CertificatePair;
pub use client::{DEFAULT_SOCKET, Limits, LocalApi};
pub use error::Error;
pub use id::{NodeId, StableNodeId, UserId};
pub use status::{BackendState, Peer, SelfNode, Status, Tailnet};
pub use watch::{Notification, Notifications};
pub use whois::{Node, UserProfile, WhoIs};
