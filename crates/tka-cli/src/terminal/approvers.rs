//! Who may approve a sign-in, in words.

use tka_api::http::ApprovalStatus;

use super::messages::clean;

/// Who may approve it, and how.
pub(crate) fn who_may_approve(status: &ApprovalStatus) -> String {
    let session = &status.session;
    let approvers: Vec<_> = status.approvers.iter().flatten().map(|name| clean(name)).collect();
    match (&status.approvers, approvers.as_slice()) {
        (Some(_), []) => {
            format!("none with a device on the tailnet may approve it now: ask an administrator, it is {session}")
        }
        (None, _) => format!("those who may see it with `tka approvals`, as {session}"),
        (_, [one]) => format!("{one} may, with `tka approvals approve {session}`"),
        (_, several) => format!(
            "one of these may, with `tka approvals approve {session}`: {}",
            several.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_api::http::ApprovalState;

    #[test]
    fn those_are_named_who_may_approve() {
        let said = |approvers: Option<&[&str]>| {
            who_may_approve(&ApprovalStatus {
                count: 0,
                needed: 1,
                expires: "2026-01-02T15:19:00Z".parse().unwrap(),
                session: "tka-bob-one".into(),
                request: "r1".into(),
                state: ApprovalState::Waiting,
                approvers: approvers.map(|names| names.iter().map(|name| (*name).into()).collect()),
            })
        };
        assert!(said(None).contains("those who may see it"));
        assert!(said(Some(&[])).contains("none with a device"));
        assert!(said(Some(&["alice@example.com"])).starts_with("alice@example.com may, with"));
        assert!(said(Some(&["alice@example.com", "c\u{1b}[2Jarol"])).ends_with(": alice@example.com, c[2Jarol"));
    }
}
