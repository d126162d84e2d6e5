//! What is told of an audit record, by value: an event (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>), or a text
//! for Slack's incoming webhooks. No token is in either, as none is in a record, and no command of an exec: people type passwords into these.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;
use tka_api::audit::{Approval, BreakGlass, Decision, Record, Session, Who};
use tka_core::shorten_to;

use crate::config::WebhookFormat;

/// What the type of an event begins with: the API group, as such names are written.
const TYPE: &str = "de.specht-labs.tka.";
/// What a path of a URL takes as it is (RFC 3986, unreserved).
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How much a text shows of what a person wrote, in characters.
const SHOWN: usize = 500;

/// Where it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventSource<'a> {
    /// What the cluster is called.
    pub(super) cluster: &'a str,
    /// The namespace of the sessions.
    pub(super) namespace: &'a str,
}

/// An event.
#[derive(Debug, Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Timestamp,
    datacontenttype: &'static str,
    data: &'a Record,
}

/// The `Content-Type` of what is sent.
pub(super) fn content_type(format: WebhookFormat) -> &'static str {
    match format {
        WebhookFormat::CloudEvents => "application/cloudevents+json; charset=utf-8",
        WebhookFormat::Slack => "application/json; charset=utf-8",
    }
}

/// What tells of `record`, under `id`.
pub(super) fn body(format: WebhookFormat, id: &str, place: EventSource<'_>, record: &Record) -> Vec<u8> {
    let body = match format {
        WebhookFormat::CloudEvents => cloud_event(id, place, record),
        WebhookFormat::Slack => serde_json::to_vec(&json!({"text": text(place, record)})),
    };
    // Nothing in it fails to serialize: no map, no float, no path.
    body.unwrap_or_default()
}

fn cloud_event(id: &str, place: EventSource<'_>, record: &Record) -> serde_json::Result<Vec<u8>> {
    let [cluster, namespace] = [place.cluster, place.namespace].map(|name| utf8_percent_encode(name, IN_PATH));
    let mut record = record.clone();
    if let Some(api) = &mut record.api {
        api.command.clear();
    }
    serde_json::to_vec(&CloudEvent {
        specversion: "1.0",
        id,
        source: format!("/clusters/{cluster}/namespaces/{namespace}"),
        kind: format!("{TYPE}{}", name(record.decision)),
        subject: record.session.as_ref().map(|session| session.name.as_str()),
        time: record.time,
        datacontenttype: "application/json",
        data: &record,
    })
}

