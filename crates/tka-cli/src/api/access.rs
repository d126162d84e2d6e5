//! The access to request: the options of every command that signs in.

use crate::terminal::messages::clean;
use tka_api::http::{LoginRequest, RuleInfo, RuleList, SessionInfo};
use tka_core::{Namespace, Period, Reason, RoleName, RuleName};

/// What access to ask for.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "What to ask for")]
pub(crate) struct AccessRequest {
    /// Take the rule of this name; `tka rules` shows those that reach you
    #[arg(long, value_name = "NAME", value_parser = parse_value::<RuleName>)]
    pub(crate) rule: Option<RuleName>,

    /// Take a rule that gives this role
    #[arg(long, value_name = "ROLE", value_parser = parse_value::<RoleName>)]
    pub(crate) role: Option<RoleName>,

    /// For how long, such as 30m or 1h30m; at most what the rule gives
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_value::<Period>)]
    pub(crate) period: Option<Period>,

    /// What the access is for, in one line; some rules require it
    #[arg(long, value_name = "TEXT", value_parser = parse_value::<Reason>)]
    pub(crate) reason: Option<Reason>,

    /// Do not wait where others must approve: leave the request, and pick the access up later by the same command
    #[arg(long)]
    pub(crate) no_wait: bool,

    /// Namespace to work in [default: the rule's, where it has just one]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = parse_value::<Namespace>)]
    pub(crate) namespace: Option<Namespace>,

    /// Whether it is to act for this device wherever no rule is named.
    #[arg(skip)]
    pub(crate) elevate: bool,
}

pub(crate) fn parse_value<T: TryFrom<String>>(text: &str) -> Result<T, T::Error> {
    T::try_from(text.to_owned())
}

/// A namespace that the rule does not cover.
#[derive(Debug, thiserror::Error)]
#[error("the rule for the role {role} does not cover the namespace {namespace}")]
pub(crate) struct OutsideRule {
    pub(crate) namespace: String,
    pub(crate) role: String,
    pub(crate) namespaces: Vec<String>,
}

// === impl AccessRequest ===

impl AccessRequest {
    /// Whether an option is for the server. The original's server would ignore it.
    pub(crate) fn has_server_options(&self) -> bool {
        self.selects_rule() || self.period.is_some() || self.reason.is_some() || self.elevate
    }

    /// Whether an option selects the rule.
    pub(crate) fn selects_rule(&self) -> bool {
        self.rule.is_some() || self.role.is_some()
    }

    /// Whether `session` has the selected rule and role.
    pub(crate) fn matches_session(&self, session: &SessionInfo) -> bool {
        let is_rule = |rule: &RuleName| session.rule.as_deref() == Some(rule.as_str());
        self.rule.as_ref().is_none_or(is_rule) && self.role.as_ref().is_none_or(|role| session.role == role.as_str())
    }

    /// A suffix for names by the selected rule and role. Different selections have different suffixes, as they may be different sessions.
    /// Names of rules have no dot, so a dot precedes the role.
    pub(crate) fn name_suffix(&self) -> Option<String> {
        let by_name = self.rule.as_ref().map(|rule| format!("-{rule}"));
        let by_role = self.role.as_ref().map(|role| format!(".{}", role.as_str()));
        self.selects_rule()
            .then(|| by_name.unwrap_or_default() + &by_role.unwrap_or_default())
    }

    /// The options that select the same rule again.
    pub(crate) fn rule_options(&self) -> Vec<String> {
        let chosen = [
            ("--rule", self.rule.as_ref().map(ToString::to_string)),
            ("--role", self.role.as_ref().map(ToString::to_string)),
        ];
        let chosen = chosen
            .into_iter()
            .filter_map(|(option, value)| Some([option.to_owned(), value?]));
        chosen.flatten().collect()
    }

    /// The sign-in request. `label` keeps the session apart.
    pub(crate) fn request(&self, label: Option<&str>) -> LoginRequest {
        LoginRequest {
            rule: self.rule.as_ref().map(ToString::to_string),
            role: self.role.as_ref().map(ToString::to_string),
            period: self.period.as_ref().map(ToString::to_string),
            reason: self.reason.as_ref().map(|reason| reason.as_str().to_owned()),
            session: label.map(ToOwned::to_owned),
            elevate: self.elevate,
        }
    }

    /// The rule that the server will take, or none if it will refuse. `rules` are ordered by priority.
    pub(crate) fn select_rule<'a>(&self, rules: &'a RuleList) -> Option<&'a RuleInfo> {
        let mut matching = rules.items.iter().filter(|rule| self.matches_rule(rule));
        let first = matching.next()?;
        let is_tied = matching.next().is_some_and(|next| next.priority == first.priority);
        (!is_tied).then_some(first)
    }

    fn matches_rule(&self, rule: &RuleInfo) -> bool {
        let is_named = |name: &RuleName| rule.name.as_deref() == Some(name.as_str());
        self.rule.as_ref().is_none_or(is_named) && self.role.as_ref().is_none_or(|role| rule.role == role.as_str())
    }

    /// Refuses a namespace that the selected rule does not cover.
    pub(crate) fn check_namespace(&self, rules: &RuleList) -> Result<(), OutsideRule> {
        let (Some(namespace), Some(rule)) = (&self.namespace, self.select_rule(rules)) else {
            return Ok(());
        };
        if rule.namespaces.is_empty() || rule.namespaces.iter().any(|one| one == namespace.as_str()) {
            return Ok(());
        }
        Err(OutsideRule {
            namespace: namespace.to_string(),
            role: rule.role.clone(),
            namespaces: rule.namespaces.clone(),
        })
    }

    /// The same access through the rule of `session`. Its reason is kept unless another is given.
    pub(crate) fn with_rule_of(self, session: SessionInfo) -> Self {
        Self {
            rule: session.rule.and_then(|name| name.try_into().ok()),
            role: session.role.try_into().ok(),
            reason: self
                .reason
                .or_else(|| session.reason.and_then(|reason| reason.try_into().ok())),
            ..self
        }
    }
}

