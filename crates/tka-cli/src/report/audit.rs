//! Renders what was found in audit records, and says in whose.

use std::cmp::Reverse;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tka_api::http::AuditSearched;

use crate::error::Error;
use crate::net::server::Server;
use crate::terminal::messages::{Clock, clean};
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::time_format;

/// What was found, and in whose records.
#[derive(Debug, Default, Serialize)]
pub(crate) struct AuditSearch {
    /// Newest first.
    items: Vec<Item>,
    /// One for each replica that was asked.
    searched: Vec<ReplicaSearch>,
    /// Whether there is more than was asked for.
    has_more: bool,
}

/// A record, as the replica has it.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    pub(crate) replica: String,
    pub(crate) record: Value,
}

/// What was searched at one replica.
#[derive(Debug, Serialize)]
pub(crate) struct ReplicaSearch {
    server: String,
    /// Its name, as it says it; the server where it did not answer.
    pub(crate) replica: String,
    /// Since when its records reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    complete: bool,
    not_searched: Vec<String>,
    skipped_lines: u64,
    /// Why nothing was searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether it led no further, before all was searched that was asked for.
    #[serde(skip)]
    pub(crate) stopped: bool,
}

// === impl ReplicaSearch ===

impl ReplicaSearch {
    pub(crate) fn new(server: &Server, said: &AuditSearched) -> Self {
        Self {
            server: server.to_string(),
            replica: said.replica.clone(),
            since: said.since,
            complete: said.complete,
            not_searched: Vec::new(),
            skipped_lines: 0,
            error: None,
            stopped: false,
        }
    }

    /// Adds what the replica says of another page.
    pub(crate) fn add(&mut self, said: &AuditSearched) {
        self.complete = said.complete;
        self.not_searched.clone_from(&said.not_searched);
        self.skipped_lines = self.skipped_lines.saturating_add(said.skipped_lines);
    }

    fn failed(server: &Server, error: &Error) -> Self {
        Self {
            server: server.to_string(),
            replica: server.to_string(),
            since: None,
            complete: false,
            not_searched: Vec::new(),
            skipped_lines: 0,
            error: Some(error.to_string()),
            stopped: false,
        }
    }

    fn is_whole(&self) -> bool {
        self.error.is_none() && self.not_searched.is_empty() && !self.stopped
    }
}

// === impl AuditSearch ===

impl AuditSearch {
    pub(crate) fn add(&mut self, items: Vec<Item>, searched: ReplicaSearch, has_more: bool) {
        self.items.extend(items);
        self.searched.push(searched);
        self.has_more |= has_more;
    }

    /// A replica did not answer, or refused.
    pub(crate) fn failed(&mut self, server: &Server, error: &Error) {
        self.searched.push(ReplicaSearch::failed(server, error));
    }

    /// Sorts the records of all replicas by time, newest first, and keeps the first ones.
    pub(crate) fn merge(&mut self, limit: usize) {
        self.items.sort_by_key(|item| Reverse(time(&item.record)));
        self.has_more |= self.items.len() > limit;
        self.items.truncate(limit);
    }

    /// Whether all was searched that was asked for, but for what is beyond the limit.
    pub(crate) fn is_whole(&self) -> bool {
        self.searched.iter().all(ReplicaSearch::is_whole)
    }

    /// In whose records was searched, and what is left out on purpose.
    pub(crate) fn notes(&self) -> Vec<String> {
        let answered = self.searched.iter().filter(|searched| searched.error.is_none());
        let mut notes: Vec<String> = answered
            .map(|searched| {
                let name = &searched.replica;
                match searched.since {
                    Some(since) => format!("searched the records of {name}, which reach back to {since}"),
                    None => format!("searched the records of {name}, which has none"),
                }
            })
            .collect();
        if self.has_more {
            notes.push("there may be more: see them with --limit".to_owned());
        }
        notes
    }

    /// What was not searched.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.searched.iter().filter_map(ReplicaSearch::warning).collect()
    }
}

