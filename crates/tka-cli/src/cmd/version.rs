//! `tka version`

use std::io::{self, Write};
use std::sync::LazyLock;

/// Show the version of this command
///
/// Asks no server.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {}

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("TKA_COMMIT")
        .map(|commit| format!("commit {commit}, "))
        .unwrap_or_default();
    format!("{} ({commit}protocol {})", env!("CARGO_PKG_VERSION"), protocol())
});

/// Version, commit where the build knew it (`TKA_COMMIT`), and protocol.
pub(crate) fn description() -> &'static str {
    &DESCRIPTION
}

pub(crate) fn run() -> io::Result<()> {
    writeln!(io::stdout(), "tka {}", description())
}

/// The version of the HTTP API that this CLI speaks.
fn protocol() -> &'static str {
    tka_api::http::PREFIX.rsplit('/').next().unwrap_or_default()
}
