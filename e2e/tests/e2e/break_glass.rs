//! Sign-ins in an emergency: they wait for none, alarm others, and are acknowledged afterwards.

use std::fs;

use e2e::user::{ALICE, BOB, CAROL};
use e2e::{Answer, Caller, Kind, Outcome, Receiver, Records, Site, World, rule, wait};
use serde_json::{Value, json};
use testbed::ServerOptions;

crate::tests![
    emergency_waits_for_none_and_is_acknowledged_by_another,
    emergency_without_a_reason_or_a_record_gives_nothing,
    unacknowledged_emergency_is_told_after_session_and_restart,
    strictest_of_the_same_rules_decides,
    tka_shows_and_acknowledges_an_emergency,
];

fn glass() -> Value {
    json!({"role": "view", "period": "1h", "name": "glass", "break_glass": true})
}

fn approves(rules: &[&str]) -> Value {
    json!({"approve": rules})
}

/// Bob may break the glass and Alice acknowledges; a receiver is told.
fn site<'w>(world: &'w World, name: &str, guard: bool) -> Outcome<(Records, Receiver, Site<'w>)> {
    let receiver = Receiver::start(0)?;
    let options = ServerOptions {
        guard,
        ..ServerOptions::new(name)
    };
    let (records, mut options) = Records::of(world, options)?;
    let key = records.path().with_file_name("webhook.key");
    fs::write(&key, receiver.key())?;
    let events = ["break_glass", "break_glass_acknowledged", "break_glass_unacknowledged"];
    let hook = json!({"name": "alarm", "url": receiver.url("alarm"), "keyFile": key, "events": events});
    options.config["notifications"] = json!({"webhooks": [hook]});
    let site = world.site_with(options)?;
    site.grant(&[(BOB, glass()), (CAROL, rule("view", "1h"))])?;
    site.grant_oversight(&[
        (ALICE, approves(&["glass"])),
        (BOB, approves(&["glass"])),
        (CAROL, approves(&["deploy"])),
    ])?;
    Ok((records, receiver, site))
}

/// Signs in for that reason, and returns the session's name.
fn breaks(caller: &Caller, reason: &str) -> Outcome<String> {
    let body = json!({"rule": "glass", "reason": reason});
    let answer = caller
        .send_json("POST", "/login", &[("prefer", "wait=10")], &body)?
        .expect(200)?
        .json()?;
    let token = answer["credential"]["status"]["token"].as_str().ok_or("no token")?;
    caller.remember(token)?;
    let name = answer["session"]["name"].as_str();
    Ok(name.ok_or_else(|| format!("no session in {answer}"))?.to_owned())
}

fn acknowledges(caller: &Caller, name: &str, more: &Value) -> Outcome<Answer> {
    let mut body = json!({"decision": "acknowledge"});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    caller.send_json("POST", &format!("/approvals/{name}"), &[], &body)
}

