//! What a session is called, when it ends, and which of a device's sessions a request means.

use std::borrow::Borrow;

use jiff::{SignedDuration, Timestamp};

use crate::digest::Digest;
use crate::request::{Limits, Reason, Request, SessionLabel};
use crate::text::text_type;
use crate::{ApplicableRules, Caller, Period, Refusal, Rule, RuleKey, RuleSelector, SignInMode};

/// The name of a session's objects in Kubernetes: a DNS label, and a label value.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionName(String);

/// One caller's access through one rule, from sign-in to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Whose it is.
    pub caller: Caller,
    /// What it was given through.
    pub rule: RuleKey,
    /// What the caller keeps it apart by.
    pub label: Option<SessionLabel>,
    /// How long a sign-in lasts.
    pub period: Period,
    /// When the caller last signed in.
    pub signed_in: Timestamp,
    /// What the caller said it is for.
    pub reason: Option<Reason>,
    /// How it began, where its rule lets use begin sessions.
    pub on_use: Option<SignInTrigger>,
    /// After how long without use it ends.
    pub idle: Option<Period>,
}

/// How a session began whose rule has `sign_in: on_use`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignInTrigger {
    /// Its caller signed in.
    Asked,
    /// A request through the gateway began it.
    ByUse,
}

// === impl Session ===

impl Session {
    /// The session that signing in at `now` gives to `caller`, through `rule` and as `request` asks.
    pub fn new(
        caller: Caller,
        rule: &Rule,
        request: &Request,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if rule.require_reason && request.reason.is_none() {
            return Err(Refusal::ReasonRequired {
                role: rule.role.clone(),
            });
        }
        Ok(Self {
            caller,
            rule: rule.key(),
            label: request.label.clone(),
            period: limits.period(rule, request.period)?,
            signed_in: whole_seconds(now),
            reason: request.reason.clone(),
            on_use: SignInTrigger::of(rule, request),
            idle: rule.idle,
        })
    }

    /// The name of its objects.
    #[must_use]
    pub fn name(&self) -> SessionName {
        SessionName::new(&self.caller, &self.rule, self.label.as_ref())
    }

    /// Whether it is an elevation: a session that acts for its device wherever no rule is named.
    #[must_use]
    pub fn is_elevation(&self) -> bool {
        self.label.as_ref().is_some_and(SessionLabel::is_elevation)
    }

    /// When it ends, in whole seconds.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        end(self.signed_in, self.period)
    }
}

// === impl SignInTrigger ===

impl SignInTrigger {
    fn of(rule: &Rule, request: &Request) -> Option<Self> {
        let by = if request.on_use { Self::ByUse } else { Self::Asked };
        (rule.sign_in == SignInMode::OnUse).then_some(by)
    }
}

/// When a session ends that began at `signed_in`. Rounded down to whole seconds, as RFC 3339 is written in Kubernetes
/// (`metav1.Time`): a session is never longer than its rule says.
#[must_use]
pub fn end(signed_in: Timestamp, period: Period) -> Timestamp {
    let duration = SignedDuration::try_from(period.duration()).unwrap_or(SignedDuration::MAX);
    whole_seconds(signed_in.saturating_add(duration).unwrap_or(Timestamp::MAX))
}

/// `time` without what is less than a second.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Which of a device's sessions a request means that names none.
///
/// Only sessions count that have not ended, that are not kept apart by a label, and whose rule still applies to the caller.
/// Among them it is the one of the rule that signing in would take now, else the one signed in to last.
pub fn current<'a, S: Borrow<Session>>(sessions: &'a [S], rules: &ApplicableRules, now: Timestamp) -> Option<&'a S> {
    let chosen = rules.choose(&RuleSelector::default()).ok().map(Rule::key);
    let counts = |session: &Session| session.until() > now && session.label.is_none() && rules.contains(&session.rule);
    sessions
        .iter()
        .filter(|session| counts((*session).borrow()))
        .max_by_key(|session| {
            let session: &Session = (*session).borrow();
            (Some(&session.rule) == chosen.as_ref(), session.signed_in)
        })
}

// === impl SessionName ===

impl SessionName {
    /// The name of the session that `caller` has through the rule `key`, kept apart by `label`.
    ///
    /// It is `tka-READABLE-DIGEST`. The digest alone tells sessions apart: 160 bits of SHA-256 over everything that makes a session
    /// this session. So no login name, device or label can be chosen that leads to another's name.
    #[must_use]
    pub fn new(caller: &Caller, key: &RuleKey, label: Option<&SessionLabel>) -> Self {
        let mut digest = Digest::new("session");
        caller.write_to(&mut digest);
        key.write_to(&mut digest);
        digest.field(label.map_or("", SessionLabel::as_str));
        Self(format!("tka-{}-{}", caller.short_name(), digest.finish()))
    }
}

text_type!(SessionName);

