#![doc = include_str!("../README.md")]

mod certificate;
mod client;
mod connector;
mod error;
mod excerpt;
mod id;
mod json;
mod state;
mod status;
mod watch;
mod whois;

pub use certificate::CertificatePair;
pub use client::{DEFAULT_SOCKET, Limits, LocalApi};
pub use error::Error;
pub use id::{NodeId, StableNodeId, UserId};
pub use state::BackendState;
pub use status::{Peer, SelfNode, Status, Tailnet};
pub use watch::{Notification, Notifications};
pub use whois::{Node, UserProfile, WhoIs};
