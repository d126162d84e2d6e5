//! What happens to sessions is told as Kubernetes Events, and so is who is refused.

use e2e::user::{ALICE, BOB, CAROL};
use e2e::{Kind, Outcome, Site, World, rule, wait};
use serde_json::Value;

use crate::audit::{audited, lines};

crate::tests![
    revocation_is_recorded_and_told,
    session_that_was_broken_is_recorded_and_told,
    refused_sign_ins_are_events_and_a_storm_is_one,
];

/// What is told in the server's namespace under that reason.
fn told(site: &Site<'_>, reason: &str) -> Outcome<Vec<Value>> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", site.server.namespace());
    let mut events = site.world.cluster.get(&path)?.ok_or("there are no events")?;
    let mut events = events["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    events.retain(|event| event["reason"] == reason);
    Ok(events)
}

pub(crate) fn wait_told(site: &Site<'_>, reason: &str) -> Outcome<Value> {
    wait::until(&format!("{reason} is told"), || Ok(told(site, reason)?.pop()))
}

fn note(event: &Value) -> &str {
    event["note"].as_str().unwrap_or_default()
}

fn revocation_is_recorded_and_told(world: &World) -> Outcome {
    let (site, log) = audited(world, "events-revoked")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    site.caller("ALICE")?.sign_in()?;
    let path = site.path_of_only(Kind::Signin)?;
    site.grant(&[])?;
    site.wait_empty()?;
    let event = wait_told(&site, "Revoked")?;
    let regarding = &event["regarding"];
    assert_eq!(regarding["kind"], "TkaSignin");
    assert_eq!(regarding["name"].as_str(), path.rsplit('/').next());
    assert_eq!(event["type"], "Warning");
    assert!(note(&event).contains("does not give this access any more"), "{event}");
    let records = lines(&log)?;
    let revoked: Vec<_> = records
        .iter()
        .filter(|record| record["decision"] == "revoked")
        .collect();
    let [revoked] = revoked[..] else {
        return Err(format!("not one record of it: {records:?}").into());
    };
    assert_eq!(
        (&revoked["outcome"], &revoked["request"]),
        (&"ended".into(), &Value::Null)
    );
    assert_eq!(revoked["who"]["user"]["login_name"], ALICE);
    assert_eq!(revoked["session"]["name"].as_str(), path.rsplit('/').next());
    let why = revoked["why"].as_str().unwrap_or_default();
    assert!(why.contains("does not give this access any more"), "{why}");
    Ok(())
}

fn session_that_was_broken_is_recorded_and_told(world: &World) -> Outcome {
    let (site, log) = audited(world, "events-broken")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    world.cluster.delete(&site.path_of_only(Kind::Account)?)?;
    alice.get("/kubeconfig")?.expect(401)?;
    site.wait_empty()?;
    let event = wait_told(&site, "Broken")?;
    assert!(
        note(&event).contains("ServiceAccount or a binding was deleted"),
        "{event}"
    );
    wait::until_true("its end is recorded", || {
        Ok(lines(&log)?.iter().any(|record| record["decision"] == "taken_down"))
    })
}

fn refused_sign_ins_are_events_and_a_storm_is_one(world: &World) -> Outcome {
    let (site, log) = audited(world, "events-refused")?;
    site.grant(&[(ALICE, rule("view", "1h")), (BOB, rule("no-such-role", "1h"))])?;
    let (bob, carol) = (site.caller("BOB")?, site.caller("CAROL")?);
    for _ in 0..40 {
        carol.post("/login")?.expect(403)?;
    }
    bob.post("/login")?.expect(403)?;
    let refused = wait::until("both are told of", || {
        let refused = told(&site, "Refused")?;
        Ok((refused.len() >= 2).then_some(refused))
    })?;
    let of = |who: &str| {
        refused
            .iter()
            .filter(move |event| note(event).contains(who))
            .collect::<Vec<_>>()
    };
    let ([of_carol], [of_bob]) = (&of(CAROL)[..], &of(BOB)[..]) else {
        return Err(format!("not one of each: {refused:?}").into());
    };
    assert!(
        note(of_carol).contains("no rule of the tailnet policy reaches you"),
        "{of_carol}"
    );
    assert!(
        note(of_bob).contains("may not bind the ClusterRole no-such-role"),
        "{of_bob}"
    );
    for event in [of_carol, of_bob] {
        let regarding = &event["regarding"];
        assert_eq!(
            (&regarding["kind"], &regarding["name"]),
            (&"ServiceAccount".into(), &"tka".into())
        );
        assert!(regarding["uid"].is_string(), "or `kubectl describe` would not find it");
        assert_eq!(
            (&event["type"], &event["related"]["kind"]),
            (&"Warning".into(), &"User".into())
        );
        // Written once, or counted on a few times.
        assert!(event["series"]["count"].as_i64().unwrap_or(1) <= 3, "{event}");
    }
    let described = world
        .testbed
        .kubectl(&["describe", "serviceaccount", "tka", "--namespace=events-refused"])?;
    assert!(described.contains(CAROL), "{described}");
    // The audit log has them, or says how many it left out.
    let records = lines(&log)?;
    let refused = records.iter().filter(|record| record["decision"] == "refused");
    let left_out: u64 = records.iter().filter_map(|record| record["suppressed"].as_u64()).sum();
    assert_eq!(refused.count() + usize::try_from(left_out)?, 41);
    Ok(())
}
