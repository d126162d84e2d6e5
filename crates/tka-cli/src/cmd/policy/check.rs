//! `tka policy check`

use std::path::PathBuf;
use std::process::ExitCode;

use tka_policy::{Findings, Options, Roles, report};

use super::options::{Form, Source, json, print};
use crate::error::Error;
use crate::exit::Exit;
use crate::policy::chart;
use crate::terminal::messages::clean;
use crate::terminal::output::lines;
use crate::terminal::ui;

/// Find what is wrong with a policy, as far as TKA goes
///
/// Finds values that the server would refuse, rules that no caller can have, and names that the policy does not have. Also finds callers
/// who would be refused because rules share the highest priority. The exit status is 21 if there are errors.
///
///   tka policy check policy.hujson --to tag:tka --values values.yaml
///   tka policy check policy.hujson --dialect headscale -o sarif > policy.sarif
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    /// The roles that the chart lists; a rule with another is an error
    #[arg(long, value_name = "ROLE", value_delimiter = ',', conflicts_with = "values")]
    roles: Option<Vec<String>>,

    /// The chart's values, whose `roles` and `namespacedRoles` say the same
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,

    /// Fail on warnings too
    #[arg(long)]
    strict: bool,

    /// Form of the findings
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

// === impl Arguments ===

impl Arguments {
    pub(super) fn run(&self) -> Result<ExitCode, Error> {
        let file = self.source.read()?;
        let server = file.server(&self.source.to)?;
        let is_known = server.is_some();
        let options = Options {
            server,
            min_period: Some(self.source.min_period),
            roles: self.roles()?,
        };
        let findings = file.policy.check(&file.text, &options);
        print(&self.rendered(&file.name, &findings)?)?;
        if self.output == Form::Text {
            ui::write_stderr(&summary(&findings, file.policy.values(), is_known));
        }
        let is_wrong = findings.errors > 0 || self.strict && findings.warnings > 0;
        Ok(if is_wrong { Exit::PolicyWrong } else { Exit::Ok }.into())
    }

    fn roles(&self) -> Result<Option<Roles>, Error> {
        if let Some(path) = &self.values {
            return Ok(Some(chart::roles(path)?));
        }
        Ok(self.roles.as_ref().map(|roles| Roles {
            anywhere: roles.iter().cloned().collect(),
            ..Roles::default()
        }))
    }

    fn rendered(&self, name: &str, findings: &Findings) -> Result<String, Error> {
        match self.output {
            Form::Text => Ok(text(name, findings)),
            Form::Json => json(findings),
            Form::Junit => Ok(report::junit(name, findings)),
            Form::Sarif => json(&report::sarif(name, findings, env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// As compilers say it, so that editors lead there.
fn text(name: &str, findings: &Findings) -> String {
    lines(findings.items.iter().map(|finding| {
        let (line, column) = (finding.position.line, finding.position.column);
        let (level, message, id) = (finding.level, clean(&finding.message), finding.kind.id());
        format!("{name}:{line}:{column}: {level}: {message} [{id}]")
    }))
}

fn summary(findings: &Findings, values: usize, server_is_known: bool) -> String {
    let Findings {
        errors,
        warnings,
        left_out,
        ..
    } = findings;
    let mut all = vec![format!(
        "values of both capabilities: {values}; errors: {errors}; warnings: {warnings}"
    )];
    if *left_out > 0 {
        all.push(format!("{left_out} findings are not shown"));
    }
    if values > 0 && !server_is_known {
        all.push(
            "callers were not compared, because the policy does not show which nodes are TKA servers: say it with --to"
                .into(),
        );
    }
    lines(all)
}
