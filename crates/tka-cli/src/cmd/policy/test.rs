//! `tka policy test`

use std::path::PathBuf;
use std::process::ExitCode;

use tka_policy::{Outcome, report};

use super::options::{Form, Source, json, print};
use crate::error::Error;
use crate::exit::Exit;
use crate::policy::{PolicyError, file};
use crate::terminal::messages::clean;
use crate::terminal::output::lines;
use crate::terminal::ui;

/// Hold a policy against expectations that are kept beside it
///
/// Expectations of policy.hujson are in policy.tka.yaml: who may have which role, and who may not. What the policy alone does not decide is
/// as good as not met. The exit status is 22 if any is not met.
///
/// Each of its `tests` says a caller, as in `as: alice@example.com`, and what they may, as in `may: [{role: view}]`, or `nothing: true`. `to` is
/// the server's node, as in `to: [tag:tka]`.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    /// The file with expectations [default: that beside the policy]
    #[arg(long, value_name = "FILE", required_if_eq("file", "-"))]
    tests: Option<PathBuf>,

    /// Form of the results
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

// === impl Arguments ===

impl Arguments {
    pub(super) fn run(&self) -> Result<ExitCode, Error> {
        let path = self.tests.clone();
        let path = path.unwrap_or_else(|| file::expectations_beside(&self.source.file));
        let expectations = file::read_expectations(&path)?;
        let file = self.source.read()?;
        let server = file.server(&self.source.to)?;
        let outcomes = expectations.test(&file.policy, server.as_ref(), self.source.min_period);
        let outcomes = outcomes.map_err(|source| PolicyError::Expect {
            path: path.clone(),
            source,
        })?;
        print(&self.rendered(&path.display().to_string(), &outcomes)?)?;
        let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
        if self.output == Form::Text {
            ui::write_stderr(&format!("tests: {}; failed: {failed}\n", outcomes.len()));
        }
        Ok(if failed > 0 { Exit::PolicyTestFailed } else { Exit::Ok }.into())
    }

    fn rendered(&self, name: &str, outcomes: &[Outcome]) -> Result<String, Error> {
        match self.output {
            Form::Text => Ok(text(name, outcomes)),
            Form::Json => json(&outcomes),
            Form::Junit => Ok(report::junit_of_tests(name, outcomes)),
            Form::Sarif => json(&report::sarif_of_tests(name, outcomes, env!("CARGO_PKG_VERSION"))),
        }
    }
}

fn text(name: &str, outcomes: &[Outcome]) -> String {
    let failures = outcomes.iter().flat_map(|outcome| {
        outcome.failures.iter().map(|failure| {
            let (line, column) = (outcome.position.line, outcome.position.column);
            format!(
                "{name}:{line}:{column}: error: {}: {}",
                clean(&outcome.name),
                clean(failure)
            )
        })
    });
    lines(failures)
}
