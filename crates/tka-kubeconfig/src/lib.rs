#![doc = include_str!("../README.md")]

mod document;
mod edit;
mod encoding;
mod entry;
mod model;
mod scalar;
#[cfg(test)]
mod tests;
mod unreadable;
mod value;
pub mod yaml;

pub use document::{Document, List, Refused};
pub use edit::{quoted, to_yaml};
pub use entry::Entry;
pub use model::{Call, Cluster, Context, Kubeconfig, Merged, Named, User, find, merge, sources};
pub use unreadable::Unreadable;
