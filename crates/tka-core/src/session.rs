//! What a session is called, when it ends, and which of a device's sessions a request means.

use std::borrow::Borrow;
use std::fmt;

use data_encoding::{BASE32_NOPAD, Encoding};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{Caller, Grant, Period, Refusal, RoleName, Rule, RuleKey};

/// The name of a session's objects in Kubernetes: a DNS label, and a label value.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionName(String);

/// One caller's access through one rule, from sign-in to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Whose it is.
    pub caller: Caller,
    /// The ClusterRole it is bound to.
    pub role: RoleName,
    /// How long a sign-in lasts.
    pub period: Period,
    /// When the caller last signed in.
    pub signed_in: Timestamp,
}

// === impl Session ===

impl Session {
    /// The session that `caller` gets through `rule` by signing in at `now`.
    #[must_use]
    pub fn new(caller: Caller, rule: &Rule, now: Timestamp) -> Self {
        Self {
            caller,
            role: rule.role.clone(),
            period: rule.period,
            signed_in: whole_seconds(now),
        }
    }

    /// The rule it was given through.
    #[must_use]
    pub fn rule_key(&self) -> RuleKey {
        RuleKey::of_role(&self.role)
    }

    /// The name of its objects.
    #[must_use]
    pub fn name(&self) -> SessionName {
        SessionName::new(&self.caller, &self.rule_key())
    }

    /// When it ends, in whole seconds.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        end(self.signed_in, self.period)
    }
}

/// When a session ends that began at `signed_in`. Rounded down to whole seconds, as RFC 3339 is written in Kubernetes
/// (`metav1.Time`): a session is never longer than its rule says.
#[must_use]
pub fn end(signed_in: Timestamp, period: Period) -> Timestamp {
    let duration = SignedDuration::try_from(period.duration()).unwrap_or(SignedDuration::MAX);
    whole_seconds(signed_in.saturating_add(duration).unwrap_or(Timestamp::MAX))
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Refuses a rule whose period is below `min_period`.
pub fn check_period(rule: &Rule, min_period: Period) -> Result<(), Refusal> {
    if rule.period >= min_period {
        return Ok(());
    }
    Err(Refusal::PeriodTooShort {
        role: rule.role.clone(),
        period: rule.period,
        min_period,
    })
}

/// Which of a device's sessions a request means that names none.
///
/// Only sessions count that have not ended and whose rule the grant still carries. Among them it is the one of the rule
/// that signing in would take now, else the one signed in to last.
pub fn current<'a, S: Borrow<Session>>(sessions: &'a [S], grant: &Grant, now: Timestamp) -> Option<&'a S> {
    let chosen = grant.choose().ok().map(Rule::key);
    sessions
        .iter()
        .filter(|session| (*session).borrow().until() > now && grant.carries(&(*session).borrow().rule_key()))
        .max_by_key(|session| {
            let session: &Session = (*session).borrow();
            (Some(session.rule_key()) == chosen, session.signed_in)
        })
}

// === impl SessionName ===

