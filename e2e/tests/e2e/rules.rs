//! Rules that change while somebody is signed in.

use e2e::user::{ALICE, BOB};
use e2e::{Kind, Outcome, Site, World, rule, wait};
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
    let old = alice.token()?;
    let status = |token: &str, resource| world.cluster.status(token, "GET", &format!("/api/v1/{resource}"));
    assert_eq!(status(&old, "secrets")?, 200);

    site.grant(&[(ALICE, rule("view", "1h"))])?;
    // At once, be the old session still there or not.
    alice.get("/kubeconfig")?.expect(401)?;
    alice.get("/login")?.expect(401)?;
    assert_eq!(alice.sign_in()?.role, "view");
    let new = alice.token()?;
    assert_eq!((status(&new, "pods")?, status(&new, "secrets")?), (200, 403));
    wait::until_true("the old session is gone", || Ok(roles(&site)? == ["view"]))?;
    assert_ne!(status(&old, "secrets")?, 200);
    assert_eq!(status(&new, "pods")?, 200);
    Ok(())
}

fn caller_whose_rule_is_gone_gets_nothing_and_may_still_sign_out(world: &World) -> Outcome {
    let site = world.site("nothing-granted")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let token = alice.token()?;
    site.grant(&[])?;
    for (method, path) in [
        ("POST", "/login"),
        ("GET", "/login"),
        ("GET", "/kubeconfig"),
        ("GET", "/cluster-info"),
    ] {
        alice.send(method, path, &[])?.expect(403)?.refusal()?;
    }
    // Ends the session, unless that has been revoked already.
    let answer = alice.post("/logout")?;
    assert!([200, 403].contains(&answer.status), "{answer:?}");
    site.wait_empty()?;
    assert_ne!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    alice.post("/logout")?.expect(403)?.refusal()?;
    Ok(())
}

fn rule_of_the_highest_priority_is_taken(world: &World) -> Outcome {
    let site = world.site("priority")?;
    let with_priority = |role, priority| json!({"role": role, "period": "1h", "priority": priority});
    site.grant(&[
        (ALICE, with_priority("cluster-admin", 1)),
        (ALICE, with_priority("edit", 20)),
        (ALICE, with_priority("view", 3)),
        ("*", with_priority("view", 2)),
        (BOB, rule("edit", "1h")),
    ])?;
    assert_eq!(site.caller("ALICE")?.sign_in()?.role, "edit");
    // A rule without a priority has 0.
    assert_eq!(site.caller("BOB")?.sign_in()?.role, "view");
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
