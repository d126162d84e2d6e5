//! A YAML document as it is written: what each part says, and where.
//!
//! It is YAML as kubectl reads it, which is YAML 1.1 with exceptions: `github.com/yaml/go-yaml`, version 2. No crate reads it so, and
//! a reader that disagrees in one place takes a kubeconfig for good that kubectl cannot read.

mod cursor;
mod edit;
pub(crate) mod lines;
mod node;
mod parse;
mod scalars;
mod scan;
mod tags;

pub(crate) use edit::{Edit, Editor, flow_item_removal, indented};
pub(crate) use node::{Kind, Malformed, Node, becomes, same};
pub(crate) use parse::parse;
