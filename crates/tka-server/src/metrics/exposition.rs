//! In which of Prometheus' two text formats metrics are served: OpenMetrics, or the classic one that every scraper reads.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A text format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exposition {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
    Classic,
}

const OPENMETRICS: &str = "application/openmetrics-text";

// === impl Exposition ===

impl Exposition {
    /// The format that a client prefers by its `Accept`: OpenMetrics where it names that and nothing that is text with a higher weight.
    #[must_use]
    pub fn preferred(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut openmetrics, mut classic) = (0.0, 0.0);
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let weight = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                OPENMETRICS => &mut openmetrics,
                "text/plain" | "text/*" | "*/*" => &mut classic,
                _ => continue,
            };
            let q = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            *weight = f32::max(*weight, q.unwrap_or(1.0));
        }
        if openmetrics > 0.0 && openmetrics >= classic {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// The `Content-Type` of the format.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// `openmetrics` in this format.
    #[must_use]
    pub fn of(self, openmetrics: String) -> String {
        match self {
            Self::OpenMetrics => openmetrics,
            Self::Classic => classic(&openmetrics),
        }
    }
}

/// The classic format of `openmetrics`. It calls a counter by the name of its samples, and has neither units nor an end.
fn classic(openmetrics: &str) -> String {
    let is_counter = |name: &str| openmetrics.contains(&format!("# TYPE {name} counter\n"));
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        let total = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(keyword), Some(name), Some(rest)) if is_counter(name) => {
                Some(format!("# {keyword} {name}_total {rest}"))
            }
            _ => None,
        };
        text.push_str(total.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(accept: &[&str]) -> Exposition {
        let values = accept.iter().map(|value| (ACCEPT, value.parse().unwrap()));
        Exposition::preferred(&values.collect())
    }

    #[test]
    fn client_gets_the_format_that_it_reads() {
        // As Prometheus 3 asks.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
        assert_eq!(preferred(&[prometheus]), Exposition::OpenMetrics);
        assert_eq!(
            preferred(&["text/plain", "application/openmetrics-text"]),
            Exposition::OpenMetrics
        );
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["application/json"],
            &["application/openmetrics-text; q=0"],
            &["application/openmetrics-text;q=0.1, text/plain;q=0.9"],
        ] {
            assert_eq!(preferred(accept), Exposition::Classic, "{accept:?}");
        }
    }

    #[test]
    fn classic_format_names_counters_as_their_samples() {
        let openmetrics = "# HELP a A counter.\n# TYPE a counter\na_total{x=\"# TYPE b counter\"} 1\n# HELP b B\n# TYPE b gauge\n# UNIT b s\n\
                           b 2\n# EOF\n";
        let expected = "# HELP a_total A counter.\n# TYPE a_total counter\na_total{x=\"# TYPE b counter\"} 1\n# HELP b B\n# TYPE b gauge\nb 2\n";
        assert_eq!(Exposition::Classic.of(openmetrics.into()), expected);
        assert_eq!(Exposition::OpenMetrics.of(openmetrics.into()), openmetrics);
    }
}
