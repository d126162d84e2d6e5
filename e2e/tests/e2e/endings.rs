//! Ends that do not go smoothly: what was decided is carried out, called what it is, and recorded.

use std::time::Duration;

use e2e::faults::{Fault, Found, Moment, Proxy, Request, State, Which};
use e2e::user::ALICE;
use e2e::{Kind, Outcome, Records, Site, World, rule, wait};
use jiff::Timestamp;
use serde_json::json;
use testbed::ServerOptions;

crate::tests![
    failed_sign_out_is_reported_and_the_next_one_ends_it,
    revocation_whose_answer_is_lost_is_one_nevertheless,
    extension_refused_not_by_its_rule_ends_nothing,
    extension_without_its_namespace_ends_the_session,
    sweep_passes_what_it_cannot_remove_and_retries_soon,
];

/// More often than anything is tried here.
const ALWAYS: usize = 1000;
/// How soon what cannot be removed is tried again: ever later, but not as late as the next sweep that goes well.
const SOON: Duration = Duration::from_secs(20).saturating_add(wait::BUSY);
/// In seconds: longer than any request waits.
const LATER: u32 = 20;

/// A server whose requests go through a proxy, and its audit log.
fn site<'w>(world: &'w World, proxy: &Proxy, name: &str) -> Outcome<(Site<'w>, Records)> {
    let (records, options) = Records::new(world, name)?;
    Ok((proxy.site_with(world, options)?, records))
}

fn count(records: &Records, decision: &str) -> Outcome<usize> {
    let decisions = records.decisions(ALICE, 0)?;
    Ok(decisions.iter().filter(|other| *other == decision).count())
}

fn failed_sign_out_is_reported_and_the_next_one_ends_it(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let (site, records) = site(world, &proxy, "halfway")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let token = alice.sign_in_waiting()?.expect(200)?.credential()?;
    let works = || {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(world.cluster.status(&token, "GET", "/api/v1/pods")? == 200)
    };
    let is_child = |request: &Request| {
        request.verb == "delete" && ["serviceaccounts", "clusterrolebindings"].contains(&&*request.resource)
    };
    let in_the_way = proxy.arm(Which::first(is_child).times(ALWAYS), Fault::Answer(429, Some(LATER)));
    let name = alice.get("/sessions")?.expect(200)?.json()?["items"][0]["name"].clone();
    let by_name = format!("/sessions/{}", name.as_str().unwrap_or_default());
    for (method, path) in [
        ("POST", "/logout"),
        ("POST", "/logout"),
        ("POST", "/logout?all=true"),
        ("DELETE", &by_name),
    ] {
        alice.send(method, path, &[])?.expect(503)?.refusal()?;
        assert!(works()?, "there was nothing to be told");
    }
    drop(in_the_way);
    alice.sign_out()?;
    assert!(!works()?);
    assert_eq!(site.counts()?, [0, 0, 0]);
    alice.post("/logout")?.expect(404)?;
    assert_eq!((count(&records, "signed_out")?, count(&records, "taken_down")?), (1, 0));
    Ok(())
}

fn revocation_whose_answer_is_lost_is_one_nevertheless(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let (site, records) = site(world, &proxy, "lost-answer")?;
    let alice = site.caller("ALICE")?;
    for (verb, expected) in [("patch", 1), ("delete", 2)] {
        site.grant(&[(ALICE, rule("view", "1h"))])?;
        alice.sign_in_waiting()?.expect(200)?;
        // It says how it ends, and is deleted; each of which is asked for again, of an object that has changed by it.
        let lost = proxy.arm(
            Which::first(move |request| request.is(verb, "tkasignins")),
            Fault::Cut(Moment::After),
        );
        site.grant(&[])?;
        site.wait_empty()?;
        assert_eq!(lost.hits(), 1, "{verb}");
        let found = (count(&records, "revoked")?, count(&records, "taken_down")?);
        assert_eq!(found, (expected, 0), "{verb}");
    }
    Ok(())
}

