//! Counters of the API server, read from its metrics (<https://prometheus.io/docs/instrumenting/exposition_formats/>). By value.

use std::collections::BTreeMap;

/// The requests that an API server has answered, by what was asked and the status.
const REQUESTS: &str = "apiserver_request_total";

/// What was asked of the API server.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Request {
    /// `POST`, `APPLY`, `WATCH`, …
    pub verb: String,
    /// `serviceaccounts`, `serviceaccounts/token`, …
    pub resource: String,
    /// The status of the answer.
    pub code: String,
}

/// How often each was asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Requests(BTreeMap<Request, u64>);

// === impl Requests ===

impl Requests {
    /// Those that `metrics` counts.
    #[must_use]
    pub fn read(metrics: &str) -> Self {
        let mut requests = BTreeMap::new();
        for line in metrics.lines() {
            if let Some((request, count)) = read(line) {
                *requests.entry(request).or_default() += count;
            }
        }
        Self(requests)
    }

    /// What was asked since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let more = self.0.iter().map(|(request, count)| {
            let before = before.0.get(request).copied().unwrap_or_default();
            (request.clone(), count.saturating_sub(before))
        });
        Self(more.filter(|(_, count)| *count > 0).collect())
    }

    /// How many are as `is` says.
    pub fn count(&self, is: impl Fn(&Request) -> bool) -> u64 {
        self.0
            .iter()
            .filter(|(request, _)| is(request))
            .map(|(_, count)| count)
            .sum()
    }

    /// How many the API server would not take at the moment.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.count(|request| request.code == "429")
    }

    /// Counts by verb and resource, as in `POST serviceaccounts/token`.
    #[must_use]
    pub fn by_kind(&self) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        for (request, count) in &self.0 {
            *kinds
                .entry(format!("{} {}", request.verb, request.resource))
                .or_default() += count;
        }
        kinds
    }
}

fn read(line: &str) -> Option<(Request, u64)> {
    let (labels, value) = line.strip_prefix(REQUESTS)?.strip_prefix('{')?.rsplit_once("} ")?;
    let label = |name: &str| {
        let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
        let text = labels.get(start..)?;
        text.get(..text.find('"')?)
    };
    let resource = match label("subresource") {
        Some(sub) if !sub.is_empty() => format!("{}/{sub}", label("resource")?),
        _ => label("resource")?.to_owned(),
    };
    let request = Request {
        verb: label("verb")?.to_owned(),
        resource,
        code: label("code")?.to_owned(),
    };
    // Large counters are written as 1.5e+06.
    let value: f64 = value.trim().parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter is a whole number from 0 up"
    )]
    Some((request, value as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"# HELP apiserver_request_total Counter of apiserver requests
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="serviceaccounts",scope="resource",subresource="token",verb="POST",version="v1"} 12
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="serviceaccounts",scope="resource",subresource="",verb="POST",version="v1"} 1.5e+06
apiserver_request_total{code="429",component="apiserver",dry_run="",group="",resource="serviceaccounts",scope="resource",subresource="",verb="DELETE",version="v1"} 3
apiserver_request_total_other{code="429",resource="x",verb="DELETE"} 3
apiserver_current_inflight_requests{request_kind="mutating"} 0
"#;

    #[test]
    fn requests_are_read_with_their_subresource() {
        let kinds = Requests::read(METRICS).by_kind();
        let expected = [
            ("DELETE serviceaccounts", 3),
            ("POST serviceaccounts", 1_500_000),
            ("POST serviceaccounts/token", 12),
        ];
        assert_eq!(
            kinds,
            BTreeMap::from(expected.map(|(kind, count)| (kind.to_owned(), count)))
        );
    }

    #[test]
    fn what_was_asked_in_between_is_the_difference() {
        let before = Requests::read(METRICS);
        let after = Requests::read(&METRICS.replace("} 3\n", "} 8\n"));
        let between = after.since(&before);
        assert_eq!((between.throttled(), between.count(|_| true)), (5, 5));
        assert_eq!(
            before.since(&after).count(|_| true),
            0,
            "a server that started again counts from nothing"
        );
    }
}
