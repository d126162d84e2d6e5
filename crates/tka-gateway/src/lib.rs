#![doc = include_str!("../README.md")]

pub mod body;
pub mod flow;
#[cfg(test)]
mod header_lines;
pub mod headers;
pub mod last_use;
pub mod recordable;
pub mod relay;
pub mod request_info;
pub mod stall_timeout;
pub mod tap;
pub mod target;
pub mod upstream;
pub mod websocket;

pub use body::{Counter, gated_body};
pub use flow::{Cut, CutKind, Flow, Gate, StopReason};
pub use headers::{HeaderError, UpstreamIdentity};
pub use last_use::LastUse;
pub use recordable::Unrecordable;
pub use relay::{Stream, relay};
pub use request_info::RequestInfo;
pub use stall_timeout::with_stall_timeout;
pub use tap::Tap;
pub use target::{PREFIX, Target, TargetError};
pub use upstream::{Upstream, UpstreamError};
