//! Who is refused, with what status, and in which order the reasons are looked for.

use e2e::user::{ALICE, BOB, CAROL, CI, NAMESAKE};
use e2e::{Caller, Outcome, Site, World, rule};
use serde_json::json;
use testbed::ServerOptions;

crate::tests![
    rules_that_cannot_be_used_are_400,
    period_below_the_servers_least_is_400,
    caller_without_a_rule_is_403_with_advice,
    tagged_node_is_400_before_its_rules_are_read,
    caller_that_whois_does_not_know_is_500_everywhere,
    request_through_funnel_is_403_before_anything_else,
];

/// Every request of the contract that needs a rule.
const REQUESTS: [(&str, &str); 5] = [
    ("POST", "/login"),
    ("GET", "/login"),
    ("GET", "/kubeconfig"),
    ("POST", "/logout"),
    ("GET", "/cluster-info"),
];

/// Every request is refused with `status` and says `why`, and nothing came of any.
fn refused(site: &Site<'_>, caller: &Caller, status: u16, why: &str) -> Outcome {
    for (method, path) in REQUESTS {
        let said = caller.send(method, path, &[])?.expect(status)?.refusal()?.messages();
        assert!(said.contains(why), "{method} {path} said {said:?} and not {why:?}");
    }
    assert_eq!(site.counts()?, [0, 0, 0], "{why}");
    Ok(())
}

fn rules_that_cannot_be_used_are_400(world: &World) -> Outcome {
    let site = world.site("bad-rules")?;
    site.grant(&[
        (ALICE, json!({"role": "view"})),
        (BOB, rule("view", "soon")),
        (NAMESAKE, json!({"role": "view", "period": "1h", "namspaces": ["dev"]})),
        (CAROL, json!({"role": "view", "period": "1h", "priority": 7})),
        (CAROL, json!({"role": "edit", "period": "1h", "priority": 7})),
    ])?;
    for (node, why) in [
        ("ALICE", "missing field `period`"),
        ("BOB", "\"soon\" is not a duration"),
        ("ALICE2", "unknown field `namspaces`"),
        ("CAROL", "with the same priority 7: edit"),
    ] {
        refused(&site, &site.caller(node)?, 400, why)?;
    }
    Ok(())
}

fn period_below_the_servers_least_is_400(world: &World) -> Outcome {
    let mut options = ServerOptions::new("short-period");
    options.config = json!({"operator": {"minPeriod": "10m"}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "9m59s")), (BOB, rule("view", "10m"))])?;
    let refusal = site.caller("ALICE")?.post("/login")?.expect(400)?.refusal()?;
    assert!(
        refusal.message.contains("the minimum of this server, 10m0s"),
        "{refusal:?}"
    );
    assert_eq!(site.counts()?, [0, 0, 0]);
    site.caller("BOB")?.sign_in()?;
    Ok(())
}

fn caller_without_a_rule_is_403_with_advice(world: &World) -> Outcome {
    let site = world.site("no-rule")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    refused(
        &site,
        &site.caller("CAROL")?,
        403,
        "no rule of the tailnet policy reaches you",
    )
}

fn tagged_node_is_400_before_its_rules_are_read(world: &World) -> Outcome {
    let site = world.site("tagged")?;
    let machine = site.caller("CI")?;
    for rule in [json!("malformed"), rule("view", "1h")] {
        site.grant(&[(CI, rule)])?;
        refused(&site, &machine, 400, "is a tagged node (tag:ci)")?;
    }
    site.grant(&[])?;
    refused(&site, &machine, 400, "is a tagged node (tag:ci)")
}

fn caller_that_whois_does_not_know_is_500_everywhere(world: &World) -> Outcome {
    let site = world.site("stranger")?;
    site.grant(&[("*", rule("view", "1h"))])?;
    let stranger = site.stranger();
    refused(&site, &stranger, 500, "is not known on this tailnet")?;
    for path in ["/swagger/", "/openapi.json", "/", "/nothing", "/api/v1alpha1/nothing"] {
        let refusal = stranger.send_body("GET", path, &[], &[])?.expect(500)?.refusal()?;
        assert!(
            refusal.message.contains("the server could not identify the caller"),
            "{refusal:?}"
        );
    }
    Ok(())
}

fn request_through_funnel_is_403_before_anything_else(world: &World) -> Outcome {
    let site = world.site("funnel")?;
    site.grant(&[(ALICE, rule("view", "1h")), (CI, json!("malformed"))])?;
    for caller in [site.caller("ALICE")?, site.caller("CI")?, site.stranger()] {
        for header in [
            "Tailscale-Funnel-Request",
            "Tailscale-Ingress-Src",
            "Tailscale-Ingress-Target",
        ] {
            for (method, path) in REQUESTS {
                let refusal = caller.send(method, path, &[(header, "?1")])?.expect(403)?.refusal()?;
                assert!(refusal.message.contains("Funnel"), "{refusal:?}");
            }
        }
    }
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}
