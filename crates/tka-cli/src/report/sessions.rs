//! Renders sessions.

use serde::Serialize;
use tka_api::http::{SessionInfo, SessionList};

use crate::terminal::messages::clean;
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::time_format;

/// The sessions of all callers.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct AllSessions(pub(crate) SessionList);

// === impl SessionList ===

impl Report for SessionList {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        if self.items.is_empty() {
            return String::new();
        }
        sessions(&self.items, false, options)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|session| clean(&session.name)).collect()
    }
}

// === impl AllSessions ===

impl Report for AllSessions {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        if self.0.items.is_empty() {
            return String::new();
        }
        sessions(&self.0.items, true, options)
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

/// A table of sessions: of one user, or of all with a column that says whose.
fn sessions(items: &[SessionInfo], of_all: bool, options: &RenderOptions<'_>) -> String {
    let mut heading = [
        "NAME",
        "USER",
        "ROLE",
        "WHERE",
        "DEVICE",
        "UNTIL",
        "RULE",
        "LABEL",
        "REASON",
        "SIGNED IN",
    ];
    // What is empty in every row is left out.
    if !of_all {
        heading[1] = "";
    }
    if !options.long {
        heading[6..].fill("");
    }
    let rows: Vec<_> = items.iter().map(|session| row(session, of_all, options)).collect();
    table(heading, &rows, options)
}

fn row(session: &SessionInfo, of_all: bool, options: &RenderOptions<'_>) -> [String; 10] {
    let clock = &options.clock;
    let of = |text: &Option<String>| text.as_deref().filter(|_| options.long).map(clean).unwrap_or_default();
    let until = time_format::until(session.until, clock.now, &clock.zone);
    let device_suffix = if session.this_device { " (this device)" } else { "" };
    [
        clean(&session.name),
        if of_all {
            clean(&session.username)
        } else {
            String::new()
        },
        clean(&session.role),
        scope(&session.namespaces),
        clean(&session.device) + device_suffix,
        if session.provisioned {
            until
        } else {
            format!("{until}, not usable yet")
        },
        of(&session.rule),
        of(&session.label),
        of(&session.reason),
        if options.long {
            time_format::since(session.signed_in, clock.now, &clock.zone)
        } else {
            String::new()
        },
    ]
}

/// The scope of a role. Empty for the whole cluster.
pub(super) fn scope(namespaces: &[String]) -> String {
    namespaces.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ")
}

/// A session of another that has ended.
pub(crate) fn ended_of_other(session: &SessionInfo) -> String {
    format!("{}, of {}", ended(session), session.username)
}

/// A session that has ended.
pub(crate) fn ended(session: &SessionInfo) -> String {
    format!("ended {} ({}, from {})", session.name, session.role, session.device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::Clock;
    use crate::terminal::theme::Theme;
    use jiff::tz::TimeZone;
    use serde_json::json;

    fn two() -> SessionList {
        serde_json::from_value(json!({"items": [
            {"name": "tka-alice-one", "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": true,
             "role": "cluster-admin", "namespaces": [], "rule": "oncall", "reason": "pager 4711", "provisioned": true,
             "signed_in": "2026-01-02T14:04:05Z", "until": "2026-01-02T15:19:00Z"},
            {"name": "tka-alice-two", "username": "alice@example.com", "device": "desk\u{1b}[31m.example.ts.net", "this_device": false,
             "role": "edit", "namespaces": ["shop", "web"], "label": "shell-1", "provisioned": false,
             "signed_in": "2026-01-02T15:04:00Z", "until": "2026-01-02T23:04:00Z"}
        ]}))
        .unwrap()
    }

    fn shown(long: bool, width: Option<u16>) -> String {
        let palette = Theme::Notty.palette();
        two().human(&RenderOptions {
            palette: &palette,
            clock: Clock {
                now: "2026-01-02T15:04:05Z".parse().unwrap(),
                zone: TimeZone::UTC,
            },
            width,
            long,
        })
    }

    #[test]
    fn a_table() {
        insta::assert_snapshot!(shown(false, None), @"
        NAME           ROLE           WHERE      DEVICE                               UNTIL
        tka-alice-one  cluster-admin             laptop.example.ts.net (this device)  in 14 min (2026-01-02 15:19:00 UTC)
        tka-alice-two  edit           shop, web  desk[31m.example.ts.net              in 7 h 59 min (2026-01-02 23:04:00 UTC), not usable yet
        ");
    }

    #[test]
    fn a_long_table() {
        insta::assert_snapshot!(shown(true, None), @"
        NAME           ROLE           WHERE      DEVICE                               UNTIL                                                    RULE    LABEL    REASON      SIGNED IN
        tka-alice-one  cluster-admin             laptop.example.ts.net (this device)  in 14 min (2026-01-02 15:19:00 UTC)                      oncall           pager 4711  1 h ago (2026-01-02 14:04:05 UTC)
        tka-alice-two  edit           shop, web  desk[31m.example.ts.net              in 7 h 59 min (2026-01-02 23:04:00 UTC), not usable yet          shell-1              5 s ago (2026-01-02 15:04:00 UTC)
        ");
    }

    #[test]
    fn a_table_of_all() {
        let mut all = two();
        all.items[1].username = "bob\u{1b}[31m@example.com".to_owned();
        let palette = Theme::Notty.palette();
        let text = AllSessions(all).human(&RenderOptions {
            palette: &palette,
            clock: Clock {
                now: "2026-01-02T15:04:05Z".parse().unwrap(),
                zone: TimeZone::UTC,
            },
            width: None,
            long: false,
        });
        insta::assert_snapshot!(text, @"
        NAME           USER                 ROLE           WHERE      DEVICE                               UNTIL
        tka-alice-one  alice@example.com    cluster-admin             laptop.example.ts.net (this device)  in 14 min (2026-01-02 15:19:00 UTC)
        tka-alice-two  bob[31m@example.com  edit           shop, web  desk[31m.example.ts.net              in 7 h 59 min (2026-01-02 23:04:00 UTC), not usable yet
        ");
    }

    #[test]
    fn a_narrow_table() {
        insta::assert_snapshot!(shown(false, Some(60)), @"
        name    tka-alice-one
        role    cluster-admin
        device  laptop.example.ts.net (this device)
        until   in 14 min (2026-01-02 15:19:00 UTC)

        name    tka-alice-two
        role    edit
        where   shop, web
        device  desk[31m.example.ts.net
        until   in 7 h 59 min (2026-01-02 23:04:00 UTC), not usable
                yet
        ");
    }
}
