#![doc = include_str!("../README.md")]

mod document;
mod edit;
mod encoding;
mod entry;
mod model;
mod obstacle;
mod scalar;
mod set;
#[cfg(test)]
mod tests;
mod unreadable;
mod value;
mod yaml;

pub use document::{Document, List, Refused};
pub use edit::{quoted, to_yaml};
pub use encoding::{NotUtf8, utf8};
pub use entry::KubeconfigEntry;
pub use model::{Cluster, Context, ExecConfig, Kubeconfig, Merged, Named, User, find, merge, sources};
pub use obstacle::Obstacle;
pub use set::{Written, set, written};
pub use unreadable::Unreadable;
