//! Rules that change while somebody is signed in.

use e2e::user::{ALICE, BOB};
use e2e::{Caller, Kind, Outcome, Site, World, rule};
use serde_json::json;

crate::tests![
    other_role_is_another_session_and_the_old_role_is_not_handed_out,
    caller_whose_rule_is_gone_gets_nothing_and_may_still_sign_out,
    rule_of_the_highest_priority_is_taken,
    longer_period_of_the_same_role_is_the_same_session,
];

fn roles(site: &Site<'_>) -> Outcome<Vec<String>> {
    let signins = site.objects(Kind::Signin)?;
    let mut roles: Vec<_> = signins
        .iter()
        .filter_map(|signin| signin["spec"]["role"].as_str())
        .map(str::to_owned)
        .collect();
    roles.sort();
    Ok(roles)
}

fn other_role_is_another_session_and_the_old_role_is_not_handed_out(world: &World) -> Outcome {
    let site = world.site("role-change")?;
    site.grant(&[(ALICE, rule("cluster-admin", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/secrets")?, 200);

    site.grant(&[(ALICE, rule("view", "1h"))])?;
    assert_eq!(roles(&site)?, ["cluster-admin"], "the old session exists");
    alice.get("/kubeconfig")?.expect(401)?;
    alice.get("/login")?.expect(401)?;
    assert_eq!(alice.sign_in()?.role, "view");
    assert_eq!(roles(&site)?, ["cluster-admin", "view"]);
    let token = alice.token()?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/secrets")?, 403);

    alice.sign_out()?;
    assert_eq!(
        site.counts()?,
        [0, 0, 0],
        "signing out ends what the device has, by old rules and new"
    );
    Ok(())
}

fn caller_whose_rule_is_gone_gets_nothing_and_may_still_sign_out(world: &World) -> Outcome {
    let site = world.site("rule-gone")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let signed_in = alice.sign_in()?;
    site.grant(&[])?;
    for (method, path) in [
        ("POST", "/login"),
        ("GET", "/login"),
        ("GET", "/kubeconfig"),
        ("GET", "/cluster-info"),
    ] {
        alice.send(method, path, &[])?.expect(403)?.refusal()?;
    }
    assert_eq!(alice.sign_out()?, signed_in);
    assert_eq!(site.counts()?, [0, 0, 0]);
    alice.post("/logout")?.expect(403)?;
    Ok(())
}

fn rule_of_the_highest_priority_is_taken(world: &World) -> Outcome {
    let site = world.site("priority")?;
    let with_priority = |role, priority| json!({"role": role, "period": "1h", "priority": priority});
    let sign_in = |caller: &Caller| Ok::<_, Box<dyn std::error::Error + Send + Sync>>(caller.sign_in()?.role);
    site.grant(&[
        (ALICE, with_priority("view", 1)),
        (ALICE, with_priority("edit", 20)),
        (ALICE, with_priority("view", 3)),
        ("*", with_priority("edit", 2)),
        (BOB, rule("view", "1h")),
    ])?;
    assert_eq!(sign_in(&site.caller("ALICE")?)?, "edit");
    assert_eq!(
        sign_in(&site.caller("BOB")?)?,
        "edit",
        "a rule without a priority has 0"
    );
    Ok(())
}

fn longer_period_of_the_same_role_is_the_same_session(world: &World) -> Outcome {
    let site = world.site("period-change")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let before = alice.sign_in()?;
    let token = alice.token()?;
    site.grant(&[(ALICE, rule("view", "2h"))])?;
    assert_eq!(
        alice.get("/login")?.expect(200)?.decode::<e2e::wire::Login>()?,
        before,
        "until they sign in again"
    );
    assert!(alice.sign_in()?.until > before.until);
    assert_eq!(site.counts()?, [1, 1, 1]);
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(())
}