/// What the audit log calls a decision.
pub(super) fn name(decision: Decision) -> String {
    let name = serde_json::to_value(decision).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

/// A sentence, and below it what one wants to know next, a line each.
fn text(place: EventSource<'_>, record: &Record) -> String {
    let mut lines = vec![format!("{}: {}", plain(place.cluster), sentence(record))];
    if let Some(session) = &record.session {
        lines.push(about(session));
        lines.extend(
            session
                .reason
                .as_ref()
                .map(|reason| format!("reason: {}", quoted(reason))),
        );
    }
    if let Some(approval) = &record.approval {
        lines.extend(counted(record, approval));
        lines.extend(
            approval
                .comment
                .as_ref()
                .map(|comment| format!("comment: {}", quoted(comment))),
        );
    }
    lines.extend(
        record
            .break_glass
            .iter()
            .flat_map(|emergency| emergency_lines(record, emergency)),
    );
    lines.extend(record.why.as_ref().map(|why| format!("because: {}", quoted(why))));
    lines.join("\n")
}

fn sentence(record: &Record) -> String {
    let who = who(record);
    let approval = record.approval.as_ref().map(|approval| plain(&approval.username));
    let emergency = record.break_glass.as_ref().map(|emergency| plain(&emergency.username));
    let asks = approval.or(emergency);
    let asks = asks.as_deref().unwrap_or(&who);
    match record.decision {
        Decision::SignedIn => format!("{who} signed in"),
        Decision::Extended => format!("{who} extended a session"),
        Decision::CredentialIssued => format!("{who} was given a credential"),
        Decision::StreamBegan => format!("{who} opens a way into a pod or node"),
        Decision::Carried => format!("a request of {who} to the cluster's API is over"),
        Decision::Looked => format!("{who} looked at what is others'"),
        Decision::EndRequested => format!("{who} ends a session of another"),
        Decision::ApprovalRequested => format!("{who} asks others to approve a sign-in"),
        Decision::Approved => format!("{who} approved a sign-in of {asks}"),
        Decision::Denied => format!("{who} denied a sign-in of {asks}"),
        Decision::ApprovalEnded => format!("a sign-in of {asks} waits for approval no more"),
        Decision::BreakGlass => format!("EMERGENCY: {who} breaks the glass"),
        Decision::BreakGlassAcknowledged => format!("{who} acknowledged an emergency sign-in of {asks}"),
        Decision::BreakGlassUnacknowledged => format!("none has acknowledged an emergency sign-in of {asks}"),
        Decision::Refused => format!("a request of {who} was refused"),
        Decision::SignedOut => format!("{who} signed out"),
        Decision::Expired => format!("a session of {who} came to its end"),
        Decision::Idle => format!("a session of {who} ended, because it was not used"),
        Decision::Revoked => format!("a session of {who} was revoked"),
        Decision::TakenDown => format!("a session of {who} was deleted in the cluster"),
    }
}

fn who(record: &Record) -> String {
    let device = record.device.as_ref().map(|device| plain(&device.name));
    match (&record.who, device) {
        (Some(Who::User { login_name, .. }), _) => plain(login_name),
        (Some(Who::Machine { tags }), Some(device)) => format!("the machine {device} ({})", plain(&tags.join(", "))),
        _ => "an unknown caller".to_owned(),
    }
}

fn about(session: &Session) -> String {
    let rule = &session.rule;
    let scope = match rule.namespaces.as_slice() {
        [] => "in the whole cluster".to_owned(),
        names => format!("in {}", plain(&names.join(", "))),
    };
    let named = rule.name.as_ref().map(|name| format!(", rule {}", plain(name)));
    format!(
        "role {} {scope}{}, for {}, session {}",
        plain(&rule.role),
        named.unwrap_or_default(),
        plain(&rule.period),
        plain(&session.name)
    )
}

fn counted(record: &Record, approval: &Approval) -> Option<String> {
    let Approval { count, needed, .. } = approval;
    match (record.decision, &record.session) {
        (Decision::ApprovalRequested, Some(session)) => Some(format!(
            "{needed} must approve: `tka approvals approve {}`",
            plain(&session.name)
        )),
        (Decision::Approved, _) => Some(format!("{count} of {needed} have approved")),
        _ => None,
    }
}

fn emergency_lines(record: &Record, emergency: &BreakGlass) -> Vec<String> {
    if record.decision == Decision::BreakGlassAcknowledged {
        let comment = emergency
            .comment
            .as_ref()
            .map(|comment| format!("comment: {}", quoted(comment)));
        return comment.into_iter().collect();
    }
    vec![format!(
        "acknowledge it: `tka approvals acknowledge {}`",
        plain(&emergency.name)
    )]
}

/// `text` on one line, without what Slack takes for markup of its own
/// (<https://docs.slack.dev/messaging/formatting-message-text#escaping>).
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for character in shorten_to(text, SHOWN).chars() {
        match character {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            character if character.is_control() => plain.push(' '),
            character => plain.push(character),
        }
    }
    plain
}