/// The names of the elevations that `caller`'s device may have by `rules`: through each rule that the gateway carries requests of, one.
pub fn elevation_names(caller: &Caller, rules: &ApplicableRules) -> impl Iterator<Item = SessionName> {
    elevation_names_where(caller, rules, |_| true)
}

/// Those of [`elevation_names`] that others approve before they begin.
pub fn elevations_needing_approval(caller: &Caller, rules: &ApplicableRules) -> impl Iterator<Item = SessionName> {
    elevation_names_where(caller, rules, |key| rules.approval(key).is_some())
}

fn elevation_names_where(
    caller: &Caller,
    rules: &ApplicableRules,
    is_meant: impl Fn(&RuleKey) -> bool,
) -> impl Iterator<Item = SessionName> {
    let label = SessionLabel::elevation();
    let carried = rules.keys().filter(move |key| rules.has_gateway(key) && is_meant(key));
    carried.map(move |key| SessionName::new(caller, &key, Some(&label)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Identity, RoleName, Scope};
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn caller(id: i64, login_name: &str, stable_id: &str) -> Caller {
        Caller {
            identity: Identity::user(id, login_name),
            device: Device::new(stable_id, "laptop"),
        }
    }

    fn role_key(role: &str) -> RuleKey {
        RuleKey {
            role: RoleName::try_from(role.to_owned()).unwrap(),
            scope: Scope::Cluster,
            name: None,
        }
    }

    const LIMITS: Limits = Limits::none();

    fn is_object_name(name: &str) -> bool {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !name.is_empty()
            && name.len() <= 63
            && name.chars().all(inside)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn applicable(rules: &[(&str, i64)]) -> ApplicableRules {
        let values: Vec<String> = rules
            .iter()
            .map(|(role, priority)| format!(r#"{{"role": "{role}", "period": "1h", "priority": {priority}}}"#))
            .collect();
        ApplicableRules::parse(values.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn name_is_stable() {
        // A name that changes between two versions would orphan the sessions of the older one.
        let name = SessionName::new(&caller(1, "alice@example.com", "n1"), &role_key("view"), None);
        assert_eq!(name.as_str(), "tka-alice-fidgpxew4cxzort5cv7xe52bbdzhfzkn");
        let rule = r#"{"role": "view", "period": "1h", "namespaces": ["ops", "dev"], "name": "oncall"}"#;
        let (key, label) = (
            Rule::parse(rule).unwrap().key(),
            SessionLabel::try_from("shell-1".to_owned()).unwrap(),
        );
        let name = SessionName::new(&caller(1, "alice@example.com", "n1"), &key, Some(&label));
        assert_eq!(name.as_str(), "tka-alice-3qoe7znwy2lifla3jbx6g6os7vim4wcr");
    }

    #[test]
    fn same_local_part_is_someone_else() {
        let key = role_key("view");
        let a = SessionName::new(&caller(1, "alice@example.com", "n1"), &key, None);
        let b = SessionName::new(&caller(2, "alice@other.example", "n2"), &key, None);
        assert_ne!(a, b);
    }

    #[test]
    fn renamed_or_retagged_machine_keeps_its_sessions() {
        let machine = |name: &str, tag: &str| Caller {
            identity: Identity::Machine { tags: vec![tag.into()] },
            device: Device::new("n1", name),
        };
        let name = |caller: &Caller| SessionName::new(caller, &role_key("view"), None);
        let (before, after) = (
            machine("ci.tailnet.test", "tag:ci"),
            machine("runner-1.tailnet.test", "tag:prod"),
        );
        assert_eq!(name(&before), name(&after));
        assert!(name(&before).as_str().starts_with("tka-machine-"));
        assert_eq!((before.key(), before.user_key()), (after.key(), after.user_key()));
    }

    #[test]
    fn machine_is_not_a_user_on_the_same_device() {
        let user = caller(1, "laptop", "n1");
        let machine = Caller {
            identity: Identity::machine(["tag:ci"]),
            device: user.device.clone(),
        };
        assert_ne!(user.key(), machine.key());
    }

    #[test]
    fn ends_on_a_whole_second_and_never_late() {
        let period: Period = "1500ms".parse().unwrap();
        for (start, expected) in [("00:00:00.7Z", "00:00:02Z"), ("00:00:00Z", "00:00:01Z")] {
            let [start, expected] = [start, expected].map(|at| time(&format!("2026-01-01T{at}")));
            assert_eq!(end(start, period), expected, "{start}");
        }
    }

    #[test]
    fn end_of_the_longest_period_is_a_time() {
        let period: Period = "2562047h".parse().unwrap();
        assert!(end(Timestamp::MAX, period) <= Timestamp::MAX);
    }

    #[test]
    fn rule_may_ask_for_a_reason() {
        let rule = Rule::parse(r#"{"role": "view", "period": "1h", "require_reason": true}"#).unwrap();
        let asking = |reason: Option<&str>| {
            let reason = reason.map(|text| Reason::try_from(text.to_owned()).unwrap());
            let request = Request {
                reason,
                ..Request::default()
            };
            Session::new(
                caller(1, "a@b", "n1"),
                &rule,
                &request,
                LIMITS,
                time("2026-01-01T00:00:00Z"),
            )
        };
        assert!(matches!(asking(None), Err(Refusal::ReasonRequired { .. })));
        assert_eq!(asking(Some(" pager 7 ")).unwrap().reason.unwrap().as_str(), "pager 7");
    }

    #[test]
    fn label_keeps_sessions_apart() {
        let label = SessionLabel::try_from("shell-1".to_owned()).unwrap();
        let (caller, key) = (caller(1, "a@b", "n1"), role_key("view"));
        let named = SessionName::new(&caller, &key, Some(&label));
        assert_ne!(SessionName::new(&caller, &key, None), named);
        assert!(SessionLabel::try_from("Shell 1".to_owned()).is_err());
    }

    #[test]
    fn elevation_is_a_session_apart_through_a_gateway_rule() {
        let caller = caller(1, "alice@example.com", "n1");
        let request = Request {
            label: Some(SessionLabel::elevation()),
            ..Request::default()
        };
        let oncall = r#"{"role": "edit", "period": "1h", "name": "oncall"}"#;
        let direct = r#"{"role": "admin", "period": "1h", "access": "direct"}"#;
        let rule = Rule::parse(oncall).unwrap();
        let now = time("2026-01-01T00:00:00Z");
        let session = |request| Session::new(caller.clone(), &rule, request, LIMITS, now).unwrap();
        let (elevation, ordinary) = (session(&request), session(&Request::default()));
        assert!(elevation.is_elevation() && !ordinary.is_elevation());
        assert_ne!(elevation.name(), ordinary.name());
        let rules = ApplicableRules::parse([oncall, direct]).unwrap();
        assert_eq!(elevation_names(&caller, &rules).collect::<Vec<_>>(), [elevation.name()]);
        // What names no session is never meant to be an elevation.
        assert_eq!(current(std::slice::from_ref(&elevation), &rules, now), None);
        let other = super::tests::caller(1, "alice@example.com", "n2");
        assert!(elevation_names(&other, &rules).all(|name| name != elevation.name()));
    }

    #[test]
    fn current_session_is_that_of_the_chosen_rule() {
        let now = time("2026-01-01T00:30:00Z");
        let session = |role: &str, signed_in| {
            let rule = Rule::parse(&format!(r#"{{"role": "{role}", "period": "1h"}}"#)).unwrap();
            let caller = caller(1, "alice@example.com", "n1");
            Session::new(caller, &rule, &Request::default(), LIMITS, time(signed_in)).unwrap()
        };
        let sessions = [
            session("view", "2026-01-01T00:00:02Z"),
            session("edit", "2026-01-01T00:00:01Z"),
            session("over", "2025-12-31T23:30:00Z"),
        ];
        let pick = |rules: &[(&str, i64)]| {
            current(&sessions, &applicable(rules), now).map(|session| session.rule.role.as_str())
        };
        assert_eq!(pick(&[("view", 1), ("edit", 2)]), Some("edit"));
        assert_eq!(pick(&[("view", 1), ("edit", 2), ("admin", 3)]), Some("view"));
        assert_eq!(pick(&[("edit", 2), ("admin", 3)]), Some("edit"));
        assert_eq!(pick(&[("admin", 3)]), None);
        assert_eq!(pick(&[("over", 3)]), None);
        assert_eq!(pick(&[]), None);
    }

    fn parts() -> impl Strategy<Value = (i64, String, String, String)> {
        let login_name = prop_oneof![
            ".{0,300}",
            "[a-c]@[a-c]",
            Just("..".into()),
            Just(String::new()),
            Just("@x".into())
        ];
        (any::<i64>(), login_name, ".{0,40}", "[a-zA-Z:.-]{3,30}")
    }

    proptest! {
        #[test]
        fn any_caller_has_a_valid_stable_name((id, login_name, stable_id, role) in parts()) {
            let name = SessionName::new(&caller(id, &login_name, &stable_id), &role_key(&role), None);
            prop_assert!(is_object_name(name.as_str()), "{}", name);
            prop_assert_eq!(&name, &SessionName::new(&caller(id, &login_name, &stable_id), &role_key(&role), None));
        }

        #[test]
        fn different_sessions_have_different_names(all in prop::collection::hash_set(parts(), 0..40)) {
            let names: HashSet<_> = all
                .iter()
                .map(|(id, login_name, stable_id, role)| SessionName::new(&caller(*id, login_name, stable_id), &role_key(role), None))
                .collect();
            prop_assert_eq!(names.len(), all.len());
        }

        #[test]
        fn moving_text_between_fields_is_another_caller(text in ".{2,20}", at in 0..20_usize) {
            let at = text.char_indices().map(|(i, _)| i).nth(at % text.chars().count()).unwrap_or(0);
            prop_assume!(at > 0);
            let (left, right) = text.split_at(at);
            prop_assert_ne!(caller(1, left, right).key(), caller(1, &text, "").key());
        }
    }
}
