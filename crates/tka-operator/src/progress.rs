//! What the status of a `TkaSignin` says of a session, by value.
//!
//! Conditions in the form of Kubernetes' own
//! (<https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.33/#condition-v1-meta>), so that `kubectl wait` works, and a phase for people.
//! `Ready` is on all, and `Approved` where others must approve.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use tka_api::resource::{Phase, TkaSignin, TkaSigninStatus};
use tka_core::Session;

use crate::Error;
use crate::approval::ApprovalRequest;
use crate::error::with_causes;

/// The condition: whether the session can be used, as its caller last asked for it.
const READY: &str = "Ready";
/// The condition: whether others have approved what the session gives.
const APPROVED: &str = "Approved";
/// The longest message that is written, in bytes: as much as an Event takes.
const MESSAGE_BYTES: usize = 1024;

/// Account and bindings exist.
pub(crate) fn active(signin: &TkaSignin, session: &Session, now: Timestamp) -> TkaSigninStatus {
    TkaSigninStatus {
        provisioned: true,
        valid_until: Some(session.until()),
        signed_in: Some(session.signed_in),
        phase: Some(Phase::Active),
        conditions: with_approval(signin, ready(signin, "True", "Provisioned", String::new(), now), now),
    }
}

/// They could not be made yet, because of `error`. What was usable before goes on to be.
pub(crate) fn pending(signin: &TkaSignin, error: &Error, now: Timestamp) -> TkaSigninStatus {
    let before = signin.status.clone().unwrap_or_default();
    let phase = if before.provisioned {
        Phase::Active
    } else {
        Phase::Pending
    };
    TkaSigninStatus {
        phase: Some(phase),
        conditions: with_approval(
            signin,
            ready(signin, "False", "NotProvisioned", with_causes(error), now),
            now,
        ),
        ..before
    }
}

/// Others are to approve it, or one has denied it. There is neither account nor binding.
pub(crate) fn awaiting(signin: &TkaSignin, request: &ApprovalRequest, now: Timestamp) -> TkaSigninStatus {
    let denied = request.denial.as_ref().map(|denial| {
        let message = format!("denied by {}", denial.username);
        (Phase::Denied, "Denied", message)
    });
    let waits = || {
        let (count, needed, expires) = (request.count(), request.needed, request.expires);
        let message = format!("{count} of {needed} have approved; it waits until {expires}");
        (Phase::AwaitingApproval, "AwaitingApproval", message)
    };
    let (phase, reason, message) = denied.unwrap_or_else(waits);
    TkaSigninStatus {
        provisioned: false,
        phase: Some(phase),
        conditions: vec![
            ready(signin, "False", reason, message.clone(), now),
            condition(signin, APPROVED, "False", reason, message, now),
        ],
        ..TkaSigninStatus::default()
    }
}

/// Enough have approved it, and account and bindings are to be made.
pub(crate) fn beginning(signin: &TkaSignin, now: Timestamp) -> TkaSigninStatus {
    let message = "it was approved, and its account and bindings are being made".to_owned();
    let approved = ApprovalRequest::of(signin).map(|request| approved(signin, &request, now));
    TkaSigninStatus {
        phase: Some(Phase::Pending),
        conditions: [Some(ready(signin, "False", "Approved", message, now)), approved]
            .into_iter()
            .flatten()
            .collect(),
        ..TkaSigninStatus::default()
    }
}

/// They could not be removed yet, because of `error`.
pub(crate) fn terminating(signin: &TkaSignin, error: &Error, now: Timestamp) -> TkaSigninStatus {
    TkaSigninStatus {
        // Neither is there for good; one of them may be gone.
        provisioned: false,
        phase: Some(Phase::Ending),
        conditions: vec![ready(signin, "False", "NotRemoved", with_causes(error), now)],
        ..signin.status.clone().unwrap_or_default()
    }
}

/// Whether `next` says nothing that `signin` does not: what is tried every second is told once.
pub(crate) fn is_unchanged(signin: &TkaSignin, next: &TkaSigninStatus) -> bool {
    signin.status.as_ref() == Some(next)
}

/// The conditions of a session: `ready`, and who approved it where others had to.
fn with_approval(signin: &TkaSignin, ready: Condition, now: Timestamp) -> Vec<Condition> {
    let granted = ApprovalRequest::granted_on(signin);
    let approved = granted.map(|request| approved(signin, &request, now));
    [Some(ready), approved].into_iter().flatten().collect()
}

/// Those who approved `request` let its caller in.
fn approved(signin: &TkaSignin, request: &ApprovalRequest, now: Timestamp) -> Condition {
    let names: Vec<_> = request.approvals.iter().map(|vote| vote.username.as_str()).collect();
    let message = format!("approved by {}", names.join(", "));
    condition(signin, APPROVED, "True", "Approved", message, now)
}