/// What a person wrote, as code: it links to nothing and calls no one.
fn quoted(text: &str) -> String {
    format!("`{}`", plain(&text.replace('`', "'")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const PLACE: EventSource<'static> = EventSource {
        cluster: "prod eu/1",
        namespace: "tka",
    };

    fn record(more: Value) -> Record {
        let mut record = json!({
            "version": "audit.tka.specht-labs.de/v1", "time": "2026-01-02T15:04:05.678Z", "decision": "signed_in", "outcome": "granted",
            "who": {"user": {"id": 7, "login_name": "bob@example.com"}},
            "device": {"stable_id": "n1", "name": "laptop"},
            "session": {
                "name": "tka-bob-x", "namespace": "tka", "until": "2026-01-02T16:04:05Z",
                "rule": {"role": "edit", "name": "oncall", "namespaces": ["shop", "dev"], "period": "30m0s"}, "reason": "pager 4711",
            },
        });
        let Value::Object(more) = more else { panic!("no fields") };
        for (name, value) in more {
            record[name] = value;
        }
        serde_json::from_value(record).unwrap()
    }

    fn event(record: &Record) -> Value {
        serde_json::from_slice(&body(WebhookFormat::CloudEvents, "4711", PLACE, record)).unwrap()
    }

    fn slack(record: &Record) -> String {
        let body: Value = serde_json::from_slice(&body(WebhookFormat::Slack, "4711", PLACE, record)).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1);
        body["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn event_is_a_cloud_event_with_the_record_in_it() {
        let record = record(json!({}));
        let expected = json!({
            "specversion": "1.0", "id": "4711", "source": "/clusters/prod%20eu%2F1/namespaces/tka", "type": "de.specht-labs.tka.signed_in",
            "subject": "tka-bob-x", "time": "2026-01-02T15:04:05.678Z", "datacontenttype": "application/json",
            "data": serde_json::to_value(&record).unwrap(),
        });
        assert_eq!(event(&record), expected);
    }

    #[test]
    fn no_command_is_told() {
        let api = json!({"audit_id": "a", "verb": "create", "resource": "pods", "command": ["mysql", "-ps3cret"]});
        let record = record(json!({"decision": "stream_began", "api": api}));
        let told = event(&record);
        assert_eq!(
            (&told["data"]["api"]["resource"], &told["data"]["api"]["command"]),
            (&json!("pods"), &Value::Null)
        );
        assert!(!told.to_string().contains("s3cret") && !slack(&record).contains("s3cret"));
    }

    #[test]
    fn text_says_what_to_do_about_a_sign_in_that_waits() {
        let approval = json!({"request": "r", "username": "bob@example.com", "device": "n1", "count": 0, "needed": 1});
        let asked = record(json!({"decision": "approval_requested", "outcome": "pending", "approval": approval}));
        let expected = "prod eu/1: bob@example.com asks others to approve a sign-in\n\
                        role edit in shop, dev, rule oncall, for 30m0s, session tka-bob-x\n\
                        reason: `pager 4711`\n\
                        1 must approve: `tka approvals approve tka-bob-x`";
        assert_eq!(slack(&asked), expected);
        let mut approval = approval.clone();
        approval["count"] = json!(1);
        approval["comment"] = json!("as agreed");
        let alice = json!({"user": {"id": 8, "login_name": "alice@example.com"}});
        let approved = record(json!({"decision": "approved", "approval": approval, "who": alice}));
        let said = slack(&approved);
        assert!(
            said.starts_with("prod eu/1: alice@example.com approved a sign-in of bob@example.com\n"),
            "{said}"
        );
        assert!(said.ends_with("1 of 1 have approved\ncomment: `as agreed`"), "{said}");
    }

    #[test]
    fn text_says_how_an_emergency_is_acknowledged() {
        let emergency = json!({"request": "r", "name": "tka-bob-y", "username": "bob@example.com", "device": "n1"});
        let broken = record(json!({"decision": "break_glass", "break_glass": emergency}));
        let said = slack(&broken);
        assert!(
            said.starts_with("prod eu/1: EMERGENCY: bob@example.com breaks the glass\n"),
            "{said}"
        );
        assert!(
            said.ends_with("reason: `pager 4711`\nacknowledge it: `tka approvals acknowledge tka-bob-y`"),
            "{said}"
        );
        let mut seen = emergency.clone();
        seen["comment"] = json!("talked to them");
        let alice = json!({"user": {"id": 8, "login_name": "alice@example.com"}});
        let acknowledged = record(json!({"decision": "break_glass_acknowledged", "break_glass": seen, "who": alice}));
        let said = slack(&acknowledged);
        assert!(
            said.starts_with("prod eu/1: alice@example.com acknowledged an emergency sign-in of bob@example.com\n"),
            "{said}"
        );
        assert!(said.ends_with("comment: `talked to them`"), "{said}");
    }

    #[test]
    fn what_a_caller_writes_is_no_markup_and_no_line() {
        let mut odd = record(json!({"why": "`<!channel>` @here\n<https://evil.example|click> & \u{1b}[31m"}));
        odd.who = Some(Who::User {
            id: 7,
            login_name: "b\n<@U1>".into(),
        });
        let said = slack(&odd);
        assert_eq!(said.lines().count(), 4, "{said}");
        assert!(said.starts_with("prod eu/1: b &lt;@U1&gt; signed in\n"), "{said}");
        let because = "because: `'&lt;!channel&gt;' @here &lt;https://evil.example|click&gt; &amp;  [31m`";
        assert!(said.ends_with(because), "{said}");
        odd.why = Some("x".repeat(10_000));
        assert!(slack(&odd).len() < 1000);
    }

    #[test]
    fn each_decision_has_a_sentence_and_none_needs_a_session() {
        let schema = schemars::schema_for!(Decision).to_value();
        let names: Vec<_> = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["const"].clone())
            .collect();
        assert!(names.len() >= 16, "{names:?}");
        let mut said = std::collections::BTreeSet::new();
        for decision in &names {
            let mut bare = record(json!({"decision": decision}));
            (bare.session, bare.device, bare.who) = (None, None, None);
            assert_eq!(
                event(&bare)["type"],
                format!("de.specht-labs.tka.{}", decision.as_str().unwrap())
            );
            assert_eq!(event(&bare).get("subject"), None);
            said.insert(slack(&bare));
        }
        assert_eq!(said.len(), names.len());
        let machine = record(json!({"who": {"machine": {"tags": ["tag:ci"]}}}));
        assert!(slack(&machine).contains("the machine laptop (tag:ci) signed in"));
    }
}
