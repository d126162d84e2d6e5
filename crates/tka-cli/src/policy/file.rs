//! Reads files with policies.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tka_policy::hujson::MAX_BYTES;
use tka_policy::{Capabilities, Dialect, Expectations, Lines, Node, Policy};

use super::PolicyError;

/// A file that was read. `-` is standard input.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    /// What it is called in messages.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) policy: Policy,
}

// === impl PolicyFile ===

impl PolicyFile {
    pub(crate) fn read(path: &Path, dialect: Dialect, capability: &str) -> Result<Self, PolicyError> {
        let name = if path == Path::new("-") {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let text = text(path)?;
        let policy = Policy::parse(&text, dialect, &Capabilities::of(capability)).map_err(|error| {
            let position = Lines::new(&text).position(error.at);
            PolicyError::Syntax {
                place: format!("{name}:{}:{}", position.line, position.column),
                what: error.what,
            }
        })?;
        Ok(Self { name, text, policy })
    }

    /// The server's node as `said` describes it, or as the policy shows it.
    pub(crate) fn server(&self, said: &[String]) -> Result<Option<Node>, PolicyError> {
        if said.is_empty() {
            return Ok(self.policy.likely_server());
        }
        let mut node = Node::default();
        for text in said {
            node.say(text, &self.policy)?;
        }
        Ok(Some(node))
    }
}

/// The file with expectations beside a policy: `policy.tka.yaml` beside `policy.hujson`.
pub(crate) fn expectations_beside(policy: &Path) -> PathBuf {
    policy.with_extension("tka.yaml")
}

pub(crate) fn read_expectations(path: &Path) -> Result<Expectations, PolicyError> {
    Expectations::parse(&text(path)?).map_err(|source| PolicyError::Expect {
        path: path.to_owned(),
        source,
    })
}

/// The text of a file, of which no more is read than a policy may have.
pub(crate) fn text(path: &Path) -> Result<String, PolicyError> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    let text = read.and_then(|_| Ok(tka_kubeconfig::utf8(&bytes)?.to_owned()));
    text.map_err(|source| PolicyError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_beside_the_policy() {
        for (policy, beside) in [
            ("policy.hujson", "policy.tka.yaml"),
            ("a/policy.json", "a/policy.tka.yaml"),
            ("policy", "policy.tka.yaml"),
        ] {
            assert_eq!(expectations_beside(Path::new(policy)), Path::new(beside));
        }
    }
}