fn ready(signin: &TkaSignin, status: &str, reason: &str, message: String, now: Timestamp) -> Condition {
    condition(signin, READY, status, reason, message, now)
}

/// A condition, with the time since when it has that `status`.
fn condition(
    signin: &TkaSignin,
    type_: &str,
    status: &str,
    reason: &str,
    mut message: String,
    now: Timestamp,
) -> Condition {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    let conditions = signin.status.iter().flat_map(|status| &status.conditions);
    let unchanged = |condition: &&Condition| condition.type_ == type_ && condition.status == status;
    let since = conditions
        .filter(unchanged)
        .map(|condition| condition.last_transition_time.clone())
        .next();
    // Kubernetes keeps whole seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        observed_generation: signin.meta().generation,
        last_transition_time: since.unwrap_or(Time(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::{ApprovalDecision, Vote};
    use crate::examples::{self, at};
    use tka_api::resource::ANNOTATION_APPROVED;
    use tka_core::Rule;

    fn session() -> Session {
        examples::session("1h", at(0))
    }

    fn signin(status: Option<TkaSigninStatus>) -> TkaSignin {
        let mut signin = crate::objects::signin(&session(), None, "tka");
        signin.status = status;
        signin
    }

    fn failed() -> Error {
        Error::Contended("x".into())
    }

    #[test]
    fn session_that_was_never_usable_is_pending_and_says_why() {
        let status = pending(&signin(None), &failed(), at(1));
        assert_eq!((status.phase, status.provisioned), (Some(Phase::Pending), false));
        let ready = &status.conditions[0];
        assert_eq!((&*ready.type_, &*ready.status), ("Ready", "False"));
        assert!(ready.message.contains("at the same moment"));
    }

    #[test]
    fn session_whose_extension_is_not_made_yet_stays_active() {
        let before = signin(Some(active(&signin(None), &session(), at(1))));
        let status = pending(&before, &failed(), at(2));
        assert_eq!((status.phase, status.provisioned), (Some(Phase::Active), true));
        assert_eq!(status.valid_until, Some(session().until()));
        assert_eq!(status.conditions[0].status, "False");
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let since = |status: &TkaSigninStatus| status.conditions[0].last_transition_time.0;
        let first = active(&signin(None), &session(), at(1));
        let again = active(&signin(Some(first.clone())), &session(), at(2));
        assert_eq!((since(&first), since(&again)), (at(1), at(1)));
        let failing = terminating(&signin(Some(again)), &failed(), at(3));
        assert_eq!((since(&failing), failing.phase), (at(3), Some(Phase::Ending)));
        assert!(!failing.provisioned);
    }

    #[test]
    fn what_is_repeated_is_not_said_again() {
        let first = pending(&signin(None), &failed(), at(1));
        let stored = signin(Some(first));
        assert!(is_unchanged(&stored, &pending(&stored, &failed(), at(9))));
        assert!(!is_unchanged(
            &stored,
            &pending(&stored, &Error::Incomplete("x"), at(9))
        ));
    }

    #[test]
    fn approvers_are_named_for_as_long_as_the_session_lasts() {
        let rule = Rule::parse(r#"{"role": "view", "period": "1h", "approval": {"count": 1}}"#).unwrap();
        let asked = ApprovalRequest::new(
            "r".into(),
            "d".into(),
            &rule.approval.unwrap(),
            rule.period,
            None,
            at(1),
        );
        let condition = |status: &TkaSigninStatus, type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_);
            found.map(|found| (found.status.clone(), found.message.clone()))
        };
        let waits = awaiting(&signin(None), &asked, at(1));
        let (status, message) = condition(&waits, "Approved").unwrap();
        assert_eq!((status.as_str(), message.contains("0 of 1")), ("False", true));
        let vote = Vote::new(&session().caller, None, at(2));
        let granted = asked
            .decided(ApprovalDecision::Approve, vote, at(2))
            .unwrap()
            .granted(at(2));
        let mut approved = signin(None);
        let annotations = approved.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_APPROVED.into(), granted.to_annotation());
        let by = format!("approved by {}", session().caller.username());
        for status in [
            active(&approved, &session(), at(3)),
            pending(&approved, &failed(), at(3)),
        ] {
            assert_eq!(condition(&status, "Approved"), Some(("True".to_owned(), by.clone())));
        }
        assert_eq!(condition(&active(&signin(None), &session(), at(3)), "Approved"), None);
    }

    #[test]
    fn message_is_never_longer_than_is_useful() {
        let status = pending(&signin(None), &Error::Contended("ü".repeat(4000)), at(1));
        assert!(status.conditions[0].message.len() <= MESSAGE_BYTES);
    }
}
