//! What the commands about policies have in common: which policy, and in which form they answer.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use tka_core::Period;
use tka_policy::{CAPABILITY, Dialect};

use crate::error::Error;
use crate::policy::file::PolicyFile;
use crate::terminal::output::PrintError;

/// The server's default, `operator.minPeriod`.
const MIN_PERIOD: &str = "1m";

/// Which policy, and how it is read.
#[derive(clap::Args, Debug)]
pub(super) struct Source {
    /// The tailnet policy; `-` is standard input
    pub(super) file: PathBuf,

    /// Which control server reads it
    #[arg(long, value_enum, default_value_t = Reader::Tailscale)]
    pub(super) dialect: Reader,

    /// What the server's node is: its tag, its user, its address, or a host of the policy [default: `tag:tka`, or the only tag that gets rules]
    #[arg(long, value_name = "NODE")]
    pub(super) to: Vec<String>,

    /// The capability with rules, where the server's `tailscale.capName` is another
    #[arg(long, value_name = "NAME", default_value = CAPABILITY)]
    pub(super) capability: String,

    /// The server's shortest period, where its `operator.minPeriod` is another
    #[arg(long, value_name = "DURATION", default_value = MIN_PERIOD)]
    pub(super) min_period: Period,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Reader {
    Tailscale,
    Headscale,
}

/// The form of findings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Form {
    /// A line each, with file, line and column
    #[default]
    Text,
    /// JSON
    Json,
    /// XML for what shows tests
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

// === impl Source ===

impl Source {
    pub(super) fn read(&self) -> Result<PolicyFile, Error> {
        let dialect = match self.dialect {
            Reader::Tailscale => Dialect::Tailscale,
            Reader::Headscale => Dialect::Headscale,
        };
        Ok(PolicyFile::read(&self.file, dialect, &self.capability)?)
    }
}

pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(written.map_err(PrintError::Write)?)
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| PrintError::Form(error.into()))?;
    Ok(text + "\n")
}
