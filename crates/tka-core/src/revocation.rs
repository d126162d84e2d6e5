//! Whether a session still stands: what it was given through, against what the tailnet says now.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::rule::RuleError;
use crate::session::end;
use crate::{Identity, Period, Rule, RuleKey, Session, SignInMode};

/// What the tailnet says now of the device of a session.
#[derive(Clone, Debug)]
pub struct DeviceState {
    identity: Identity,
    expired: bool,
    rules: Vec<Rule>,
    malformed: Option<RuleError>,
}

/// What is to become of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The policy still has its rule.
    Valid,
    /// Its rule is missing or too short now, and another value cannot be read, which may be that rule. The session goes on, until it was not verified for
    /// too long.
    Unclear(RuleError),
    /// It ends now.
    Revoked(Revocation),
}

/// Why a session is ended although its time is not over and its caller did not ask for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Revocation {
    /// The policy has no such rule for the caller any more.
    RuleGone,
    /// The rule gives less time than it did, and that is over.
    RuleShortened {
        /// What it gives now.
        period: Period,
    },
    /// The device left the tailnet, or this server's node may not see it any more.
    DeviceGone,
    /// The device's key has expired: its owner is not proven any more.
    DeviceExpired,
    /// The device belongs to another user, or the account has another name.
    UserChanged {
        /// Whose it is now.
        login_name: String,
    },
    /// The device was a person's and is a machine's now.
    Tagged {
        /// Its tags.
        tags: Vec<String>,
    },
    /// The device was a machine's and is a person's now.
    Untagged {
        /// Whose it is now.
        login_name: String,
    },
    /// Machines may not sign in here any more.
    MachinesRefused,
    /// For too long the rule could not be verified.
    Unverified {
        /// For how long.
        unverified_for: Duration,
        /// Why.
        why: String,
    },
}

// === impl DeviceState ===

impl DeviceState {
    /// What a device is and may do at this moment: whose it is, whether its key has expired, and the values of the capability.
    pub fn new<'a>(identity: Identity, expired: bool, values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut rules, mut malformed) = (Vec::new(), None);
        for value in values {
            match Rule::parse(value) {
                Ok(rule) => rules.push(rule),
                Err(error) => malformed = Some(error),
            }
        }
        Self {
            identity,
            expired,
            rules,
            malformed,
        }
    }

    /// Whether use begins sessions through the rule of that `key`, whatever else is said of it.
    #[must_use]
    pub fn begins_on_use(&self, key: &RuleKey) -> bool {
        let mut same = self.rules.iter().filter(|rule| rule.key() == *key);
        same.any(|rule| rule.sign_in == SignInMode::OnUse)
    }
}

/// What is to become of `session` at `now`. `device` is its device's state; none if the tailnet has no such device.
/// `machines_allowed` is whether machines may have sessions.
#[must_use]
pub fn verdict(session: &Session, device: Option<&DeviceState>, machines_allowed: bool, now: Timestamp) -> Verdict {
    let Some(device) = device else {
        return Verdict::Revoked(Revocation::DeviceGone);
    };
    if device.expired {
        return Verdict::Revoked(Revocation::DeviceExpired);
    }
    if let Some(revocation) = other_caller(&session.caller.identity, &device.identity, machines_allowed) {
        return Verdict::Revoked(revocation);
    }
    let same = device.rules.iter().filter(|rule| rule.key() == session.rule);
    // If the rule ends it no earlier than it ends anyway, that is expiry and no revocation. A session may expire while it is judged.
    let is_in_time = |period| {
        let end = end(session.signed_in, period);
        end > now || end >= session.until()
    };
    match (same.map(|rule| rule.period).max(), &device.malformed) {
        // Rules are additive, so a value that cannot be read does not restrict this one.
        (Some(period), _) if is_in_time(period) => Verdict::Valid,
        (_, Some(error)) => Verdict::Unclear(error.clone()),
        (Some(period), None) => Verdict::Revoked(Revocation::RuleShortened { period }),
        (None, None) => Verdict::Revoked(Revocation::RuleGone),
    }
}

