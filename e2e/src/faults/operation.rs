//! What a server is asked to do, and is cut off in.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::proxy::Seen;
use crate::rule;

/// Something that a server does with a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Signing in, for the whole cluster.
    SignIn,
    /// Signing in by a rule that names namespaces and limits how many sessions there may be.
    SignInNamespaces,
    /// Signing in again.
    Extension,
    /// Signing out.
    SignOut,
    /// The end of a session's time.
    Expiry,
    /// The end of a session whose rule is gone.
    Revocation,
    /// What the reconcile loop does about a sign-in that was cut off.
    Completion,
    /// The first request through the gateway, which begins the session.
    FirstUse,
    /// Signing out of a session that use begins, which must not begin it again.
    UsedSignOut,
    /// Asking for a sign-in that others are to approve.
    Asking,
    /// The approval that lets a caller in.
    Approval,
    /// The approval of an extension.
    ApprovedExtension,
    /// The denial of a sign-in.
    Denial,
    /// A caller withdraws what waits for approval.
    Withdrawal,
    /// Signing in by a rule that alarms others.
    BreakGlass,
}

/// What should be found of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// All of it.
    Whole,
    /// All of it, and its end is later than before.
    Extended,
    /// Nothing.
    Absent,
    /// Either: the caller was told that it failed.
    Either,
}

/// What should be found of a sign-in that waits for approval.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waits {
    /// It waits.
    Waiting,
    /// It says that it was denied.
    Denied,
    /// Nothing waits.
    Nothing,
    /// Whatever: the caller was told that it failed, or it is not about that.
    Either,
}

// === impl Operation ===