fn shown(caller: &Caller) -> Outcome<Vec<Value>> {
    let list = caller.get("/approvals")?.expect(200)?.json()?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn map(site: &Site<'_>, session: &str) -> String {
    format!(
        "/api/v1/namespaces/{}/configmaps/{session}.break-glass",
        site.server.namespace()
    )
}

fn decisions(records: &Records) -> Outcome<Vec<String>> {
    records.decisions(BOB, 0)
}

fn told(site: &Site<'_>, reason: &str) -> Outcome<Option<Value>> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", site.server.namespace());
    let events = site.world.cluster.get(&path)?.ok_or("there are no events")?;
    let mut events = events["items"].as_array().into_iter().flatten();
    Ok(events.find(|event| event["reason"] == reason).cloned())
}

fn emergency_waits_for_none_and_is_acknowledged_by_another(world: &World) -> Outcome {
    let (records, receiver, site) = site(world, "glass", true)?;
    let [alice, bob, carol] = ["ALICE", "BOB", "CAROL"].map(|node| site.caller(node));
    let (alice, bob, carol) = (alice?, bob?, carol?);
    let rules = bob.get("/rules")?.expect(200)?.json()?;
    assert_eq!(
        (&rules["items"][0]["break_glass"], &rules["items"][0]["require_reason"]),
        (&json!(true), &json!(true))
    );

    let session = breaks(&bob, "all is on fire")?;
    // The alarm came first.
    let decided = decisions(&records)?;
    assert_eq!(decided[..2], ["break_glass", "signed_in"], "{decided:?}");
    let all = records.all()?;
    let alarm = all
        .iter()
        .find(|record| record["decision"] == "break_glass")
        .ok_or("no record")?;
    assert_eq!(
        (&alarm["session"]["reason"], &alarm["break_glass"]["name"]),
        (&json!("all is on fire"), &json!(session))
    );
    wait::until_true("others are told", || Ok(receiver.told("alarm").len() == 1))?;
    let event = receiver.told("alarm")[0].verified()?;
    assert_eq!(
        (&event["type"], &event["data"]),
        (&json!("de.specht-labs.tka.break_glass"), alarm)
    );
    let event = wait::until("an Event warns", || told(&site, "BreakGlass"))?;
    assert_eq!(
        (&event["type"], &event["regarding"]["kind"], &event["regarding"]["name"]),
        (&json!("Warning"), &json!("TkaSignin"), &json!(session))
    );
    assert!(event["note"].to_string().contains("all is on fire"), "{event}");
    let metrics = site.health()?.send_body("GET", "/metrics", &[], &[])?.expect(200)?.body;
    assert!(
        metrics.lines().any(|line| line == "tka_break_glass_total 1"),
        "{metrics}"
    );

    // Alice sees it, and neither Bob himself nor Carol says that they did.
    let listed = shown(&alice)?;
    let [one] = listed.as_slice() else {
        return Err(format!("{listed:?}").into());
    };
    assert_eq!(
        (&one["state"], &one["session"], &one["reason"]),
        (&json!("unacknowledged"), &json!(session), &json!("all is on fire"))
    );
    assert_eq!(
        (&one["username"], &one["own"], &one["may_decide"]),
        (&json!(BOB), &json!(false), &json!(true))
    );
    assert_eq!((shown(&bob)?, shown(&carol)?), (Vec::new(), Vec::new()));
    acknowledges(&bob, &session, &json!({}))?.expect(403)?.refusal()?;
    acknowledges(&carol, &session, &json!({}))?.expect(404)?.refusal()?;
    acknowledges(&alice, "tka-none", &json!({}))?.expect(404)?.refusal()?;
    acknowledges(&alice, &session, &json!({"request": "another"}))?
        .expect(409)?
        .refusal()?;
    acknowledges(&alice, &session, &json!({"comment": "a\nb"}))?
        .expect(400)?
        .refusal()?;
    // Nothing waits for approval under that name.
    alice
        .send_json(
            "POST",
            &format!("/approvals/{session}"),
            &[],
            &json!({"decision": "approve"}),
        )?
        .expect(404)?;

    // He signs in once more: what she saw is not all any more.
    let seen = one["request"].clone();
    breaks(&bob, "it still burns")?;
    acknowledges(&alice, &session, &json!({"request": seen}))?.expect(409)?;
    let listed = shown(&alice)?;
    assert_eq!(
        (listed.len(), &listed[0]["reason"]),
        (1, &json!("all is on fire; it still burns"))
    );
    let seen = json!({"request": listed[0]["request"], "comment": "talked to him"});
    let done = acknowledges(&alice, &session, &seen)?.expect(200)?.json()?;
    assert_eq!(done["state"], "acknowledged");
    assert_eq!(world.cluster.get(&map(&site, &session))?, None);
    acknowledges(&alice, &session, &seen)?.expect(404)?;
    assert_eq!(shown(&alice)?, Vec::<Value>::new());
    let all = records.all()?;
    let seen = all
        .iter()
        .find(|record| record["decision"] == "break_glass_acknowledged")
        .ok_or("no record")?;
    assert_eq!(
        (&seen["who"]["user"]["login_name"], &seen["break_glass"]["username"]),
        (&json!(ALICE), &json!(BOB))
    );
    assert_eq!(
        (&seen["break_glass"]["comment"], &seen["break_glass"]["count"]),
        (&json!("talked to him"), &json!(2))
    );
    // His session goes on.
    bob.get("/login")?.expect(200)?;
    bob.sign_out()?;
    site.wait_empty()
}

fn emergency_without_a_reason_or_a_record_gives_nothing(world: &World) -> Outcome {
    let (records, receiver, site) = site(world, "glass-nothing", true)?;
    let bob = site.caller("BOB")?;
    let refused = bob.send_json("POST", "/login", &[], &json!({"rule": "glass"}))?;
    assert!(refused.status == 400 || refused.status == 403, "{refused:?}");
    assert!(refused.refusal()?.message.contains("reason"), "{refused:?}");
    // Without a record nothing is given, and none is alarmed about nothing.
    let log = records.path().parent().ok_or("the file is in no folder")?;
    let (aside, here) = (log.with_extension("aside"), log.to_owned());
    fs::rename(log, &aside)?;
    let body = json!({"rule": "glass", "reason": "all is on fire"});
    bob.send_json("POST", "/login", &[("prefer", "wait=10")], &body)?
        .expect(503)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    let maps = format!(
        "/api/v1/namespaces/{}/configmaps?labelSelector=tka.specht-labs.de/break-glass",
        site.server.namespace()
    );
    let maps = world.cluster.get(&maps)?.ok_or("no list")?;
    assert_eq!(maps["items"], json!([]));
    fs::rename(&aside, &here)?;
    wait::until_true("records can be written again", || {
        Ok(bob.send_json("POST", "/login", &[("prefer", "wait=10")], &body)?.status == 200)
    })?;
    wait::until_true("it is told once", || Ok(receiver.told("alarm").len() == 1))?;
    bob.sign_out()?;
    site.wait_empty()
}

fn unacknowledged_emergency_is_told_after_session_and_restart(world: &World) -> Outcome {
    let (records, receiver, site) = site(world, "glass-again", false)?;
    let bob = site.caller("BOB")?;
    let session = breaks(&bob, "all is on fire")?;
    bob.sign_out()?;
    site.wait_empty()?;
    let path = map(&site, &session);
    let kept = || -> Outcome<Option<Value>> {
        let map = world.cluster.get(&path)?;
        let text = map.as_ref().and_then(|map| map["data"]["signIns.json"].as_str());
        Ok(text.map(serde_json::from_str).transpose()?)
    };
    // As if that had been a while ago. The server that runs meanwhile would tell it, too.
    let ago = |told: i64, at: i64| -> Outcome {
        site.server.stop()?;
        let mut value = kept()?.ok_or("nothing is kept")?;
        let hours_ago = |hours: i64| {
            let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
            json!(time.to_string())
        };
        value["told"] = hours_ago(told);
        value["sign_ins"][0]["at"] = hours_ago(at);
        world
            .cluster
            .patch(&path, &json!({"data": {"signIns.json": value.to_string()}}))?;
        Ok(site.server.start()?)
    };
    ago(23, 40)?;
    ago(25, 40)?;
    wait::until_true("it is told again", || Ok(receiver.told("alarm").len() == 2))?;
    let again = receiver.told("alarm")[1].verified()?;
    assert_eq!(
        again["type"], "de.specht-labs.tka.break_glass_unacknowledged",
        "{again}"
    );
    assert_eq!(
        (
            &again["data"]["break_glass"]["name"],
            &again["data"]["session"]["reason"]
        ),
        (&json!(session), &json!("all is on fire"))
    );
    let event = wait::until("an Event warns again", || told(&site, "BreakGlassUnacknowledged"))?;
    assert_eq!(event["type"], "Warning");
    assert!(event["note"].to_string().contains(&session), "{event}");
    wait::until_true("it is not told twice", || {
        let told = kept()?.ok_or("nothing is kept")?["told"]
            .as_str()
            .map(str::parse)
            .transpose()?;
        Ok(told.is_some_and(|told: jiff::Timestamp| wait::since(told) < wait::LIMIT))
    })?;
    // However long ago that was.
    ago(25, 400 * 24)?;
    wait::until_true("it is told after a year", || Ok(receiver.told("alarm").len() == 3))?;
    let path = format!("/approvals/{session}");
    let seen = json!({"decision": "acknowledge", "comment": "talked to him"});
    site.caller("ALICE")?
        .send_json("POST", &path, &[], &seen)?
        .expect(200)?;
    assert_eq!(kept()?, None);
    let unacknowledged = decisions(&records)?;
    let count = unacknowledged
        .iter()
        .filter(|decision| *decision == "break_glass_unacknowledged")
        .count();
    assert_eq!(count, 2, "{unacknowledged:?}");
    Ok(())
}

fn strictest_of_the_same_rules_decides(world: &World) -> Outcome {
    let (records, _, site) = site(world, "glass-twice", true)?;
    let bob = site.caller("BOB")?;
    // The same rule without an alarm, which would be taken.
    let mut plain = glass();
    plain["priority"] = json!(9);
    plain.as_object_mut().and_then(|rule| rule.remove("break_glass"));
    site.grant(&[(BOB, plain.clone()), (BOB, glass())])?;
    bob.send_json("POST", "/login", &[], &json!({"rule": "glass"}))?
        .refusal()?;
    breaks(&bob, "all is on fire")?;
    assert_eq!(
        decisions(&records)?
            .iter()
            .filter(|decision| *decision == "break_glass")
            .count(),
        1
    );
    // One of them asks for others, and they come first.
    let mut others = glass();
    others.as_object_mut().and_then(|rule| rule.remove("break_glass"));
    others["priority"] = json!(9);
    others["approval"] = json!({"count": 1});
    site.grant(&[(BOB, others), (BOB, glass())])?;
    let body = json!({"rule": "glass", "reason": "all is on fire"});
    wait::until_true("it waits for others", || {
        let answer = bob.send_json("POST", "/login", &[], &body)?;
        Ok(answer.status == 202 && answer.json()?["approval"]["needed"] == 1)
    })?;
    // What contradicts itself is no rule.
    for (field, value) in [("approval", json!({"count": 1})), ("sign_in", json!("on_use"))] {
        let mut wrong = glass();
        wrong[field] = value;
        site.grant(&[(BOB, wrong)])?;
        wait::until_true("it is refused", || {
            Ok(bob.send_json("POST", "/login", &[], &body)?.status == 400)
        })?;
    }
    bob.sign_out()?;
    Ok(())
}

fn tka_shows_and_acknowledges_an_emergency(world: &World) -> Outcome {
    let (_, _, site) = site(world, "glass-tka", true)?;
    let (alice, bob) = (site.person("ALICE")?, site.person("BOB")?);
    let rules = bob.tka(&["rules"])?.expect(0)?.out;
    assert!(rules.contains("for emergencies"), "{rules}");
    let said = bob
        .tka(&["login", "--quiet", "--rule", "glass", "--reason", "all is on fire"])?
        .expect(0)?;
    let path = said
        .out
        .trim()
        .strip_prefix("export KUBECONFIG=")
        .ok_or("no export line")?;
    bob.remember(std::path::Path::new(path.trim_matches('\'')))?;
    let session = alice
        .tka(&["approvals", "-o", "name"])?
        .expect(0)?
        .out
        .trim()
        .to_owned();
    let table = alice.tka(&["approvals"])?.expect(0)?.out;
    assert!(
        table.contains("emergency, not acknowledged") && table.contains("all is on fire"),
        "{table}"
    );
    alice.tka(&["approvals", "approve", &session])?.expect(3)?;
    let said = alice
        .tka(&["approvals", "acknowledge", &session, "--comment", "talked to him"])?
        .expect(0)?;
    assert!(said.err.contains("acknowledged"), "{said:?}");
    assert_eq!(alice.tka(&["approvals", "-o", "name"])?.expect(0)?.out.trim(), "");
    alice.tka(&["approvals", "acknowledge", &session])?.expect(3)?;
    bob.tka(&["logout"])?.expect(0)?;
    assert_eq!(site.objects(Kind::Account)?.len(), 0);
    Ok(())
}