fn extension_refused_not_by_its_rule_ends_nothing(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let (site, records) = site(world, &proxy, "not-its-rule")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let token = alice.sign_in_waiting()?.expect(200)?.credential()?;
    let before = State::of(&site)?.of_user(ALICE);
    let Found::Whole { uid, .. } = &before else {
        return Err(format!("{before:?}").into());
    };
    for (status, resource) in [(403, "serviceaccounts"), (422, "tkasignins/status")] {
        let verb = if resource == "serviceaccounts" { "get" } else { "patch" };
        let refused = proxy.arm(
            Which::first(move |request| request.is(verb, resource)),
            Fault::Answer(status, None),
        );
        // In the same second it would be the same sign-in, for which nothing is asked.
        wait::until_time(Timestamp::now() + Duration::from_secs(1))?;
        // The reconcile loop completes it.
        alice.sign_in_waiting()?.expect(200)?;
        assert_eq!(refused.hits(), 1);
        let after = State::of(&site)?.of_user(ALICE);
        assert!(
            matches!(&after, Found::Whole { uid: same, .. } if same == uid),
            "{after:?}"
        );
        assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    }
    let ended = ["revoked", "refused", "taken_down"];
    let decisions = records.decisions(ALICE, 0)?;
    assert!(
        decisions.iter().all(|decision| !ended.contains(&&**decision)),
        "{decisions:?}"
    );
    assert!(count(&records, "extended")? >= 2, "{decisions:?}");
    Ok(())
}

fn extension_without_its_namespace_ends_the_session(world: &World) -> Outcome {
    let (records, options) = Records::new(world, "namespace-gone")?;
    let site = world.site_with(options)?;
    let namespaces = "/api/v1/namespaces";
    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "e2e-shop"}});
    world.cluster.create(namespaces, &shop)?;
    let within = json!({"role": "view", "period": "1h", "namespaces": ["default", "e2e-shop"]});
    site.grant(&[(ALICE, within)])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    world.cluster.delete(&format!("{namespaces}/e2e-shop"))?;
    wait::until_true("the namespace is gone", || {
        Ok(world.cluster.get(&format!("{namespaces}/e2e-shop"))?.is_none())
    })?;
    let refusal = alice.post("/login")?.expect(403)?.refusal()?;
    assert!(refusal.message.contains("e2e-shop"), "{refusal:?}");
    site.wait_empty()?;
    let all = records.all()?;
    let revoked = all.iter().find(|record| record["decision"] == "revoked");
    let why = revoked.ok_or("its end was not recorded")?["why"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(why.contains("e2e-shop"), "{why}");
    assert_eq!(site.objects(Kind::Signin)?.len(), 0);
    Ok(())
}

fn sweep_passes_what_it_cannot_remove_and_retries_soon(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let options = ServerOptions {
        guard: false,
        ..ServerOptions::new("leftovers")
    };
    let site = proxy.site_with(world, options)?;
    let namespace = site.server.namespace();
    site.server.stop()?;
    let labels = json!({
        "app.kubernetes.io/managed-by": "tka",
        "tka.specht-labs.de/session": "tka-unknown",
        "tka.specht-labs.de/namespace": namespace,
    });
    for (kind, name) in [(Kind::Binding, "leftovers:orphan"), (Kind::Account, "orphan")] {
        world
            .cluster
            .create(&kind.path(namespace), &kind.object(name, &labels))?;
    }
    // Bindings go first.
    let is_binding = |request: &Request| request.is("delete", "clusterrolebindings");
    let in_the_way = proxy.arm(Which::first(is_binding).times(ALWAYS), Fault::Answer(403, None));
    site.server.start()?;
    wait::until_true("the account is gone", || Ok(site.counts()? == [0, 0, 1]))?;
    let before = in_the_way.hits();
    in_the_way.wait_hits(before + 1, SOON)?;
    drop(in_the_way);
    site.wait_empty()
}
