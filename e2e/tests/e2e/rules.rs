//! Rules that change during a session.

use e2e::user::{ALICE, BOB};
use e2e::{Kind, Outcome, Site, World, is_refused, rule, wait};
use serde_json::json;

crate::tests![
    other_role_is_another_session,
    caller_without_a_rule_may_still_sign_out,
    rule_of_the_highest_priority_is_taken,
    longer_period_of_the_same_role_is_the_same_session,
    role_holds_in_the_namespaces_of_its_rule_and_nowhere_else,
    namespace_that_does_not_exist_is_refused,
    same_rule_from_two_grants_is_one,
    restriction_that_says_nothing_gives_nothing,
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

fn other_role_is_another_session(world: &World) -> Outcome {
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
    assert!(is_refused(status(&old, "secrets")?));
    assert_eq!(status(&new, "pods")?, 200);
    Ok(())
}

fn caller_without_a_rule_may_still_sign_out(world: &World) -> Outcome {
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
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
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

fn role_holds_in_the_namespaces_of_its_rule_and_nowhere_else(world: &World) -> Outcome {
    let site = world.site("some-namespaces")?;
    for name in ["some-a", "some-b", "some-c"] {
        world
            .cluster
            .create("/api/v1/namespaces", &json!({"metadata": {"name": name}}))?;
    }
    let some = json!({"role": "edit", "period": "1h", "namespaces": ["some-b", "some-a"]});
    site.grant(&[(ALICE, some)])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let token = alice.token()?;
    let status = |place: &str| world.cluster.status(&token, "GET", &format!("/api/v1{place}/secrets"));
    for (place, expected) in [
        ("/namespaces/some-a", 200),
        ("/namespaces/some-b", 200),
        ("/namespaces/some-c", 403),
        ("/namespaces/some-namespaces", 403),
        ("", 403),
    ] {
        assert_eq!(status(place)?, expected, "{place}");
    }
    assert_eq!(site.counts()?, [1, 1, 0], "nothing is bound in the whole cluster");
    let bindings = || -> Outcome<usize> {
        let path = "/apis/rbac.authorization.k8s.io/v1/rolebindings";
        Ok(world.cluster.labelled(path, site.server.namespace())?.len())
    };
    assert_eq!(bindings()?, 2);
    alice.sign_out()?;
    assert!(is_refused(status("/namespaces/some-a")?));
    assert_eq!((site.counts()?, bindings()?), ([0, 0, 0], 0));
    Ok(())
}

fn namespace_that_does_not_exist_is_refused(world: &World) -> Outcome {
    let site = world.site("no-namespace")?;
    let nowhere = json!({"role": "view", "period": "1h", "namespaces": ["no-namespace", "nowhere"]});
    site.grant(&[(ALICE, nowhere)])?;
    let refusal = site.caller("ALICE")?.post("/login")?.expect(403)?.refusal()?;
    assert!(
        refusal.message.contains("this cluster has no namespace nowhere"),
        "{refusal:?}"
    );
    assert_eq!(site.counts()?, [0, 0, 0]);
    let path = "/apis/rbac.authorization.k8s.io/v1/rolebindings";
    let left = world.cluster.labelled(path, site.server.namespace())?;
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

fn same_rule_from_two_grants_is_one(world: &World) -> Outcome {
    let site = world.site("same-rule")?;
    // Equal priorities: two rules would be refused.
    site.grant(&[(ALICE, rule("view", "1h")), ("*", rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let rules = alice.get("/rules")?.expect(200)?.json()?;
    assert_eq!(rules["items"].as_array().map(Vec::len), Some(1), "{rules}");
    alice.sign_in()?;
    // And one grant that goes takes nothing that the other still gives.
    site.grant(&[("*", rule("view", "1h"))])?;
    assert_eq!(alice.get("/login")?.expect(200)?.json()?["role"], "view");
    assert_eq!(site.counts()?, [1, 1, 1]);
    Ok(())
}

/// `cases.md 4`: `"namespaces": null` once gave the role in the whole cluster.
fn restriction_that_says_nothing_gives_nothing(world: &World) -> Outcome {
    let site = world.site("says-nothing")?;
    let alice = site.caller("ALICE")?;
    for (field, value) in [
        ("namespaces", json!(null)),
        ("namespaces", json!([])),
        ("max_sessions", json!(null)),
        ("require_reason", json!(null)),
        ("name", json!(null)),
    ] {
        let mut blank = rule("edit", "8h");
        blank[field] = value;
        site.grant(&[(ALICE, blank)])?;
        let refusal = alice.post("/login")?.expect(400)?.refusal()?;
        let said = format!("{refusal:?}");
        assert!(said.contains(&format!("`{field}` is ")), "{said}");
        assert_eq!(site.counts()?, [0, 0, 0]);
    }
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let json_body = [("Content-Type", "application/json")];
    for body in [r#"{"rule": null}"#, r#"{"role": null}"#, r#"{"period": null}"#] {
        alice
            .send_body("POST", "/api/v1alpha1/login", &json_body, body.as_bytes())?
            .expect(400)?
            .refusal()?;
    }
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}
