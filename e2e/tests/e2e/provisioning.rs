//! What is answered when the cluster does not do its part, or not yet. What stands in its way is real: an admission webhook
//! that does not work.

use std::thread;

use e2e::user::ALICE;
use e2e::{Kind, Obstacle, Outcome, World, rule, wait};
use serde_json::{Value, json};

use crate::audit::{audited, lines};

crate::tests![
    slow_credential_is_not_handed_out_without_a_rule,
    unprovisioned_session_is_202_with_retry_after,
    sign_in_that_cannot_be_undone_is_503_and_leaves_nothing,
];

fn unprovisioned_session_is_202_with_retry_after(world: &World) -> Outcome {
    let site = world.site("not-provisioned")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let obstacle = Obstacle::failing(&site, Kind::Account)?;
    let signed_in = alice.post("/login")?.expect(202)?;
    let path = site.path_of_only(Kind::Signin)?;
    let status = || -> Outcome<Value> { Ok(world.cluster.get(&path)?.ok_or("it is gone")?["status"].take()) };
    let pending = status()?;
    let ready = &pending["conditions"][0];
    assert_eq!(
        (&pending["phase"], &pending["provisioned"]),
        (&json!("Pending"), &json!(false))
    );
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("False"), &json!("NotProvisioned"))
    );
    let why = ready["message"].as_str().unwrap_or_default();
    assert!(why.contains("obstacle.tailnet.test"), "{why}");

    let who = alice.get("/login")?.expect(202)?;
    assert_eq!((who.header("retry-after"), &who.body), (Some("1"), &signed_in.body));
    let kubeconfig = alice.get("/kubeconfig")?.expect(202)?;
    assert_eq!((kubeconfig.header("retry-after"), &*kubeconfig.body), (Some("1"), ""));

    drop(obstacle);
    let name = path.rsplit('/').next().unwrap_or_default();
    let wait_ready = [
        "wait",
        "--for=condition=Ready",
        "signin",
        name,
        "--namespace=not-provisioned",
    ];
    world.testbed.kubectl(&[&wait_ready[..], &["--timeout=30s"]].concat())?;
    let active = status()?;
    assert_eq!(
        (&active["phase"], &active["provisioned"]),
        (&json!("Active"), &json!(true))
    );
    let who = wait::until("the session is provisioned", || {
        let who = alice.get("/login")?;
        Ok((who.status != 202).then_some(who))
    })?;
    assert_eq!((who.status, &who.body), (200, &signed_in.body));
    assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/configmaps")?, 200);
    Ok(())
}

fn sign_in_that_cannot_be_undone_is_503_and_leaves_nothing(world: &World) -> Outcome {
    // The guard would refuse the obstacle's own attempts before the obstacle does.
    let site = world.unguarded_site("no-sign-in")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let obstacle = Obstacle::failing(&site, Kind::Signin)?;
    let answer = alice.post("/login")?.expect(503)?;
    assert_eq!(answer.header("retry-after"), Some("1"));
    let said = answer.refusal()?.messages();
    assert!(
        said.contains("obstacle.tailnet.test") && !said.contains("Status {"),
        "{said}"
    );
    alice.get("/login")?.expect(401)?;
    assert_eq!(site.counts()?, [0, 0, 0]);

    drop(obstacle);
    wait::until_true("signing in succeeds", || Ok(alice.post("/login")?.status == 202))
}

fn slow_credential_is_not_handed_out_without_a_rule(world: &World) -> Outcome {
    let (site, log) = audited(world, "took-long")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let (_obstacle, _listener) = Obstacle::hanging(&site, Kind::Account)?;
    let answer = thread::scope(|scope| {
        let signing_in = scope.spawn(|| alice.send("POST", "/login", &[("Prefer", "wait=10")]));
        wait::until_true("the session is begun", || Ok(!site.objects(Kind::Signin)?.is_empty()))?;
        site.grant(&[])?;
        signing_in.join().map_err(|_| "the caller panicked")?
    })?;
    answer.expect(403)?.refusal()?;
    site.wait_empty()?;
    let given = lines(&log)?
        .into_iter()
        .filter(|record| record["decision"] == "credential_issued");
    assert_eq!(given.count(), 0);
    Ok(())
}
