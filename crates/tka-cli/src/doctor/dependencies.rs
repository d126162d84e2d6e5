//! Dependencies of checks. A check whose dependency failed is skipped; independent failures are all reported.

use super::check::{Check, Finding, Verdict};

/// Findings by the name of the check. Checks that could not run are missing.
pub(super) type Findings = Vec<(&'static str, Finding)>;

/// The checks in order, and their direct dependencies.
const CHECKS: [(&str, &[&str]); 10] = [
    ("tailscale", &[]),
    ("name", &["tailscale"]),
    ("server", &["name"]),
    ("version", &["server"]),
    // A matching version proves nothing about the rest.
    ("identity", &["version", "server"]),
    ("rule", &["identity"]),
    ("role", &["rule"]),
    // The server gives the address only to callers with a rule.
    ("api-server", &["rule"]),
    ("gateway", &["rule"]),
    ("clock", &["server"]),
];

/// All checks in order. A check without a result, or with a failed dependency, names what it needs.
pub(super) fn resolve(mut found: Findings) -> Vec<Check> {
    let mut causes: Vec<(&str, &'static str)> = Vec::new();
    let mut checks = Vec::new();
    for (name, needs) in CHECKS {
        let at = found.iter().position(|(found, _)| *found == name);
        let reported = at.map(|at| found.swap_remove(at).1);
        let cause = causes.iter().find(|(name, _)| needs.contains(name));
        let finding = match (reported, cause) {
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

    /// The texts when `failed` fail and `fine` succeed.
    fn said(failed: &[&'static str], fine: &[&'static str]) -> Vec<String> {
        let finding = || Finding::failed(Exit::Failure, "no", vec![]);
        let failed = failed.iter().map(|name| (*name, finding()));
        let fine = fine.iter().map(|name| (*name, Finding::ok("x")));
        let checks = resolve(failed.chain(fine).collect());
        let told = |check: Check| format!("{} {}", check.name, check.finding.found);
        checks.into_iter().map(told).collect()
    }

    #[test]
    fn checks_with_a_failed_dependency_are_skipped() {
        let said = said(&["name", "server"], &["tailscale"]);
        let first = ["tailscale x", "name no", "server needs `name`", "version needs `name`"];
        assert_eq!(said[..4], first);
        assert!(said[4..].iter().all(|line| line.ends_with("needs `name`")), "{said:?}");
    }

    #[test]
    fn independent_failures_are_all_reported() {
        let fine = ["tailscale", "name", "server", "version", "identity", "rule"];
        let said = said(&["role", "api-server", "gateway", "clock"], &fine);
        assert_eq!(said[6..], ["role no", "api-server no", "gateway no", "clock no"]);
    }

    #[test]
    fn busy_server_proves_nothing_about_the_caller() {
        let said = said(&["server", "identity", "rule"], &["tailscale", "name", "version"]);
        let rest = ["version x", "identity needs `server`", "rule needs `server`"];
        assert_eq!(said[3..6], rest);
    }

    #[test]
    fn successful_check_needs_no_dependency() {
        let said = said(&["tailscale"], &["name", "server"]);
        assert_eq!(said[..4], ["tailscale no", "name x", "server x", "version not known"]);
    }
}
