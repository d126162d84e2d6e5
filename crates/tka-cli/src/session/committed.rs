//! A kubeconfig for everyone, from what the server says of its gateway.

use tka_api::http::{RuleInfo, RuleList};
use tka_core::{Namespace, RuleName};

use crate::api::access::AccessRequest;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::committed;
use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::server_kubeconfig::InvalidKubeconfig;
use crate::terminal::messages;

/// The kubeconfig as text. Begins and writes nothing.
pub(crate) fn text(ctx: &CommandContext, rule: Option<&RuleName>) -> Result<String, Error> {
    // The file names this server's node, so no other replica is asked.
    let client = ctx.client_without_replicas()?;
    let server = ctx.server().to_string();
    let gateway = client.cluster_info()?.gateway.ok_or(Error::NoGateway { server })?;
    let address = GatewayAddress::parse(&gateway.url).ok_or_else(|| client.unusable(InvalidKubeconfig::NoGateway))?;
    let rules = client.rules()?;
    if let Some(text) = doubt(rule, &rules) {
        // Also with --quiet: the file is for others.
        crate::terminal::ui::write_stderr(&messages::warning(&text, &ctx.ui.palette));
    }
    let namespace = selected(rule, &rules).and_then(only_namespace);
    let address = address.via_server(ctx.server());
    if !address.is_portable() {
        let text = format!(
            "the address {address} may lead elsewhere from another device: name the server by its whole name, as `tailscale status` shows it (--server)"
        );
        crate::terminal::ui::write_stderr(&messages::warning(&text, &ctx.ui.palette));
    }
    Ok(committed::text(address, rule, namespace.as_ref())?)
}

/// Why the kubeconfig may not work, as far as the caller's own rules show it.
fn doubt(rule: Option<&RuleName>, rules: &RuleList) -> Option<String> {
    match (rule, selected(rule, rules)) {
        (_, Some(found)) if found.access.as_deref() == Some("direct") => Some(format!(
            "the rule for the role {} gives no access through the gateway",
            messages::clean(&found.role)
        )),
        (Some(rule), None) => Some(format!(
            "no rule named {rule} reaches you: check the name, unless it is for others"
        )),
        _ => None,
    }
}

/// The rule that the address leads to for this caller.
fn selected<'a>(rule: Option<&RuleName>, rules: &'a RuleList) -> Option<&'a RuleInfo> {
    let access = AccessRequest {
        rule: rule.cloned(),
        ..AccessRequest::default()
    };
    access.select_rule(rules)
}

/// The namespace that everything of a named rule is in.
fn only_namespace(rule: &RuleInfo) -> Option<Namespace> {
    // Without a name the address may be another rule for another caller.
    rule.name.as_ref()?;
    match rule.namespaces.as_slice() {
        [only] => Namespace::try_from(only.clone()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> RuleList {
        let rule = |name: Option<&str>, priority: i64, access: Option<&str>, namespaces: &[&str]| {
            serde_json::json!({"name": name, "role": "view", "priority": priority, "access": access, "namespaces": namespaces,
                "period": "1h", "require_reason": false, "default": false})
        };
        let items = [
            rule(None, 9, None, &["shop"]),
            rule(Some("oncall"), 5, Some("gateway"), &["shop"]),
            rule(Some("wires"), 4, Some("direct"), &[]),
        ];
        serde_json::from_value(serde_json::json!({"items": items})).unwrap()
    }

    fn name(text: &str) -> RuleName {
        RuleName::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn rules_that_may_not_work_are_doubted() {
        let doubted = |rule: Option<&str>| doubt(rule.map(name).as_ref(), &rules());
        assert_eq!((doubted(None), doubted(Some("oncall"))), (None, None));
        let direct = "the rule for the role view gives no access through the gateway";
        assert_eq!(doubted(Some("wires")).as_deref(), Some(direct));
        assert!(doubted(Some("onkall")).unwrap().contains("no rule named onkall"));
    }

    #[test]
    fn namespace_is_that_of_the_named_rule() {
        let namespace = |rule: Option<&str>| {
            let rules = rules();
            selected(rule.map(name).as_ref(), &rules).and_then(only_namespace)
        };
        assert_eq!(namespace(None), None, "it may be another rule for another caller");
        assert_eq!(namespace(Some("oncall")).unwrap().to_string(), "shop");
        assert_eq!(namespace(Some("wires")), None);
    }
}
