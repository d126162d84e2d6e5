//! What a program is linked from: cargo's word on packages, and what comes with the toolchain.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{Outcome, image::program::Target, root};

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{0}` failed; it said why above")]
    Failed(String),
}

/// A package by name and version.
pub(super) type Key = (String, String);

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) resolve: Resolve,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) description: Option<String>,
    pub(super) repository: Option<String>,
    /// None for members of the workspace.
    pub(super) source: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Resolve {
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) pkg: String,
}

/// What goes into a program, and what only builds it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) linked: BTreeSet<Key>,
    pub(super) builds: BTreeSet<Key>,
}

/// All that is known of what a program is linked from.
#[derive(Debug)]
pub(super) struct Dependencies {
    pub(super) tree: Tree,
    pub(super) metadata: Metadata,
    /// The checksums of packages.
    pub(super) checksums: BTreeMap<Key, String>,
    /// What the toolchain and the system add.
    pub(super) runtime: Vec<Key>,
}

// === impl Dependencies ===

impl Dependencies {
    /// Those of the workspace's `package`, as built for `target`.
    pub(super) fn of(package: &str, target: &Target) -> Outcome<Self> {
        let tree = |edges: &str| {
            let arguments = ["tree", "--locked", "--prefix=none", "--format={p}", "--package"];
            cargo(&[&arguments[..], &[package, "--target", &target.triple, "--edges", edges]].concat())
        };
        let metadata = cargo(&["metadata", "--locked", "--format-version=1"])?;
        Ok(Self {
            tree: Tree::read(&tree("normal,no-proc-macro")?, &tree("normal,build")?),
            metadata: serde_json::from_str(&metadata)?,
            checksums: checksums(&fs::read_to_string(root().join("Cargo.lock"))?),
            runtime: runtime(target)?,
        })
    }
}

/// What cargo says to `arguments`.
fn cargo(arguments: &[&str]) -> Outcome<String> {
    said(testbed::cargo().args(arguments))
}

/// The checksums of packages, as `Cargo.lock` has them.
pub(super) fn checksums(lock: &str) -> BTreeMap<Key, String> {
    let field = |block: &str, name: &str| {
        let line = block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]").skip(1);
    let entry = |block| {
        Some((
            (field(block, "name")?, field(block, "version")?),
            field(block, "checksum")?,
        ))
    };
    blocks.filter_map(entry).collect()
}

/// What the toolchain and the system add to each program for `target`: name and version. A static program has the C library in it.
fn runtime(target: &Target) -> Outcome<Vec<Key>> {
    let version = said(Command::new("rustc").arg("--version"))?;
    let version = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut runtime = vec![("rust-std".to_owned(), version)];
    if target.triple.ends_with("-linux-gnu") {
        let libc = said(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        let version = libc.split_whitespace().nth(1).unwrap_or_default();
        runtime.push(("glibc".to_owned(), version.to_owned()));
    }
    Ok(runtime)
}

fn said(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(Error::Failed(command.get_program().to_string_lossy().into_owned()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

// === impl Tree ===

impl Tree {
    /// From lines of `cargo tree`, the first of which is the program's own package.
    pub(super) fn read(linked: &str, all: &str) -> Self {
        let linked: BTreeSet<_> = linked.lines().skip(1).filter_map(key).collect();
        let builds = all
            .lines()
            .skip(1)
            .filter_map(key)
            .filter(|key| !linked.contains(key))
            .collect();
        Self { linked, builds }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.linked.union(&self.builds)
    }
}

/// `serde v1.0.228 (proc-macro)`
fn key(line: &str) -> Option<Key> {
    let (name, rest) = line.split_once(" v")?;
    Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
}
