//! Tagged nodes that may sign in: the device is who they are.

use std::path::PathBuf;

use e2e::user::CI;
use e2e::{Caller, Kind, Outcome, Process, Site, World, is_refused, rule, wait};
use serde_json::{Value, json};
use testbed::{Owner, ServerOptions};

use crate::audit::{audited_with, lines};

crate::tests![
    machine_signs_in_and_is_known_by_its_device,
    machine_that_is_renamed_or_has_other_tags_keeps_its_session,
    machine_signs_out_what_is_its_own_and_no_more,
    machine_sessions_are_revoked_where_machines_are_off,
];

/// A server that serves tagged nodes, and its records.
fn site<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, PathBuf)> {
    let mut options = ServerOptions::new(name);
    options.config = json!({"operator": {"machines": true}});
    audited_with(world, options)
}

fn only(site: &Site<'_>) -> Outcome<Value> {
    let path = site.path_of_only(Kind::Signin)?;
    Ok(site.world.cluster.get(&path)?.ok_or("it is gone")?)
}

fn machine_signs_in_and_is_known_by_its_device(world: &World) -> Outcome {
    let (site, log) = site(world, "machine")?;
    site.grant(&[(CI, rule("view", "1h"))])?;
    let machine = site.caller("CI")?;
    assert_eq!(machine.sign_in()?.username, "ci.tailnet.test");
    let token = machine.token()?;
    let status = |resource: &str| world.cluster.status(&token, "GET", &format!("/api/v1/{resource}"));
    assert_eq!((status("pods")?, status("secrets")?), (200, 403));

    let signin = only(&site)?;
    let name = signin["metadata"]["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("tka-machine-"), "{name}");
    let spec = &signin["spec"];
    assert_eq!((&spec["tags"], &spec["user_id"]), (&json!([CI]), &Value::Null));
    assert_eq!(spec["device"]["name"], "ci.tailnet.test");
    assert!(spec["device"]["stable_id"].as_str().is_some_and(|id| !id.is_empty()));

    let records = lines(&log)?;
    let decisions: Vec<_> = records.iter().map(|record| &record["decision"]).collect();
    assert_eq!(decisions, ["signed_in", "credential_issued"]);
    for record in &records {
        assert_eq!(record["who"], json!({"machine": {"tags": [CI]}}));
        assert_eq!(record["device"]["stable_id"], spec["device"]["stable_id"]);
        assert_eq!(record["device"]["name"], "ci.tailnet.test");
    }
    Ok(())
}

fn machine_that_is_renamed_or_has_other_tags_keeps_its_session(world: &World) -> Outcome {
    let (site, log) = site(world, "machine-changed")?;
    let node = world.guest("runner", &Owner::tag(CI))?;
    site.grant(&[(CI, rule("view", "1h")), ("tag:tka", rule("view", "1h"))])?;
    let machine = site.caller_on(&node)?;
    machine.sign_in()?;
    let before = only(&site)?;

    world.testbed.change_node(&node, &["rename", "worker"])?;
    assert_eq!(machine.sign_in()?.username, "worker.tailnet.test");
    world.testbed.change_node(&node, &["tag", "--tags=tag:tka"])?;
    machine.sign_in()?;
    assert_eq!(site.counts()?, [1, 1, 1]);
    let after = only(&site)?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(
        (&after["spec"]["username"], &after["spec"]["tags"]),
        (&json!("worker.tailnet.test"), &json!(["tag:tka"]))
    );
    let records = lines(&log)?;
    let decisions: Vec<_> = records.iter().map(|record| &record["decision"]).collect();
    assert_eq!(decisions, ["signed_in", "extended", "extended"]);

    // Its session goes with the rule for the tag that it has now.
    site.grant(&[(CI, rule("view", "1h"))])?;
    site.wait_empty()
}

fn machine_signs_out_what_is_its_own_and_no_more(world: &World) -> Outcome {
    let (site, _) = site(world, "machine-all")?;
    let twin = world.guest("ci-twin", &Owner::tag(CI))?;
    site.grant(&[(CI, rule("view", "1h"))])?;
    let (machine, twin) = (site.caller("CI")?, site.caller_on(&twin)?);
    let sign_in = |caller: &Caller| {
        caller.sign_in()?;
        caller.token()
    };
    let (own, other) = (sign_in(&machine)?, sign_in(&twin)?);
    assert_eq!(site.counts()?, [2, 2, 2]);
    machine.post("/logout?all=true")?.expect(200)?;
    let status = |token: &str| world.cluster.status(token, "GET", "/api/v1/pods");
    assert!(is_refused(status(&own)?));
    assert_eq!(status(&other)?, 200);
    machine.get("/login")?.expect(401)?;
    twin.get("/login")?.expect(200)?;
    Ok(())
}

fn machine_sessions_are_revoked_where_machines_are_off(world: &World) -> Outcome {
    let (site, log) = site(world, "machine-off")?;
    site.grant(&[(CI, rule("view", "1h"))])?;
    let machine = site.caller("CI")?;
    machine.sign_in()?;
    let token = machine.token()?;
    let _process = Process::with_settings(&site, &[("TKA_OPERATOR_MACHINES", "false")])?;
    site.wait_empty()?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    machine.post("/login")?.expect(400)?.refusal()?;
    let revoked = wait::until("there is a record of that", || {
        Ok(lines(&log)?.into_iter().find(|record| record["decision"] == "revoked"))
    })?;
    assert_eq!(revoked["who"], json!({"machine": {"tags": [CI]}}));
    let why = revoked["why"].as_str().unwrap_or_default();
    assert!(why.contains("tagged nodes may not sign in here any more"), "{why}");
    Ok(())
}
