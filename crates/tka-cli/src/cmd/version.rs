//! `tka version`

use std::process::ExitCode;
use std::sync::LazyLock;

use serde::Serialize;

use crate::error::Error;
use crate::terminal::output::{Output, RenderOptions, Report};

/// Show the version of this command
///
/// Sends no request.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

/// The version of this command.
#[derive(Debug, Serialize)]
struct ClientVersion {
    version: &'static str,
    /// The commit, if the build knew it.
    commit: Option<&'static str>,
    protocol: &'static str,
}

/// The commit of the build, if it was known.
const COMMIT: Option<&str> = option_env!("TKA_COMMIT");

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    format!("{} ({commit}protocol {})", env!("CARGO_PKG_VERSION"), protocol())
});

/// Version, commit where the build knew it (`TKA_COMMIT`), and protocol.
pub(crate) fn description() -> &'static str {
    &DESCRIPTION
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let about = ClientVersion {
        version: env!("CARGO_PKG_VERSION"),
        commit: COMMIT,
        protocol: protocol(),
    };
    arguments.output.print_or_default(&about, &line())?;
    Ok(ExitCode::SUCCESS)
}

fn line() -> String {
    format!("tka {}\n", description())
}

/// The version of the HTTP API that this CLI speaks.
fn protocol() -> &'static str {
    tka_api::http::PREFIX.rsplit('/').next().unwrap_or_default()
}

// === impl ClientVersion ===

impl Report for ClientVersion {
    fn human(&self, _: &RenderOptions<'_>) -> String {
        line()
    }

    fn names(&self) -> Vec<String> {
        vec![self.version.to_owned()]
    }
}
