//! Who may let others in through a rule with `approval`, and what an approval is for.

use crate::digest::Digest;
use crate::{Approval, Caller, Identity, Oversight, Reason, Rule, RuleKey, Session};

/// Why a caller may not decide about a sign-in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CannotApprove {
    /// It is their own, on this or another device.
    Own,
    /// Their oversight does not have its rule or role.
    NoOversight,
    /// They are a machine, and its rule does not count machines.
    Machine,
}

/// What an approval is for, as a digest. It covers the whole rule, the `approval` that all rules like it ask for, the period, the reason and the
/// caller. Where any of it changes, the sign-in is another.
#[must_use]
pub fn digest(session: &Session, rule: &Rule, approval: &Approval) -> String {
    let mut digest = Digest::new("approval");
    rule.write_to(&mut digest);
    approval.write_to(&mut digest);
    digest.field(&session.period.to_string());
    digest.field(session.reason.as_ref().map_or("", Reason::as_str));
    digest.field(session.caller.key().as_str());
    digest.finish()
}

/// Whether `approver`, who has `oversight`, may decide about a sign-in of `caller` through the rule of that `key`.
pub fn may_decide(
    approver: &Caller,
    oversight: &Oversight,
    caller: &Caller,
    key: &RuleKey,
    machines: bool,
) -> Result<(), CannotApprove> {
    if approver.user_key() == caller.user_key() || approver.device.stable_id == caller.device.stable_id {
        return Err(CannotApprove::Own);
    }
    if !oversight.approves(key) {
        return Err(CannotApprove::NoOversight);
    }
    match approver.identity {
        Identity::Machine { .. } if !machines => Err(CannotApprove::Machine),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Limits, Request};
    use jiff::Timestamp;

    fn rule(fields: &str) -> Rule {
        Rule::parse(&format!(
            r#"{{"role": "edit", "period": "1h", "name": "oncall"{fields}}}"#
        ))
        .unwrap()
    }

    fn user(id: i64, device: &str) -> Caller {
        Caller {
            identity: Identity::user(id, format!("u{id}@example.com")),
            device: Device::new(device, device),
        }
    }

    fn machine(device: &str) -> Caller {
        Caller {
            identity: Identity::machine(["tag:ci"]),
            device: Device::new(device, device),
        }
    }

    fn oversight(value: &str) -> Oversight {
        Oversight::parse(&user(9, "x").identity, [value]).0
    }

    #[test]
    fn own_sign_in_is_for_others_to_decide() {
        let all = oversight(r#"{"approve": ["oncall", "role:edit"]}"#);
        let key = rule("").key();
        let may = |approver: &Caller, of: &Caller| may_decide(approver, &all, of, &key, true);
        assert_eq!(may(&user(2, "b"), &user(1, "a")), Ok(()));
        assert_eq!(may(&user(1, "a"), &user(1, "a")), Err(CannotApprove::Own));
        assert_eq!(
            may(&user(1, "b"), &user(1, "a")),
            Err(CannotApprove::Own),
            "from another device"
        );
        assert_eq!(may(&machine("m"), &machine("m")), Err(CannotApprove::Own));
        assert_eq!(
            may(&machine("a"), &user(1, "a")),
            Err(CannotApprove::Own),
            "a device that was tagged since"
        );
        assert_eq!(may(&machine("m"), &user(1, "a")), Ok(()));
    }

    #[test]
    fn machine_counts_where_the_rule_says_so() {
        let key = rule("").key();
        let all = oversight(r#"{"approve": ["oncall"]}"#);
        assert_eq!(
            may_decide(&machine("m"), &all, &user(1, "a"), &key, false),
            Err(CannotApprove::Machine)
        );
        assert_eq!(may_decide(&user(2, "b"), &all, &user(1, "a"), &key, false), Ok(()));
    }

    #[test]
    fn oversight_of_another_rule_or_none_decides_nothing() {
        let key = rule("").key();
        for value in [
            r#"{"approve": ["deploy", "role:admin", "edit"]}"#,
            r#"{"sessions": "end"}"#,
        ] {
            let decided = may_decide(&user(2, "b"), &oversight(value), &user(1, "a"), &key, true);
            assert_eq!(decided, Err(CannotApprove::NoOversight), "{value}");
        }
    }

    #[test]
    fn digest_is_of_rule_period_reason_and_caller() {
        let asked = |value: &str| rule(&format!(r#", "approval": {value}"#)).approval.unwrap();
        let of_approval = |fields: &str, reason: Option<&str>, period: Option<&str>, caller: Caller, approval: &str| {
            let rule = rule(fields);
            let request = Request {
                reason: reason.map(|text| Reason::try_from(text.to_owned()).unwrap()),
                period: period.map(|text| text.parse().unwrap()),
                ..Request::default()
            };
            let session = Session::new(caller, &rule, &request, Limits::none(), Timestamp::UNIX_EPOCH).unwrap();
            digest(&session, &rule, &asked(approval))
        };
        let of = |fields: &str, reason: Option<&str>, period: Option<&str>, caller: Caller| {
            of_approval(fields, reason, period, caller, r#"{"count": 1}"#)
        };
        let alice = || user(1, "a");
        let first = of("", None, None, alice());
        assert_eq!(first, of("", None, Some("1h"), alice()));
        for other in [
            of("", Some("x"), None, alice()),
            of("", None, Some("30m"), alice()),
            of("", None, None, user(1, "b")),
            of(r#", "namespaces": ["dev"]"#, None, None, alice()),
            of(r#", "approval": {"count": 1}"#, None, None, alice()),
            of(r#", "approval": {"count": 2}"#, None, None, alice()),
            of(r#", "recording": "required""#, None, None, alice()),
            of(r#", "idle": "5m""#, None, None, alice()),
            of(r#", "max_sessions": 1"#, None, None, alice()),
            of(r#", "access": "gateway""#, None, None, alice()),
            of(r#", "priority": 3"#, None, None, alice()),
            of_approval("", None, None, alice(), r#"{"count": 3}"#),
            of_approval("", None, None, alice(), r#"{"machines": true}"#),
        ] {
            assert_ne!(first, other);
        }
    }
}
