//! Renders rules.

use tka_api::http::{RuleInfo, RuleList};
use tka_core::{RoleName, RuleName};

use super::sessions::scope;
use crate::api::access::{AccessRequest, display_name};
use crate::net::server::Server;
use crate::terminal::messages::clean;
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::time_format;

// === impl RuleList ===

impl Report for RuleList {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let rows: Vec<_> = self.items.iter().map(row).collect();
        table(
            ["RULE", "ROLE", "WHERE", "AT MOST", "PRIORITY", "NOTES"],
            &rows,
            options,
        )
    }

    /// Names of rules, or their roles.
    fn names(&self) -> Vec<String> {
        self.items.iter().map(display_name).collect()
    }
}

fn row(rule: &RuleInfo) -> [String; 6] {
    [
        rule.name.as_deref().map(clean).unwrap_or_default(),
        clean(&rule.role),
        scope(&rule.namespaces),
        time_format::period(&clean(&rule.period)),
        rule.priority.to_string(),
        remarks(rule).join("; "),
    ]
}

fn remarks(rule: &RuleInfo) -> Vec<String> {
    let problem = rule.problem.as_ref();
    let problem = problem.map(|problem| format!("cannot be used: {}", clean(problem)));
    let unchecked = rule
        .unchecked
        .then(|| "the server could not check its role in the cluster just now".to_owned());
    let default = rule.default.then(|| "default".to_owned());
    let reason = rule.require_reason.then(|| "requires a reason (--reason)".to_owned());
    let glass = rule
        .break_glass
        .then(|| "for emergencies: others are alarmed".to_owned());
    let limit = rule.max_sessions.map(|count| match count {
        1 => "one session at a time".to_owned(),
        _ => format!("{count} sessions at a time"),
    });
    let recorded = rule.recording.as_ref().map(|recording| match recording.as_str() {
        "best_effort" if rule.unrecorded => {
            "exec and attach were to be recorded, and this server keeps no recordings".to_owned()
        }
        _ if rule.unrecorded => {
            "exec and attach are refused: they must be recorded, and this server keeps no recordings".to_owned()
        }
        "best_effort" => "exec and attach may be recorded".to_owned(),
        _ => "exec and attach are recorded".to_owned(),
    });
    let remarks = [problem, unchecked, default, reason, glass, limit, recorded];
    remarks.into_iter().flatten().collect()
}

/// Hints after the table: which rule a sign-in takes, and what more access needs.
pub(crate) fn hints(rules: &RuleList, server: &Server) -> Vec<String> {
    let default = rules.items.iter().find(|rule| rule.default);
    let mut others = rules.items.iter().filter(|rule| !rule.default);
    let other = others.find_map(|rule| option(rules, rule));
    let is_shared = default.is_none() && !rules.items.is_empty();
    let choice = match other {
        Some(other) if is_shared => Some(format!(
            "several rules share the highest priority: choose one, as with `tka login {other}`"
        )),
        Some(other) => Some(format!(
            "`tka login` takes the default, which has the highest priority; take another with `tka login {other}`"
        )),
        None if is_shared => Some(
            "several rules share the highest priority, and no option tells them apart: ask an administrator of the tailnet to give each \
             a `name`, or a priority of its own"
                .to_owned(),
        ),
        None => None,
    };
    let more = format!(
        "more access needs another grant in the tailnet policy: from you or your group, to {}, with its capability",
        server.host()
    );
    choice.into_iter().chain([more]).collect()
}

/// The options that select only `wanted`. None if no options do.
fn option(rules: &RuleList, wanted: &RuleInfo) -> Option<String> {
    let role = RoleName::try_from(wanted.role.clone()).ok();
    let name = wanted.name.clone().and_then(|name| RuleName::try_from(name).ok());
    let choices = [(name.clone(), None), (None, role.clone()), (name, role)];
    let mut choices = choices.into_iter().map(|(name, of_role)| AccessRequest {
        rule: name,
        role: of_role,
        ..AccessRequest::default()
    });
    let chosen = choices.find(|access| access.selects_rule() && access.select_rule(rules) == Some(wanted))?;
    Some(chosen.rule_options().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::Clock;
    use crate::terminal::theme::Theme;
    use serde_json::json;

    fn rules() -> RuleList {
        serde_json::from_value(json!({"items": [
            {"role": "cluster-admin", "name": "oncall", "namespaces": [], "period": "8h0m0s", "priority": 100,
             "require_reason": true, "max_sessions": 1, "default": false},
            {"role": "edit", "namespaces": ["shop"], "period": "1h30m0s", "priority": 50, "require_reason": false,
             "default": true, "recording": "required"},
            {"role": "gone", "namespaces": [], "period": "30m0s", "priority": 10, "require_reason": false, "max_sessions": 3,
             "default": false, "problem": "this cluster has no ClusterRole gone"},
        ]}))
        .unwrap()
    }

    #[test]
    fn a_table() {
        let palette = Theme::Notty.palette();
        let options = RenderOptions {
            palette: &palette,
            clock: Clock::system(),
            width: None,
            long: false,
        };
        insta::assert_snapshot!(rules().human(&options), @"
        RULE    ROLE           WHERE  AT MOST     PRIORITY  NOTES
        oncall  cluster-admin         8 h         100       requires a reason (--reason); one session at a time
                edit           shop   1 h 30 min  50        default; exec and attach are recorded
                gone                  30 min      10        cannot be used: this cluster has no ClusterRole gone; 3 sessions at a time
        ");
        assert_eq!(rules().names(), ["oncall", "edit", "gone"]);
    }

    #[test]
    fn recordings_that_a_server_does_not_keep_are_told() {
        let mut rule = rules().items[1].clone();
        rule.unrecorded = true;
        assert!(remarks(&rule)[1].contains("are refused"), "{:?}", remarks(&rule));
        rule.recording = Some("best_effort".into());
        assert!(
            remarks(&rule)[1].contains("keeps no recordings"),
            "{:?}",
            remarks(&rule)
        );
    }

    #[test]
    fn hints_by_value() {
        let server = Server::new("tka.example.ts.net", 443, None).unwrap();
        insta::assert_snapshot!(hints(&rules(), &server)[0], @"`tka login` takes the default, which has the highest priority; take another with `tka login --rule oncall`");
        let mut ambiguous = rules();
        ambiguous.items[1].default = false;
        let choose = "several rules share the highest priority: choose one, as with `tka login --rule oncall`";
        assert_eq!(hints(&ambiguous, &server)[0], choose);
        // cases.md 9: no option selects one of them.
        for rule in &mut ambiguous.items {
            (rule.name, rule.role, rule.priority) = (None, "edit".into(), 1);
        }
        assert!(hints(&ambiguous, &server)[0].contains("to give each a `name`"));
        ambiguous.items.clear();
        assert_eq!(hints(&ambiguous, &server).len(), 1);
    }
}