impl ReplicaSearch {
    fn warning(&self) -> Option<String> {
        let name = &self.replica;
        let mut parts = Vec::new();
        if self.error.is_some() {
            parts.push(format!("the records of {name} were not searched"));
        }
        if !self.not_searched.is_empty() {
            let files = self.not_searched.join(", ");
            parts.push(format!("files of {name} were not searched: {files}"));
        }
        if self.stopped {
            parts.push(format!("the search at {name} did not come to its end"));
        }
        if self.skipped_lines > 0 {
            let count = self.skipped_lines;
            parts.push(format!("lines in the files of {name} that are no record: {count}"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl Report for AuditSearch {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        if self.items.is_empty() {
            return String::new();
        }
        let are_several = self.searched.len() > 1;
        let heading = [
            "TIME",
            "DECISION",
            "USER",
            "DEVICE",
            "SESSION",
            "ABOUT",
            if are_several { "REPLICA" } else { "" },
        ];
        let rows: Vec<_> = self
            .items
            .iter()
            .map(|item| row(item, are_several, &options.clock))
            .collect();
        table(heading, &rows, options)
    }

    /// Records have no names. Those of the sessions that they are about, each once.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for item in &self.items {
            let name = text(&item.record["session"]["name"]);
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn row(item: &Item, are_several: bool, clock: &Clock) -> [String; 7] {
    let record = &item.record;
    let who = match &record["who"]["machine"]["tags"] {
        Value::Array(tags) => tags.iter().map(text).collect::<Vec<_>>().join(" "),
        _ => text(&record["who"]["user"]["login_name"]),
    };
    let time = time(record).map(|time| time_format::since(time, clock.now, &clock.zone));
    [
        time.unwrap_or_default(),
        text(&record["decision"]),
        who,
        text(&record["device"]["name"]),
        text(&record["session"]["name"]),
        about(record),
        if are_several {
            clean(&item.replica)
        } else {
            String::new()
        },
    ]
}

/// What a record is about, in short.
fn about(record: &Value) -> String {
    let join = |values: &[&Value]| {
        let texts = values.iter().map(|value| text(value)).filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join(" ")
    };
    let (api, look, approval, session) = (&record["api"], &record["look"], &record["approval"], &record["session"]);
    let what = match () {
        () if api.is_object() => join(&[
            &api["verb"],
            &api["resource"],
            &api["subresource"],
            &api["namespace"],
            &api["name"],
            &api["path"],
        ]),
        () if look.is_object() => join(&[&look["at"], &look["name"], &look["query"]]),
        () if approval.is_object() => join(&[&approval["username"], &session["rule"]["role"]]),
        () if session.is_object() => join(&[&session["rule"]["role"], &session["rule"]["name"]]),
        () => join(&[&record["request"]["method"], &record["request"]["path"]]),
    };
    let why = text(&record["why"]);
    match (what.is_empty(), why.is_empty()) {
        (_, true) => what,
        (true, false) => why,
        (false, false) => format!("{what}: {why}"),
    }
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

fn time(record: &Value) -> Option<Timestamp> {
    record["time"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::theme::Theme;
    use jiff::tz::TimeZone;
    use serde_json::json;

    fn search() -> AuditSearch {
        let item = |replica: &str, record: Value| Item {
            replica: replica.to_owned(),
            record,
        };
        let user = json!({"user": {"id": 1, "login_name": "alice\u{1b}[31m@example.com"}});
        let said = |replica: &str| AuditSearched {
            replica: replica.to_owned(),
            since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            complete: true,
            not_searched: vec![],
            skipped_lines: 0,
        };
        let server = Server::new("http://tka-0:8080", 443, None).unwrap();
        let mut search = AuditSearch::default();
        let signed_in = json!({"time": "2026-01-02T15:00:00Z", "decision": "signed_in", "who": user, "device": {"name": "laptop"},
            "session": {"name": "tka-alice-x", "rule": {"role": "edit", "name": "oncall"}}});
        let machine = json!({"time": "2026-01-02T15:03:00Z", "decision": "refused", "who": {"machine": {"tags": ["tag:ci", "tag:x"]}},
            "request": {"method": "POST", "path": "/api/v1alpha1/login"}, "why": "no rule"});
        let looked =
            json!({"time": "2026-01-02T15:02:00Z", "decision": "looked", "look": {"at": "audit", "query": "user=a"}});
        let carried = json!({"time": "2026-01-02T15:01:00Z", "decision": "carried", "api": {"verb": "get", "resource": "pods", "namespace": "shop"},
            "session": {"name": "tka-alice-x"}});
        let of_first = vec![item("tka-0", machine), item("tka-0", signed_in)];
        search.add(of_first, ReplicaSearch::new(&server, &said("tka-0")), false);
        let of_second = vec![item("tka-1", looked), item("tka-1", carried)];
        search.add(of_second, ReplicaSearch::new(&server, &said("tka-1")), false);
        search
    }

    fn shown(search: &AuditSearch) -> String {
        let palette = Theme::Notty.palette();
        search.human(&RenderOptions {
            palette: &palette,
            clock: Clock {
                now: "2026-01-02T15:04:05Z".parse().unwrap(),
                zone: TimeZone::UTC,
            },
            width: None,
            long: false,
        })
    }

    #[test]
    fn records_of_all_are_sorted_by_time() {
        let mut all = search();
        all.merge(10);
        insta::assert_snapshot!(shown(&all), @"
        TIME                                 DECISION   USER                   DEVICE  SESSION      ABOUT                              REPLICA
        65 s ago (2026-01-02 15:03:00 UTC)   refused    tag:ci tag:x                                POST /api/v1alpha1/login: no rule  tka-0
        2 min ago (2026-01-02 15:02:00 UTC)  looked                                                 audit user=a                       tka-1
        3 min ago (2026-01-02 15:01:00 UTC)  carried                                   tka-alice-x  get pods shop                      tka-1
        4 min ago (2026-01-02 15:00:00 UTC)  signed_in  alice[31m@example.com  laptop  tka-alice-x  edit oncall                        tka-0
        ");
        assert!(all.is_whole() && !all.has_more);
        assert_eq!(all.names(), ["tka-alice-x"]);
        all.merge(2);
        let decisions: Vec<_> = all.items.iter().map(|item| item.record["decision"].clone()).collect();
        assert_eq!(decisions, ["refused", "looked"]);
        assert!(all.has_more && all.notes().iter().any(|note| note.contains("--limit")));
    }

    #[test]
    fn what_was_not_searched_is_told() {
        let mut all = search();
        assert!(all.warnings().is_empty());
        all.searched[0].add(&AuditSearched {
            replica: "tka-0".to_owned(),
            since: None,
            complete: false,
            not_searched: vec!["audit.log.2.gz".to_owned()],
            skipped_lines: 3,
        });
        assert!(!all.is_whole());
        let warnings = all.warnings();
        assert!(
            warnings.len() == 1 && warnings[0].contains("audit.log.2.gz") && warnings[0].contains("no record: 3"),
            "{warnings:?}"
        );
        let mut failed = search();
        let server = Server::new("http://tka-2:8080", 443, None).unwrap();
        failed.failed(&server, &Error::WorkerPanicked);
        assert!(!failed.is_whole() && failed.warnings()[0].contains("http://tka-2:8080"));
        assert_eq!(failed.notes().len(), 2, "it was not searched");
        let json = serde_json::to_value(&failed).unwrap();
        assert_eq!(json["searched"][2]["complete"], false);
        assert_eq!(json["items"][0]["record"]["decision"], "refused");
    }

    #[test]
    fn record_that_says_nothing_is_shown_all_the_same() {
        let mut odd = AuditSearch::default();
        for record in [
            json!({}),
            json!(null),
            json!({"time": 7, "who": [], "decision": {}, "why": "x"}),
        ] {
            odd.items.push(Item {
                replica: String::new(),
                record,
            });
        }
        odd.merge(10);
        assert!(shown(&odd).contains('x'));
    }
}
