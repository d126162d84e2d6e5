//! Renders sign-ins that wait for approval.

use tka_api::http::{ApprovalInfo, ApprovalList, ApprovalState, ApprovalVote};

use super::sessions::scope;
use crate::terminal::messages::{Fields, clean, fields};
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::time_format;

// === impl ApprovalList ===

impl Report for ApprovalList {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        if self.items.is_empty() {
            return String::new();
        }
        let mut heading = [
            "SESSION", "USER", "ROLE", "WHERE", "FOR", "REASON", "STATE", "UNTIL", "DEVICE", "RULE", "ASKED",
        ];
        if !options.long {
            // Empty in every row, and so left out.
            heading[8..].fill("");
        }
        let rows: Vec<_> = self.items.iter().map(|one| row(one, options)).collect();
        table(heading, &rows, options)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|one| clean(&one.status.session)).collect()
    }
}

fn row(one: &ApprovalInfo, options: &RenderOptions<'_>) -> [String; 11] {
    let clock = &options.clock;
    let long = |text: String| if options.long { text } else { String::new() };
    let own = if one.own { " (you)" } else { "" };
    [
        clean(&one.status.session),
        clean(&one.username) + own,
        clean(&one.role),
        scope(&one.namespaces),
        time_format::period(&one.period),
        one.reason.as_deref().map(clean).unwrap_or_default(),
        state(one),
        time_format::until(one.status.expires, clock.now, &clock.zone),
        long(clean(&one.device)),
        long(one.rule.as_deref().map(clean).unwrap_or_default()),
        long(time_format::since(one.requested, clock.now, &clock.zone)),
    ]
}

// === impl ApprovalInfo ===

impl Report for ApprovalInfo {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let clock = &options.clock;
        let mut lines: Fields = vec![
            ("session", self.status.session.clone()),
            ("user", self.username.clone()),
            ("device", self.device.clone()),
            ("role", self.role.clone()),
        ];
        if !self.namespaces.is_empty() {
            lines.push(("where", scope(&self.namespaces)));
        }
        lines.extend(self.rule.clone().map(|rule| ("rule", rule)));
        lines.push(("for", time_format::period(&self.period)));
        if self.elevation {
            let text = "every program on that device that uses the gateway without naming a rule";
            lines.push(("elevates", text.to_owned()));
        }
        lines.extend(self.reason.clone().map(|reason| ("reason", reason)));
        let is_emergency = matches!(
            self.status.state,
            ApprovalState::Unacknowledged | ApprovalState::Acknowledged
        );
        let extends = if self.extends {
            "yes: the session goes on as it is until then"
        } else {
            "no"
        };
        if !is_emergency {
            lines.push(("extends", extends.to_owned()));
        }
        lines.push(("asked", time_format::since(self.requested, clock.now, &clock.zone)));
        let expires = if is_emergency { "told again" } else { "until" };
        lines.push((expires, time_format::until(self.status.expires, clock.now, &clock.zone)));
        lines.push(("state", state(self)));
        if let Some(approvers) = &self.status.approvers {
            let names = if approvers.is_empty() {
                "none with a device on the tailnet".to_owned()
            } else {
                approvers.join(", ")
            };
            lines.push(("may approve", names));
        }
        lines.extend(self.approvals.iter().map(|vote| ("approved by", said(vote))));
        lines.extend(self.denial.iter().map(|vote| ("denied by", said(vote))));
        lines.extend(self.denied_before.iter().map(|vote| ("before denied by", said(vote))));
        lines.push(("request", self.status.request.clone()));
        fields(lines, options)
    }

    fn names(&self) -> Vec<String> {
        vec![clean(&self.status.session)]
    }
}

fn said(vote: &ApprovalVote) -> String {
    match &vote.comment {
        Some(comment) => format!("{}: {comment}", vote.username),
        None => vote.username.clone(),
    }
}

fn state(one: &ApprovalInfo) -> String {
    let (count, needed) = (one.status.count, one.status.needed);
    match one.status.state {
        ApprovalState::Waiting if one.denied_before.is_some() => format!("{count} of {needed} approved, denied before"),
        ApprovalState::Waiting => format!("{count} of {needed} approved"),
        ApprovalState::Approved => "approved, beginning".to_owned(),
        ApprovalState::Granted => "granted".to_owned(),
        ApprovalState::Denied => "denied".to_owned(),
        ApprovalState::Expired => "not answered in time".to_owned(),
        ApprovalState::Unacknowledged => "emergency, not acknowledged".to_owned(),
        ApprovalState::Acknowledged => "emergency, acknowledged".to_owned(),
    }
}

/// What a decision came to.
pub(crate) fn outcome(one: &ApprovalInfo) -> String {
    let (username, role) = (&one.username, &one.role);
    match one.status.state {
        ApprovalState::Denied => format!("{username} does not get {role}"),
        ApprovalState::Granted => format!("{username} has {role} now"),
        ApprovalState::Acknowledged => format!("acknowledged: {username} had {role} in an emergency"),
        _ => format!(
            "{} of {} have approved {role} for {username}",
            one.status.count, one.status.needed
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::Clock;
    use crate::terminal::theme::Theme;
    use jiff::tz::TimeZone;
    use serde_json::json;

    fn one() -> ApprovalInfo {
        serde_json::from_value(json!({
            "count": 1, "needed": 2, "expires": "2026-01-02T15:19:00Z", "session": "tka-bob-one", "request": "0f9d2f64", "state": "waiting",
            "username": "bob@example.com", "device": "desk\u{1b}[31m.example.ts.net", "own": false, "may_decide": true, "role": "edit",
            "namespaces": ["shop", "web"], "rule": "oncall", "period": "1h0m0s", "reason": "pager 4711\u{1b}[2J", "extends": false,
            "requested": "2026-01-02T15:04:00Z",
            "approvals": [{"username": "alice@example.com", "at": "2026-01-02T15:04:02Z", "comment": "go"}]
        }))
        .unwrap()
    }

    fn options(palette: &crate::terminal::theme::Palette) -> RenderOptions<'_> {
        RenderOptions {
            palette,
            clock: Clock {
                now: "2026-01-02T15:04:05Z".parse().unwrap(),
                zone: TimeZone::UTC,
            },
            width: None,
            long: false,
        }
    }

    #[test]
    fn a_table() {
        let palette = Theme::Notty.palette();
        insta::assert_snapshot!(ApprovalList { items: vec![one()] }.human(&options(&palette)));
    }

    #[test]
    fn emergency_says_that_none_has_acknowledged_it() {
        let palette = Theme::Notty.palette();
        let mut glass = one();
        glass.status.state = ApprovalState::Unacknowledged;
        glass.approvals.clear();
        let shown = glass.human(&options(&palette));
        assert!(
            shown.contains("emergency, not acknowledged") && !shown.contains("extends"),
            "{shown}"
        );
        glass.status.state = ApprovalState::Acknowledged;
        assert_eq!(
            outcome(&glass),
            "acknowledged: bob@example.com had edit in an emergency"
        );
    }

    #[test]
    fn one_in_full() {
        let palette = Theme::Notty.palette();
        insta::assert_snapshot!(one().human(&options(&palette)));
        let mut elevation = one();
        elevation.elevation = true;
        let text = elevation.human(&options(&palette));
        assert!(text.contains("elevates     every program on that device"), "{text}");
    }
}
