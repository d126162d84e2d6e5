//! The reference of metrics, `docs/metrics.md`: made from what a server serves, so that it cannot say anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tka_gateway::RequestInfo;

use super::{Metrics, Roles, WhoIsOutcome, encode_sessions};

const INTRODUCTION: &str = "\
# Metrics

<!-- `cargo xtask docs` writes this page from what the server registers. -->

The health listener serves all of these at `/metrics`, and those of the operator alone at `/metrics/controller`. With
`Accept: application/openmetrics-text` it answers in OpenMetrics, else in the classic text format. Counters begin at zero when the process
starts.

No label tells of a user, a device or a session. `cluster_role` has at most 64 values, and `other`. The values of `reason`, `outcome`,
`verb`, `resource`, `direction`, `method` and `route` are fixed; `code` is a status code. `webhook` is a name of the configuration.

";

/// The gauges of sessions, with a session.
#[derive(Debug)]
struct OneSession;

// === impl OneSession ===

impl Collector for OneSession {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_sessions(encoder, true, &["view".into()], &Roles::default())
    }
}

/// One metric.
#[derive(Debug, Default)]
struct MetricDescription {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The page, in Markdown.
pub fn reference() -> Result<String, fmt::Error> {
    let (mut server, mut operator) = (Registry::default(), Registry::default());
    let metrics = Metrics::register(&mut server);
    metrics.signed_in(Some("view"), None);
    drop(metrics.notifications.of("pager"));
    metrics.whois_answered(WhoIsOutcome::resolved, Duration::ZERO);
    metrics.answered(&Method::GET, None, StatusCode::OK, Duration::ZERO);
    metrics
        .gateway
        .begins(&RequestInfo::default(), false)
        .over(None, [0, 0]);
    operator.register_collector(Box::new(OneSession));
    tka_operator::metrics::Metrics::register(&mut operator).touch();
    let mut page = INTRODUCTION.to_owned();
    for (title, registry) in [("Requests", &server), ("Sessions in the cluster", &operator)] {
        let mut text = String::new();
        encode(&mut text, registry)?;
        write!(
            page,
            "## {title}\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
        )?;
        for (name, MetricDescription { kind, help, labels }) in described(&text) {
            let name = if kind == "counter" { name + "_total" } else { name };
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let unit = unit(&name, &help);
            let labels = labels.join(", ");
            let help = help.trim_end_matches('.');
            writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |")?;
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    Ok(page)
}

fn unit(name: &str, help: &str) -> &'static str {
    if name.ends_with("_seconds") || help.contains("in seconds") {
        "seconds"
    } else {
        ""
    }
}

/// The metrics that `text` has, which is OpenMetrics.
fn described(text: &str) -> BTreeMap<String, MetricDescription> {
    let mut all: BTreeMap<String, MetricDescription> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (described, help) = rest.split_once(' ').unwrap_or((rest, ""));
            described.clone_into(&mut name);
            help.clone_into(&mut all.entry(name.clone()).or_default().help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let kind = rest.rsplit(' ').next().unwrap_or_default();
            kind.clone_into(&mut all.entry(name.clone()).or_default().kind);
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0));
            let labels = labels.filter(|label| *label != "le").map(ToOwned::to_owned);
            all.entry(name.clone()).or_default().labels.extend(labels);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_describes_type_unit_and_labels() {
        let page = reference().unwrap();
        for row in [
            "| `tka_login_attempts_total` | counter |  | `cluster_role`, `outcome` | ",
            "| `tka_reconciler_duration` | histogram | seconds |  | ",
            "| `tka_config_reloads_total` | counter |  | `outcome` | ",
            "| `tka_gateway_requests_total` | counter |  | `code`, `verb` | ",
            "| `tka_active_user_sessions` | gauge |  | `cluster_role` | ",
            "| `tka_api_server_request_duration_seconds` | histogram | seconds | `code`, `resource`, `verb` | ",
        ] {
            assert!(page.contains(row), "{row} in {page}");
        }
    }
}