/// Why the device's identity is another one now. A machine with other tags is the same caller.
fn other_caller(was: &Identity, is: &Identity, machines_allowed: bool) -> Option<Revocation> {
    match (was, is) {
        (Identity::User { .. }, Identity::User { login_name, .. }) => (was != is).then(|| Revocation::UserChanged {
            login_name: login_name.clone(),
        }),
        (Identity::User { .. }, Identity::Machine { tags }) => Some(Revocation::Tagged { tags: tags.clone() }),
        (Identity::Machine { .. }, Identity::User { login_name, .. }) => Some(Revocation::Untagged {
            login_name: login_name.clone(),
        }),
        (Identity::Machine { .. }, Identity::Machine { .. }) => {
            (!machines_allowed).then_some(Revocation::MachinesRefused)
        }
    }
}

// === impl Revocation ===

impl Revocation {
    /// All kinds.
    pub const KINDS: [&'static str; 9] = [
        "RuleGone",
        "RuleShortened",
        "DeviceGone",
        "DeviceExpired",
        "UserChanged",
        "Tagged",
        "Untagged",
        "MachinesRefused",
        "Unverified",
    ];

    /// Stable name of the kind, for metrics and log searches.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RuleGone => "RuleGone",
            Self::RuleShortened { .. } => "RuleShortened",
            Self::DeviceGone => "DeviceGone",
            Self::DeviceExpired => "DeviceExpired",
            Self::UserChanged { .. } => "UserChanged",
            Self::Tagged { .. } => "Tagged",
            Self::Untagged { .. } => "Untagged",
            Self::MachinesRefused => "MachinesRefused",
            Self::Unverified { .. } => "Unverified",
        }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleGone => f.write_str("the tailnet policy does not give this access any more"),
            Self::RuleShortened { period } => {
                write!(f, "the rule's period is {period} now, and that has passed")
            }
            Self::DeviceGone => f.write_str("the device is not on the tailnet any more"),
            Self::DeviceExpired => f.write_str("the device's key has expired"),
            Self::UserChanged { login_name } => write!(f, "the device is that of {login_name:?} now"),
            Self::Tagged { tags } => write!(f, "the device is tagged now ({})", tags.join(", ")),
            Self::Untagged { login_name } => {
                write!(f, "the device is not tagged any more, and that of {login_name:?} now")
            }
            Self::MachinesRefused => f.write_str("tagged nodes may not sign in here any more"),
            Self::Unverified { unverified_for, why } => {
                write!(
                    f,
                    "its rule could not be verified for {} s: {why}",
                    unverified_for.as_secs()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Caller, Device, Limits, Request};
    use proptest::prelude::*;

    const VIEW: &str = r#"{"role": "view", "period": "1h"}"#;
    const EDIT: &str = r#"{"role": "edit", "period": "1h"}"#;
    const SIGNED_IN: &str = "2026-01-01T00:00:00Z";
    const LATER: &str = "2026-01-01T00:30:00Z";

    fn alice() -> Identity {
        user(1, "alice@example.com")
    }

    fn user(id: i64, login_name: &str) -> Identity {
        Identity::user(id, login_name)
    }

    fn machine(tag: &str) -> Identity {
        Identity::Machine { tags: vec![tag.into()] }
    }

    fn session(identity: Identity) -> Session {
        let device = Device::new("n1", "laptop");
        let caller = Caller { identity, device };
        let rule = Rule::parse(VIEW).unwrap();
        Session::new(
            caller,
            &rule,
            &Request::default(),
            Limits::none(),
            SIGNED_IN.parse().unwrap(),
        )
        .unwrap()
    }

    fn of_alice(device: &DeviceState) -> Verdict {
        verdict(&session(alice()), Some(device), false, LATER.parse().unwrap())
    }

    fn with(values: &[&str]) -> Verdict {
        of_alice(&DeviceState::new(alice(), false, values.iter().copied()))
    }

    #[test]
    fn session_stands_while_its_rule_does() {
        assert_eq!(with(&[VIEW]), Verdict::Valid);
        assert_eq!(with(&[EDIT, VIEW]), Verdict::Valid);
        let other_conditions = r#"{"role": "view", "period": "2h", "priority": 9, "require_reason": true}"#;
        assert_eq!(with(&[other_conditions]), Verdict::Valid);
    }

    #[test]
    fn session_goes_with_its_rule() {
        let gone = Verdict::Revoked(Revocation::RuleGone);
        assert_eq!(with(&[]), gone);
        assert_eq!(with(&[EDIT]), gone);
        for more in [r#""namespaces": ["dev"]"#, r#""name": "oncall""#] {
            let rule = format!(r#"{{"role": "view", "period": "1h", {more}}}"#);
            assert_eq!(with(&[&rule]), gone, "{rule}");
        }
    }

    #[test]
    fn session_ends_when_its_shortened_rule_would_have_ended_it() {
        assert_eq!(with(&[r#"{"role": "view", "period": "31m"}"#]), Verdict::Valid);
        let period = "30m".parse().unwrap();
        let shortened = Verdict::Revoked(Revocation::RuleShortened { period });
        assert_eq!(with(&[r#"{"role": "view", "period": "30m"}"#]), shortened);
        assert_eq!(with(&[r#"{"role": "view", "period": "30m"}"#, VIEW]), Verdict::Valid);
    }

    #[test]
    fn session_that_expires_meanwhile_is_not_revoked() {
        let (session, device) = (session(alice()), DeviceState::new(alice(), false, [VIEW]));
        for late in [Duration::ZERO, Duration::from_mins(1)] {
            let verdict = verdict(&session, Some(&device), false, session.until() + late);
            assert_eq!(verdict, Verdict::Valid);
        }
    }

    #[test]
    fn malformed_value_is_unclear_only_for_its_own_session() {
        assert_eq!(with(&["{}", VIEW]), Verdict::Valid);
        assert!(matches!(with(&[r#"{"role": "view"}"#, EDIT]), Verdict::Unclear(_)));
        assert!(matches!(with(&["{}"]), Verdict::Unclear(_)));
    }

    #[test]
    fn device_must_be_there_and_its_key_valid() {
        let now = LATER.parse().unwrap();
        let of_none = verdict(&session(alice()), None, false, now);
        assert_eq!(of_none, Verdict::Revoked(Revocation::DeviceGone));
        let expired = DeviceState::new(alice(), true, [VIEW]);
        assert_eq!(of_alice(&expired), Verdict::Revoked(Revocation::DeviceExpired));
    }

    #[test]
    fn device_must_be_the_same_callers() {
        for other in [user(2, "alice@example.com"), user(1, "bob@example.com")] {
            let verdict = of_alice(&DeviceState::new(other, false, [VIEW]));
            assert!(matches!(verdict, Verdict::Revoked(Revocation::UserChanged { .. })));
        }
        let tagged = DeviceState::new(machine("tag:ci"), false, [VIEW]);
        assert!(matches!(of_alice(&tagged), Verdict::Revoked(Revocation::Tagged { .. })));
    }

    #[test]
    fn machine_is_its_device_whatever_its_tags() {
        let of = |device, machines| {
            let device = DeviceState::new(device, false, [VIEW]);
            verdict(
                &session(machine("tag:ci")),
                Some(&device),
                machines,
                LATER.parse().unwrap(),
            )
        };
        assert_eq!(of(machine("tag:ci"), true), Verdict::Valid);
        assert_eq!(of(machine("tag:prod"), true), Verdict::Valid);
        let refused = Verdict::Revoked(Revocation::MachinesRefused);
        assert_eq!(of(machine("tag:ci"), false), refused);
        assert!(matches!(
            of(alice(), true),
            Verdict::Revoked(Revocation::Untagged { .. })
        ));
    }

    #[test]
    fn reason_of_a_hostile_name_is_one_line() {
        let login_name = "a\nb".into();
        let revocation = Revocation::UserChanged { login_name };
        assert_eq!(revocation.to_string(), r#"the device is that of "a\nb" now"#);
    }

    proptest! {
        #[test]
        fn nothing_stands_without_its_rule(
            values in prop::collection::vec(prop_oneof![Just(VIEW.to_owned()), Just(EDIT.to_owned()), ".*"], 0..6),
            id in 0..3_i64, expired: bool,
        ) {
            let device = DeviceState::new(user(id, "alice@example.com"), expired, values.iter().map(String::as_str));
            let carried = values.iter().any(|value| value == VIEW);
            let stands = of_alice(&device) == Verdict::Valid;
            prop_assert_eq!(stands, carried && id == 1 && !expired);
        }

        #[test]
        fn order_of_values_decides_nothing(
            values in prop::collection::vec(prop_oneof![Just(VIEW), Just(EDIT), Just("{}")], 0..6).prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        ) {
            prop_assert_eq!(with(&values.0), with(&values.1));
        }
    }
}
