#![doc = include_str!("../README.md")]

pub mod certainty;
pub mod check;
pub mod dialect;
mod equal_priority;
pub mod expect;
pub mod finding;
mod grants;
pub mod hujson;
mod names;
pub mod net;
pub mod node;
pub mod policy;
mod read;
pub mod report;
mod selection;
mod selector;
pub mod source;
pub mod who;

#[cfg(test)]
mod fuzz;

pub use certainty::{Certainty, UnknownReason};
pub use check::{Options, Roles};
pub use dialect::Dialect;
pub use expect::{ExpectError, Expectations, Outcome};
pub use finding::{Finding, Findings, Kind, Level};
pub use hujson::SyntaxError;
pub use node::{Node, NodeError};
pub use policy::{CAPABILITY, Capabilities, Policy};
pub use source::{Lines, Position};
pub use who::{Answer, Located};
