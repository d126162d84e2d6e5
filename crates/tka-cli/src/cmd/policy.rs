//! `tka policy …`

mod check;
mod roles;
mod test;
mod who;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use tka_core::Period;
use tka_policy::{CAPABILITY, Dialect};

use crate::config::Config;
use crate::config::flags::Global;
use crate::context::settings;
use crate::error::Error;
use crate::policy::file::PolicyFile;
use crate::terminal::output::{OutputMode, PrintError};

/// The server's default, `operator.minPeriod`.
const MIN_PERIOD: &str = "1m";

/// Check a tailnet policy in a file, and see what it gives
///
/// Reads the file and nothing else: no server, no tailnet. What the policy alone does not decide is said so.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Check(check::Arguments),
    Who(who::Arguments),
    Test(test::Arguments),
    Roles(roles::Arguments),
}

/// Which policy, and how it is read.
#[derive(clap::Args, Debug)]
struct Source {
    /// The tailnet policy; `-` is standard input
    file: PathBuf,

    /// Which control server reads it
    #[arg(long, value_enum, default_value_t = Reader::Tailscale)]
    dialect: Reader,

    /// What the server's node is: its tag, its user, its address, or a host of the policy [default: `tag:tka`, or the only tag that gets rules]
    #[arg(long, value_name = "NODE")]
    to: Vec<String>,

    /// The capability with rules, where the server's `tailscale.capName` is another
    #[arg(long, value_name = "NAME", default_value = CAPABILITY)]
    capability: String,

    /// The server's shortest period, where its `operator.minPeriod` is another
    #[arg(long, value_name = "DURATION", default_value = MIN_PERIOD)]
    min_period: Period,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Reader {
    Tailscale,
    Headscale,
}

/// The form of findings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Form {
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
    fn read(&self) -> Result<PolicyFile, Error> {
        let dialect = match self.dialect {
            Reader::Tailscale => Dialect::Tailscale,
            Reader::Headscale => Dialect::Headscale,
        };
        Ok(PolicyFile::read(&self.file, dialect, &self.capability)?)
    }
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.action {
        Action::Check(check) => check.run(),
        Action::Who(who) => who.run(mode(flags)),
        Action::Test(test) => test.run(),
        Action::Roles(roles) => roles.run(mode(flags)),
    }
}

/// The settings matter for colours alone, so that a wrong file of them stops nothing.
fn mode(flags: &Global) -> OutputMode {
    let config = settings(flags);
    let theme = config.as_ref().map(|config: &Config| config.theme).unwrap_or_default();
    OutputMode {
        quiet: flags.quiet,
        long: flags.long,
        theme: flags.theme.unwrap_or(theme),
    }
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(written.map_err(PrintError::Write)?)
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| PrintError::Form(error.into()))?;
    Ok(text + "\n")
}
