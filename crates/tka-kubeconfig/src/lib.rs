#![doc = include_str!("../README.md")]

mod document;
mod edit;
mod entry;
#[cfg(test)]
mod tests;
pub mod yaml;

pub use document::{Call, Document, List, Refused};
pub use edit::{quoted, to_yaml};
pub use entry::Entry;
