//! Which check needs which: what fails because something else does is no fault of its own, and what fails beside it is.

use super::{Check, Finding, Verdict};

/// What was found, by the name of the check. What could not be looked at is missing.
pub(super) type Findings = Vec<(&'static str, Finding)>;

/// The checks that need others, in their order, and what each needs directly.
const CHECKS: [(&str, &[&str]); 9] = [
    ("tailscale", &[]),
    ("name", &["tailscale"]),
    ("server", &["name"]),
    ("version", &["server"]),
    // A version that fits proves nothing of the rest.
    ("identity", &["version", "server"]),
    ("rule", &["identity"]),
    ("role", &["rule"]),
    // The server tells where it is to whom it gives something.
    ("api-server", &["rule"]),
    ("clock", &["server"]),
];

/// What was found, in order. What failed for want of something else, or could not be looked at, says what it needs.
pub(super) fn resolve(mut found: Findings) -> Vec<Check> {
    let mut causes: Vec<(&str, &'static str)> = Vec::new();
    let mut checks = Vec::new();
    for (name, needs) in CHECKS {
        let at = found.iter().position(|(found, _)| *found == name);
        let own = at.map(|at| found.swap_remove(at).1);
        let cause = causes.iter().find(|(name, _)| needs.contains(name));
        let finding = match (own, cause) {
            (Some(finding), None) => finding,
            (Some(finding), Some(_)) if finding.result == Verdict::Ok => finding,
            (_, Some((_, cause))) => Finding::skipped(format!("needs `{cause}`")),
            (None, None) => Finding::skipped("not known"),
        };
        match (finding.result, cause) {
            (Verdict::Failed, _) => causes.push((name, name)),
            (Verdict::Skipped, Some(&(_, cause))) => causes.push((name, cause)),
            _ => {}
        }
        checks.push(finding.named(name));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// What is said when these fail and all others that are named do not.
    fn said(failed: &[&'static str], fine: &[&'static str]) -> Vec<String> {
        let failed = failed
            .iter()
            .map(|name| (*name, Finding::failed(Exit::Failure, "no", vec![])));
        let fine = fine.iter().map(|name| (*name, Finding::ok("x")));
        let checks = resolve(failed.chain(fine).collect());
        let told = |check: Check| format!("{} {}", check.name, check.finding.found);
        checks.into_iter().map(told).collect()
    }

    #[test]
    fn what_needs_what_failed_is_its_consequence() {
        let said = said(&["name", "server"], &["tailscale"]);
        assert_eq!(
            said[..4],
            ["tailscale x", "name no", "server needs `name`", "version needs `name`"]
        );
        assert!(said[4..].iter().all(|line| line.ends_with("needs `name`")), "{said:?}");
    }

    #[test]
    fn faults_side_by_side_are_told_both() {
        let fine = ["tailscale", "name", "server", "version", "identity", "rule"];
        let said = said(&["role", "api-server", "clock"], &fine);
        assert_eq!(said[6..], ["role no", "api-server no", "clock no"]);
    }

    #[test]
    fn busy_server_says_nothing_of_who_asks() {
        let said = said(&["server", "identity", "rule"], &["tailscale", "name", "version"]);
        assert_eq!(
            said[3..6],
            ["version x", "identity needs `server`", "rule needs `server`"]
        );
    }

    #[test]
    fn what_works_proves_itself() {
        let said = said(&["tailscale"], &["name", "server"]);
        assert_eq!(said[..4], ["tailscale no", "name x", "server x", "version not known"]);
    }
}