impl Operation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::SignIn,
        Self::SignInNamespaces,
        Self::Extension,
        Self::SignOut,
        Self::Expiry,
        Self::Revocation,
        Self::Completion,
        Self::FirstUse,
        Self::UsedSignOut,
        Self::Asking,
        Self::Approval,
        Self::ApprovedExtension,
        Self::Denial,
        Self::Withdrawal,
        Self::BreakGlass,
    ];

    /// The name of a server for it.
    #[must_use]
    pub fn site(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignInNamespaces => "sign-in-ns",
            Self::Extension => "extension",
            Self::SignOut => "sign-out",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
            Self::Completion => "completion",
            Self::FirstUse => "first-use",
            Self::UsedSignOut => "used-sign-out",
            Self::Asking => "asking",
            Self::Approval => "approval",
            Self::ApprovedExtension => "approved-ext",
            Self::Denial => "denial",
            Self::Withdrawal => "withdrawal",
            Self::BreakGlass => "break-glass",
        }
    }

    /// The rule by which the session is had.
    #[must_use]
    pub fn rule(self) -> Value {
        match self {
            Self::SignIn | Self::Extension | Self::SignOut | Self::Revocation | Self::Completion => rule("view", "1h"),
            Self::SignInNamespaces => {
                let namespaces = json!(["default", "kube-public"]);
                json!({"role": "view", "period": "1h", "namespaces": namespaces, "max_sessions": 2})
            }
            Self::FirstUse | Self::UsedSignOut => json!({"role": "view", "period": "1h", "sign_in": "on_use"}),
            Self::Asking | Self::Approval | Self::ApprovedExtension | Self::Denial | Self::Withdrawal => {
                json!({"role": "view", "period": "1h", "name": "oncall", "approval": {"count": 1}})
            }
            Self::BreakGlass => json!({"role": "view", "period": "1h", "name": "glass", "break_glass": true}),
            // Its sessions are made as short as the machine allows when they are made.
            Self::Expiry => rule("view", "4s"),
        }
    }

    /// Whether there is a session before it.
    #[must_use]
    pub fn needs_session(self) -> bool {
        !matches!(
            self,
            Self::SignIn
                | Self::SignInNamespaces
                | Self::Completion
                | Self::FirstUse
                | Self::Asking
                | Self::Approval
                | Self::Denial
                | Self::Withdrawal
                | Self::BreakGlass
        )
    }

    /// Whether its session is one that others approve.
    #[must_use]
    pub fn is_approved(self) -> bool {
        matches!(
            self,
            Self::Asking | Self::Approval | Self::ApprovedExtension | Self::Denial | Self::Withdrawal
        )
    }

    /// Whether a sign-in waits for approval before it.
    #[must_use]
    pub fn is_decision(self) -> bool {
        self.is_approved() && self != Self::Asking
    }

    /// Whether its last request is an Event.
    #[must_use]
    pub fn tells(self) -> bool {
        // The loop makes no Event of what it completes. Of requests for approval few are told.
        !matches!(self, Self::Completion | Self::Asking | Self::Withdrawal)
    }

    /// Whether use may begin the session.
    #[must_use]
    pub fn is_by_use(self) -> bool {
        matches!(self, Self::FirstUse | Self::UsedSignOut)
    }

    /// What should be found after a server was killed in the middle of it, by what the API server had heard of until then.
    #[must_use]
    pub fn expected_after_kill(self, seen: &[Seen]) -> Expected {
        let heard = |verbs: &[&str]| {
            seen.iter().any(|seen| {
                seen.forwarded && seen.request.resource == "tkasignins" && verbs.contains(&seen.request.verb)
            })
        };
        let is_written = heard(&["create", "patch", "update"]);
        match self {
            // The vote is written first, and from then on it counts.
            Self::SignIn | Self::SignInNamespaces | Self::FirstUse | Self::Approval | Self::BreakGlass
                if is_written =>
            {
                Expected::Whole
            }
            Self::Extension | Self::ApprovedExtension if is_written => Expected::Extended,
            Self::Extension | Self::ApprovedExtension | Self::Completion => Expected::Whole,
            // That it ends is written down first, and from then on it does.
            Self::SignOut | Self::UsedSignOut if !is_written => Expected::Whole,
            Self::SignIn
            | Self::SignInNamespaces
            | Self::FirstUse
            | Self::Asking
            | Self::Approval
            | Self::Denial
            | Self::Withdrawal
            | Self::BreakGlass
            | Self::SignOut
            | Self::UsedSignOut
            | Self::Expiry
            | Self::Revocation => Expected::Absent,
        }
    }

    /// What should be found after it, by what it was answered.
    #[must_use]
    pub fn expected_after_answer(self, status: Option<u16>) -> Expected {
        let is_done = status.is_some_and(|status| status < 300);
        match self {
            Self::SignIn | Self::SignInNamespaces | Self::FirstUse | Self::Approval | Self::BreakGlass if is_done => {
                Expected::Whole
            }
            Self::SignOut | Self::UsedSignOut if is_done => Expected::Absent,
            Self::Extension | Self::ApprovedExtension if is_done => Expected::Extended,
            Self::SignIn
            | Self::SignInNamespaces
            | Self::SignOut
            | Self::FirstUse
            | Self::UsedSignOut
            | Self::Approval
            | Self::BreakGlass => Expected::Either,
            Self::Extension | Self::ApprovedExtension | Self::Completion => Expected::Whole,
            Self::Asking | Self::Denial | Self::Withdrawal | Self::Expiry | Self::Revocation => Expected::Absent,
        }
    }

    /// What should wait after a server was killed in the middle of it, by what the API server had heard of until then.
    #[must_use]
    pub fn waits_after_kill(self, seen: &[Seen]) -> Waits {
        let heard = |verb: &str| {
            seen.iter()
                .any(|seen| seen.forwarded && seen.request.is(verb, "tkasignins"))
        };
        match self {
            Self::Asking if heard("create") => Waits::Waiting,
            Self::Asking => Waits::Nothing,
            Self::Denial if heard("patch") => Waits::Denied,
            Self::Withdrawal if heard("delete") => Waits::Nothing,
            Self::Denial | Self::Withdrawal => Waits::Waiting,
            _ => Waits::Either,
        }
    }

    /// What should wait after it, by what it was answered.
    #[must_use]
    pub fn waits_after_answer(self, status: Option<u16>) -> Waits {
        let is_done = status.is_some_and(|status| status < 300);
        match self {
            Self::Asking if is_done => Waits::Waiting,
            Self::Denial if is_done => Waits::Denied,
            Self::Withdrawal if is_done => Waits::Nothing,
            _ => Waits::Either,
        }
    }

    /// How the end of its session is recorded.
    #[must_use]
    pub fn end(self) -> Option<&'static str> {
        match self {
            Self::SignOut | Self::UsedSignOut => Some("signed_out"),
            Self::Expiry => Some("expired"),
            Self::Revocation => Some("revoked"),
            Self::SignIn
            | Self::SignInNamespaces
            | Self::Extension
            | Self::Completion
            | Self::FirstUse
            | Self::Asking
            | Self::Approval
            | Self::ApprovedExtension
            | Self::Denial
            | Self::Withdrawal
            | Self::BreakGlass => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SignIn => "sign-in",
            Self::SignInNamespaces => "sign-in (namespaces)",
            Self::Extension => "extension",
            Self::SignOut => "sign-out",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
            Self::Completion => "completion",
            Self::FirstUse => "first use",
            Self::UsedSignOut => "sign-out (use begins)",
            Self::Asking => "asking for approval",
            Self::Approval => "approval",
            Self::ApprovedExtension => "approved extension",
            Self::Denial => "denial",
            Self::Withdrawal => "withdrawal",
            Self::BreakGlass => "break-glass",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::request::Request;
    use super::*;

    fn seen(verb: &'static str, resource: &str, forwarded: bool) -> Seen {
        let (resource, detail) = (resource.to_owned(), None);
        Seen {
            trace: http::HeaderMap::new(),
            request: Request { verb, resource, detail },
            at: Instant::now(),
            forwarded,
        }
    }

    #[test]
    fn what_should_wait_follows_from_what_the_api_server_heard() {
        let waits =
            |operation: Operation, verb, forwarded| operation.waits_after_kill(&[seen(verb, "tkasignins", forwarded)]);
        for (operation, verb, forwarded, should_be) in [
            (Operation::Asking, "create", true, Waits::Waiting),
            (Operation::Asking, "create", false, Waits::Nothing),
            (Operation::Denial, "patch", true, Waits::Denied),
            (Operation::Denial, "patch", false, Waits::Waiting),
            (Operation::Withdrawal, "delete", true, Waits::Nothing),
            (Operation::Withdrawal, "get", true, Waits::Waiting),
            (Operation::Approval, "patch", true, Waits::Either),
        ] {
            assert_eq!(waits(operation, verb, forwarded), should_be, "{operation}: {verb}");
        }
    }

    #[test]
    fn what_should_be_follows_from_what_the_api_server_heard() {
        let expected = |operation: Operation, verb, resource, forwarded| {
            operation.expected_after_kill(&[seen(verb, resource, forwarded)])
        };
        let cases = [
            (Operation::SignIn, "patch", "tkasignins", true, Expected::Whole),
            (Operation::SignIn, "patch", "tkasignins", false, Expected::Absent),
            (Operation::SignIn, "get", "clusterroles", true, Expected::Absent),
            (Operation::Extension, "patch", "tkasignins", true, Expected::Extended),
            (Operation::Extension, "patch", "tkasignins", false, Expected::Whole),
            (Operation::SignOut, "patch", "tkasignins", true, Expected::Absent),
            (Operation::SignOut, "patch", "tkasignins", false, Expected::Whole),
            (Operation::Revocation, "patch", "tkasignins", false, Expected::Absent),
            (
                Operation::Completion,
                "patch",
                "tkasignins/status",
                false,
                Expected::Whole,
            ),
            (Operation::Expiry, "delete", "tkasignins", false, Expected::Absent),
            (Operation::FirstUse, "create", "tkasignins", true, Expected::Whole),
            (Operation::FirstUse, "get", "configmaps", true, Expected::Absent),
            (Operation::UsedSignOut, "patch", "configmaps", true, Expected::Whole),
            (Operation::UsedSignOut, "patch", "tkasignins", true, Expected::Absent),
        ];
        for (operation, verb, resource, forwarded, should_be) in cases {
            let found = expected(operation, verb, resource, forwarded);
            assert_eq!(
                found, should_be,
                "{operation}: {verb} {resource}, forwarded: {forwarded}"
            );
        }
    }
}