impl SessionName {
    /// The name of the session that `caller` has through the rule `key`.
    ///
    /// It is `tka-READABLE-DIGEST`. The digest alone tells sessions apart: 160 bits of SHA-256 over everything that makes
    /// a session this session, so that nobody can choose a login name or a device that leads to another's name.
    #[must_use]
    pub fn new(caller: &Caller, key: &RuleKey) -> Self {
        let mut digest = Digest::new("session");
        caller.write_to(&mut digest);
        digest.field(key.as_str());
        Self(format!("tka-{}-{}", caller.short_name(), digest.finish()))
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Digest ===

/// A digest over fields of which none can run into the next.
pub(crate) struct Digest(Sha256);

const DIGEST_BYTES: usize = 20;
const ENCODING: Encoding = BASE32_NOPAD;

impl Digest {
    /// A digest for one `purpose`, different from the digest of the same fields for any other.
    pub(crate) fn new(purpose: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.field("tka.specht-labs.de/v1");
        digest.field(purpose);
        digest
    }

    /// Adds a field, its length first.
    pub(crate) fn field(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    /// 32 lower-case letters and digits.
    pub(crate) fn finish(self) -> String {
        ENCODING.encode(&self.0.finalize()[..DIGEST_BYTES]).to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Identity, UserId};
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn caller(id: i64, login_name: &str, stable_id: &str) -> Caller {
        Caller {
            identity: Identity::User {
                id: UserId(id),
                login_name: login_name.into(),
            },
            device: Device {
                stable_id: stable_id.into(),
                name: "laptop".into(),
            },
        }
    }

    fn role_key(role: &str) -> RuleKey {
        RuleKey::of_role(&RoleName::try_from(role.to_owned()).unwrap())
    }

    fn is_dns_label(name: &str) -> bool {
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

    fn grant(rules: &[(&str, i64)]) -> Grant {
        let values: Vec<String> = rules
            .iter()
            .map(|(role, priority)| format!(r#"{{"role": "{role}", "period": "1h", "priority": {priority}}}"#))
            .collect();
        Grant::parse(values.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn name_is_stable() {
        // A name that changes between two versions would orphan the sessions of the older one.
        let name = SessionName::new(&caller(1, "alice@example.com", "n1"), &role_key("view"));
        assert_eq!(name.as_str(), "tka-alice-nriauf6vmchlaopdntsbujvpfxn2czrd");
    }

    #[test]
    fn same_local_part_is_someone_else() {
        let key = role_key("view");
        let a = SessionName::new(&caller(1, "alice@example.com", "n1"), &key);
        let b = SessionName::new(&caller(2, "alice@other.example", "n2"), &key);
        assert_ne!(a, b);
    }

    #[test]
    fn machine_is_not_a_user_on_the_same_device() {
        let user = caller(1, "laptop", "n1");
        let machine = Caller {
            identity: Identity::Machine {
                tags: vec!["tag:ci".into()],
            },
            device: user.device.clone(),
        };
        assert_ne!(user.key(), machine.key());
    }

    #[test]
    fn ends_on_a_whole_second_and_never_late() {
        let period: Period = "1500ms".parse().unwrap();
        assert_eq!(
            end(time("2026-01-01T00:00:00.7Z"), period),
            time("2026-01-01T00:00:02Z")
        );
        assert_eq!(end(time("2026-01-01T00:00:00Z"), period), time("2026-01-01T00:00:01Z"));
    }

    #[test]
    fn end_of_the_longest_period_is_a_time() {
        let period: Period = "2562047h".parse().unwrap();
        assert!(end(Timestamp::MAX, period) <= Timestamp::MAX);
    }

    #[test]
    fn too_short_a_period_is_refused() {
        let rule = Rule::parse(r#"{"role": "view", "period": "59s"}"#).unwrap();
        assert!(check_period(&rule, "1m".parse().unwrap()).is_err());
        assert!(check_period(&rule, "59s".parse().unwrap()).is_ok());
    }

    #[test]
    fn current_session_is_that_of_the_chosen_rule() {
        let now = time("2026-01-01T00:30:00Z");
        let session = |role: &str, signed_in| {
            let rule = Rule::parse(&format!(r#"{{"role": "{role}", "period": "1h"}}"#)).unwrap();
            Session::new(caller(1, "alice@example.com", "n1"), &rule, time(signed_in))
        };
        let sessions = [
            session("view", "2026-01-01T00:00:02Z"),
            session("edit", "2026-01-01T00:00:01Z"),
            session("over", "2025-12-31T23:30:00Z"),
        ];
        let pick = |rules: &[(&str, i64)]| current(&sessions, &grant(rules), now).map(|session| session.role.as_str());
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
            let name = SessionName::new(&caller(id, &login_name, &stable_id), &role_key(&role));
            prop_assert!(is_dns_label(name.as_str()), "{}", name);
            prop_assert_eq!(&name, &SessionName::new(&caller(id, &login_name, &stable_id), &role_key(&role)));
        }

        #[test]
        fn different_sessions_have_different_names(all in prop::collection::hash_set(parts(), 0..40)) {
            let names: HashSet<_> = all
                .iter()
                .map(|(id, login_name, stable_id, role)| SessionName::new(&caller(*id, login_name, stable_id), &role_key(role)))
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
