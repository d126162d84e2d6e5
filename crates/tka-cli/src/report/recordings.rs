//! Renders recordings.

use tka_api::http::{RecordingAbout, RecordingInfo, RecordingList};

use crate::terminal::messages::{Fields, clean, fields};
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::time_format;

// === impl RecordingList ===

impl Report for RecordingList {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        if self.items.is_empty() {
            return String::new();
        }
        let mut heading = [
            "ID", "BEGAN", "USER", "POD", "COMMAND", "STATE", "SESSION", "RULE", "SIZE",
        ];
        if !options.long {
            // Empty in every row, and so left out.
            heading[6..].fill("");
        }
        let rows: Vec<_> = self.items.iter().map(|one| row(one, options)).collect();
        table(heading, &rows, options)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|one| clean(&one.id)).collect()
    }
}

// === impl RecordingInfo ===

impl Report for RecordingInfo {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let clock = &options.clock;
        let mut lines: Fields = vec![
            ("id", self.id.clone()),
            ("began", time_format::since(self.began, clock.now, &clock.zone)),
        ];
        lines.extend(self.about.iter().flat_map(about));
        lines.push(("size", format!("{} bytes", self.size)));
        lines.push(("state", state(self).to_owned()));
        fields(lines, options)
    }

    fn names(&self) -> Vec<String> {
        vec![clean(&self.id)]
    }
}

fn about(about: &RecordingAbout) -> Fields {
    let optional = |label, text: &Option<String>| text.clone().map(|text| (label, text));
    let pod = match &about.container {
        Some(container) => format!("{} ({container})", pod(about)),
        None => pod(about),
    };
    let device = [Some(about.device.clone()), about.address.clone()]
        .into_iter()
        .flatten();
    let mut lines = vec![
        ("user", about.username.clone()),
        ("device", device.collect::<Vec<_>>().join(" ")),
        ("session", about.session.clone()),
        ("role", about.role.clone()),
    ];
    lines.extend(optional("rule", &about.rule));
    lines.extend(optional("reason", &about.reason));
    lines.extend([
        ("way", about.way.clone()),
        ("pod", pod),
        ("command", about.command.join(" ")),
    ]);
    lines.extend(optional("acts as", &about.impersonates));
    lines.push(("audit ID", about.audit_id.clone()));
    lines
}

fn row(one: &RecordingInfo, options: &RenderOptions<'_>) -> [String; 9] {
    let (clock, about) = (&options.clock, one.about.as_ref());
    let of = |text: &dyn Fn(&RecordingAbout) -> String| about.map(|about| clean(&text(about))).unwrap_or_default();
    let long = |text: String| if options.long { text } else { String::new() };
    [
        clean(&one.id),
        time_format::since(one.began, clock.now, &clock.zone),
        of(&|about| about.username.clone()),
        of(&pod),
        of(&|about| match about.way.as_str() {
            "exec" => about.command.join(" "),
            way => way.to_owned(),
        }),
        state(one).to_owned(),
        long(of(&|about| about.session.clone())),
        long(of(&|about| about.rule.clone().unwrap_or_default())),
        long(one.size.to_string()),
    ]
}

fn pod(about: &RecordingAbout) -> String {
    format!("{}/{}", about.namespace, about.pod)
}

/// What there is to say of how it is kept; nothing in most cases.
fn state(one: &RecordingInfo) -> &'static str {
    match (one.sealed, one.open == Some(true), &one.about) {
        (true, true, _) => "sealed, open",
        (true, false, _) => "sealed",
        (false, true, _) => "open",
        (false, false, Some(_)) => "",
        (false, false, None) => "damaged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::Clock;
    use crate::terminal::theme::Theme;
    use jiff::tz::TimeZone;
    use serde_json::json;

    fn shown(report: &impl Report) -> String {
        let palette = Theme::Notty.palette();
        report.human(&RenderOptions {
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
    fn open_and_sealed_ones_are_told_and_hostile_texts_are_cleaned() {
        let list: RecordingList = serde_json::from_value(json!({"items": [
            {"id": "a", "began": "2026-01-02T15:04:00Z", "size": 7, "sealed": false, "open": true, "about": {
                "username": "alice@example.com", "device": "laptop", "session": "tka-alice-x", "role": "edit", "way": "exec",
                "namespace": "shop", "pod": "web", "command": ["sh", "-c", "\u{1b}]0;x\u{7}ls"], "tty": true,
                "stdin_recorded": false, "required": true, "audit_id": "i"}},
            {"id": "b", "began": "2026-01-02T14:04:05Z", "size": 9, "sealed": true, "open": false},
            {"id": "c", "began": "2026-01-02T14:04:05Z", "size": 9, "sealed": false},
        ]}))
        .unwrap();
        let text = shown(&list);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(rows[0], ["ID", "BEGAN", "USER", "POD", "COMMAND", "STATE"]);
        assert_eq!(rows[1][2..], ["alice@example.com", "shop/web", "sh -c ]0;xls", "open"]);
        assert_eq!((rows[2].last(), rows[3].last()), (Some(&"sealed"), Some(&"damaged")));
        let one = shown(&list.items[0]);
        assert!(
            one.contains("tka-alice-x") && one.contains("7 bytes") && !one.contains('\u{1b}'),
            "{one}"
        );
    }
}