/// The display name of a rule: its name, or else its role.
pub(crate) fn display_name(rule: &RuleInfo) -> String {
    clean(rule.name.as_ref().unwrap_or(&rule.role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        access: AccessRequest,
    }

    fn access(arguments: &[&str]) -> AccessRequest {
        Line::try_parse_from([&["x"], arguments].concat()).unwrap().access
    }

    fn rules() -> RuleList {
        let rule = |name: Option<&str>, role: &str, priority: i64, namespaces: &[&str]| {
            json!({"name": name, "role": role, "priority": priority, "namespaces": namespaces, "period": "8h0m0s",
                "require_reason": false, "default": false})
        };
        let items = [
            rule(Some("oncall"), "cluster-admin", 100, &[]),
            rule(Some("shop"), "edit", 50, &["shop", "web"]),
            rule(None, "edit", 50, &[]),
            rule(None, "view", 10, &["shop"]),
        ];
        serde_json::from_value(json!({"items": items})).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_is_not_sent() {
        assert_eq!(AccessRequest::default().request(None), LoginRequest::default());
        assert!(!access(&["--namespace", "shop"]).has_server_options());
        let all = access(&[
            "--rule",
            "oncall",
            "--role",
            "view",
            "--for",
            "1h30m",
            "--reason",
            " pager 4711 ",
        ]);
        assert!(all.has_server_options());
        let expected = json!({"rule": "oncall", "role": "view", "period": "1h30m0s", "reason": "pager 4711"});
        assert_eq!(serde_json::to_value(all.request(None)).unwrap(), expected);
        let elevation = AccessRequest {
            elevate: true,
            ..AccessRequest::default()
        };
        assert!(elevation.has_server_options());
        assert_eq!(
            serde_json::to_value(elevation.request(None)).unwrap(),
            json!({"elevate": true})
        );
    }

    #[test]
    fn selections_have_different_suffixes() {
        let choices = [
            (&[][..], None),
            (&["--rule", "view"], Some("-view")),
            (&["--role", "view"], Some(".view")),
            (&["--rule", "view", "--role", "view"], Some("-view.view")),
            (&["--role", "system:view"], Some(".system:view")),
            (&["--role", "system-view"], Some(".system-view")),
        ];
        for (arguments, expected) in choices {
            assert_eq!(access(arguments).name_suffix().as_deref(), expected);
        }
        let with_dot = RuleName::try_from("a.b".to_owned());
        assert!(with_dot.is_err(), "else they would not be told apart");
    }

    #[test]
    fn rule_options_select_the_same_rule() {
        for arguments in [
            &[][..],
            &["--rule", "oncall"],
            &["--rule", "oncall", "--role", "system:x"],
        ] {
            assert_eq!(access(arguments).rule_options(), arguments);
        }
        let others = access(&["--for", "1h", "--namespace", "shop"]);
        assert!(others.rule_options().is_empty());
    }

    #[test]
    fn the_rule_is_the_one_that_the_server_takes() {
        let rules = rules();
        let chosen = |arguments: &[&str]| access(arguments).select_rule(&rules).map(|rule| rule.role.as_str());
        assert_eq!(chosen(&[]), Some("cluster-admin"));
        assert_eq!(chosen(&["--role", "view"]), Some("view"));
        assert_eq!(chosen(&["--rule", "shop"]), Some("edit"));
        assert_eq!(chosen(&["--role", "edit"]), None, "two of one priority");
        assert_eq!(chosen(&["--rule", "shop", "--role", "view"]), None, "none");
    }

    #[test]
    fn a_namespace_is_one_of_the_rule() {
        let check = |arguments: &[&str]| access(arguments).check_namespace(&rules());
        assert!(check(&["-n", "anything"]).is_ok(), "the role holds everywhere");
        assert!(check(&["--rule", "shop", "-n", "web"]).is_ok());
        assert!(check(&["--role", "edit", "-n", "x"]).is_ok(), "the server will refuse");
        let error = check(&["--role", "view", "-n", "web"]).unwrap_err();
        assert!(error.namespaces == ["shop"]);
    }

    #[test]
    fn access_can_follow_the_rule_of_a_session() {
        let session = json!({
            "name": "tka-alice-one", "username": "alice@example.com", "device": "laptop", "this_device": true, "role": "edit",
            "namespaces": ["shop", "web"], "rule": "shop", "reason": "pager 4711", "provisioned": true,
            "signed_in": "2026-01-02T14:04:05Z", "until": "2026-01-02T15:19:00Z"
        });
        let again = |arguments: &[&str]| {
            let session = serde_json::from_value(session.clone()).unwrap();
            serde_json::to_value(access(arguments).with_rule_of(session).request(None)).unwrap()
        };
        let shorter = json!({"rule": "shop", "role": "edit", "period": "30m0s", "reason": "pager 4711"});
        assert_eq!(again(&["--for", "30m"]), shorter);
        let for_x = json!({"rule": "shop", "role": "edit", "reason": "x"});
        assert_eq!(again(&["--reason", "x"]), for_x);
    }
}
