//! The audit log of one server.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::ServerOptions;

use crate::{Outcome, World};

/// The audit log of a server that records into a file.
#[derive(Debug)]
pub struct Records(PathBuf);

// === impl Records ===

impl Records {
    /// Has a server of that name record into a file of its own.
    pub fn new(world: &World, name: &str) -> Outcome<(Self, ServerOptions)> {
        Self::of(world, ServerOptions::new(name))
    }

    /// The same, for a server with these options.
    pub fn of(world: &World, mut options: ServerOptions) -> Outcome<(Self, ServerOptions)> {
        let log = world.new_folder(&options.name)?.join("audit.log");
        options.config["audit"] = json!({"path": log});
        Ok((Self(log), options))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All records so far.
    pub fn all(&self) -> Outcome<Vec<Value>> {
        lines(&self.0)
    }

    /// What was decided about sessions of `username`, after the first `skipped` records.
    pub fn decisions(&self, username: &str, skipped: usize) -> Outcome<Vec<String>> {
        let all = self.all()?;
        let of_user = all
            .iter()
            .skip(skipped)
            .filter(|record| record["who"]["user"]["login_name"] == username);
        Ok(of_user.map(decision).collect())
    }
}

/// The JSON objects of a log, one a line.
pub fn lines(path: &Path) -> Outcome<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    // The last line may still be written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn decision(record: &Value) -> String {
    record["decision"].as_str().unwrap_or_default().to_owned()
}
