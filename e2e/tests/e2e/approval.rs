//! Sign-ins that others approve.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use e2e::user::{ALICE, BOB, CAROL, CI};
use e2e::{Answer, Caller, Kind, Outcome, Records, Site, World, rule, wait};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::{Owner, ServerOptions};

use crate::events::wait_told;

crate::tests![
    other_lets_a_caller_in,
    none_decides_about_their_own_and_others_are_told_nothing,
    person_counts_once_and_needs_oversight,
    one_who_denies_outweighs_the_others,
    sign_in_that_none_answers_is_over,
    session_goes_on_as_it_was_while_its_extension_waits,
    what_changed_meanwhile_begins_anew,
    devices_that_left_take_what_they_asked_and_said_with_them,
    storm_of_requests_is_told_few_times,
    kubectl_shows_what_waits_and_what_was_approved,
    approval_that_a_killed_server_left_is_carried_out,
    kubernetes_objects_approve_nothing,
    wrong_decision_changes_nothing,
    tka_asks_waits_and_decides,
];

/// The rule `oncall`, which asks for approval as `approval` says.
pub(crate) fn oncall(approval: &Value) -> Value {
    json!({"role": "view", "period": "1h", "name": "oncall", "approval": approval})
}

pub(crate) fn approves() -> Value {
    json!({"approve": ["oncall"]})
}

/// Bob may ask and Alice decide.
fn site<'w>(world: &'w World, name: &str, approval: &Value) -> Outcome<(Records, Site<'w>)> {
    let (records, options) = Records::of(world, ServerOptions::new(name))?;
    let site = world.site_with(options)?;
    site.grant(&[(BOB, oncall(approval))])?;
    site.grant_oversight(&[(ALICE, approves())])?;
    Ok((records, site))
}

/// Asks with that `reason`, and does not wait.
pub(crate) fn asks(caller: &Caller, reason: &str) -> Outcome<Value> {
    let body = json!({"rule": "oncall", "reason": reason});
    caller.send_json("POST", "/login", &[], &body)?.expect(202)?.json()
}

pub(crate) fn name(asked: &Value) -> Outcome<String> {
    let name = asked["approval"]["session"].as_str();
    Ok(name.ok_or_else(|| format!("nothing waits: {asked}"))?.to_owned())
}

pub(crate) fn decides(caller: &Caller, decision: &str, name: &str) -> Outcome<Answer> {
    let body = json!({"decision": decision, "comment": "as agreed"});
    caller.send_json("POST", &format!("/approvals/{name}"), &[], &body)
}

/// What waits, as `caller` is told.
fn waiting(caller: &Caller) -> Outcome<Vec<Value>> {
    let list = caller.get("/approvals")?.expect(200)?.json()?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn signin(site: &Site<'_>) -> Outcome<Value> {
    let path = Kind::Signin.path(site.server.namespace());
    let list = site.world.cluster.get(&path)?.ok_or("no list")?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    match items.as_slice() {
        [one] => Ok(one.clone()),
        other => Err(format!("{} TkaSignins", other.len()).into()),
    }
}

pub(crate) fn phase(site: &Site<'_>) -> Outcome<String> {
    Ok(signin(site)?["status"]["phase"].as_str().unwrap_or_default().to_owned())
}

fn other_lets_a_caller_in(world: &World) -> Outcome {
    let (records, site) = site(world, "approval", &json!({"count": 1}))?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let asked = asks(&bob, "pager 4711")?;
    assert_eq!((&asked["username"], &asked["role"]), (&json!(BOB), &json!("view")));
    let approval = &asked["approval"];
    assert_eq!(
        (&approval["count"], &approval["needed"]),
        (&json!(0), &json!(1)),
        "{asked}"
    );
    wait::until_true("he learns who may approve it", || {
        Ok(waiting(&bob)?
            .first()
            .is_some_and(|own| own["approvers"] == json!([ALICE])))
    })?;
    // Nothing is there yet, but for what waits.
    let session = name(&asked)?;
    wait::until_true("it says that it waits", || Ok(phase(&site)? == "AwaitingApproval"))?;
    assert_eq!(signin(&site)?["metadata"]["name"], session.as_str());
    assert_eq!(
        site.objects(Kind::Account)?.len() + site.objects(Kind::Binding)?.len(),
        0
    );
    bob.get("/login")?.expect(401)?;
    bob.post("/credential")?.expect(401)?;
    assert_eq!(bob.get("/sessions")?.expect(200)?.json()?["items"], json!([]));
    // The same is asked once.
    assert_eq!(asks(&bob, "pager 4711")?["approval"]["request"], approval["request"]);

    // The time of the access counts from the approval.
    let requested = Timestamp::now();
    wait::until_time(requested + Duration::from_secs(2))?;
    let listed = waiting(&alice)?;
    let [one] = listed.as_slice() else {
        return Err(format!("{listed:?}").into());
    };
    assert_eq!((&one["username"], &one["reason"]), (&json!(BOB), &json!("pager 4711")));
    assert_eq!((&one["may_decide"], &one["own"]), (&json!(true), &json!(false)));

    // Bob waits for the decision, and has the access with its answer.
    let waits = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let body = json!({"rule": "oncall", "reason": "pager 4711"});
            bob.send_json("POST", "/login", &[("prefer", "wait=10")], &body)
        });
        let decided = decides(&alice, "approve", &session);
        (waits.join(), decided)
    });
    let decided = waits.1?.expect(200)?.json()?;
    assert_eq!(
        (&decided["count"], &decided["state"]),
        (&json!(1), &json!("granted")),
        "{decided}"
    );
    let answer = waits.0.map_err(|_| "the wait panicked")??.expect(200)?.json()?;
    let token = answer["credential"]["status"]["token"].as_str().ok_or("no token")?;
    bob.remember(token)?;
    assert_eq!(world.cluster.status(token, "GET", "/api/v1/pods")?, 200);
    assert_eq!(phase(&site)?, "Active");
    assert_eq!(bob.get("/login")?.expect(200)?.json()?["role"], "view");

    let approved = approval_is_kept(&site, &records)?;
    assert!(approved >= requested + Duration::from_secs(2), "{approved}");
    let until: Timestamp = answer["until"].as_str().ok_or("no end")?.parse()?;
    assert_eq!(until.as_second(), approved.as_second() + 3600);
    // It was decided.
    decides(&alice, "deny", &session)?.expect(409)?.refusal()?;
    bob.sign_out()?;
    site.wait_empty()
}

/// Who asked and approved, why, when and with which comment is in the records, in the session and in Events. Returns when it was approved.
fn approval_is_kept(site: &Site<'_>, records: &Records) -> Outcome<Timestamp> {
    let all = records.all()?;
    let told: Vec<_> = all
        .iter()
        .filter(|record| record.get("approval").is_some())
        .map(|record| {
            (
                record["decision"].as_str(),
                record["outcome"].as_str(),
                &record["who"]["user"]["login_name"],
            )
        })
        .collect();
    let (a, b) = (json!(ALICE), json!(BOB));
    assert_eq!(
        told,
        [
            (Some("approval_requested"), Some("pending"), &b),
            (Some("approved"), Some("granted"), &a),
            (Some("signed_in"), Some("granted"), &b),
        ]
    );
    let given = all
        .iter()
        .find(|record| record["decision"] == "signed_in")
        .ok_or("no record")?;
    assert_eq!(given["approval"]["approvers"], json!([ALICE]));
    assert_eq!(given["session"]["reason"], "pager 4711");
    let annotation = &signin(site)?["metadata"]["annotations"]["tka.specht-labs.de/approval"];
    let kept: Value = serde_json::from_str(annotation.as_str().ok_or("no annotation")?)?;
    let vote = &kept["approvals"][0];
    assert_eq!((&vote["username"], &vote["comment"]), (&a, &json!("as agreed")));
    let recorded = &given["approval"]["approvals"][0];
    assert_eq!(
        (&recorded["username"], &recorded["comment"], &recorded["at"]),
        (&a, &json!("as agreed"), &vote["at"])
    );
    let approved: Timestamp = vote["at"].as_str().ok_or("no time")?.parse()?;
    for (reason, note) in [("ApprovalRequested", "pager 4711"), ("Approved", "as agreed")] {
        let event = wait_told(site, reason)?;
        assert!(event["note"].to_string().contains(note), "{event}");
        assert_eq!(event["regarding"]["kind"], "TkaSignin", "{event}");
    }
    Ok(approved)
}

fn none_decides_about_their_own_and_others_are_told_nothing(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-own", &json!({"count": 1}))?;
    site.grant(&[
        (BOB, oncall(&json!({"count": 1}))),
        (CAROL, rule("view", "1h")),
        (CI, rule("view", "1h")),
    ])?;
    let other = json!({"approve": ["deploy", "role:edit"]});
    site.grant_oversight(&[
        (BOB, approves()),
        (CAROL, other),
        (CI, approves()),
        (ALICE, json!({"recordings": true})),
    ])?;
    let [alice, bob, carol, ci] = ["ALICE", "BOB", "CAROL", "CI"].map(|node| site.caller(node));
    let (alice, bob, carol, ci) = (alice?, bob?, carol?, ci?);
    let asked = asks(&bob, "mine")?;
    let session = name(&asked)?;
    for decision in ["approve", "deny"] {
        decides(&bob, decision, &session)?.expect(403)?.refusal()?;
        decides(&carol, decision, &session)?.expect(404)?.refusal()?;
        // Machines count where a rule says so.
        decides(&ci, decision, &session)?.expect(403)?.refusal()?;
        // Who may decide about nothing is told the same whatever waits.
        let there = decides(&alice, decision, &session)?.expect(403)?.body;
        assert_eq!(decides(&alice, decision, "tka-bob-none")?.expect(403)?.body, there);
    }
    for unknown in ["tka-bob-none", "..", "%2e%2e%2fx", "x%00", &"x".repeat(300)] {
        decides(&carol, "approve", unknown)?.expect(404)?.refusal()?;
    }
    assert_eq!((waiting(&carol)?.len(), waiting(&alice)?.len()), (0, 0));
    let own = waiting(&bob)?;
    assert_eq!(
        (own.len(), &own[0]["own"], &own[0]["may_decide"]),
        (1, &json!(true), &json!(false))
    );
    assert_eq!(phase(&site)?, "AwaitingApproval");
    // Only their own can be withdrawn.
    carol
        .send("DELETE", &format!("/approvals/{session}"), &[])?
        .expect(404)?
        .refusal()?;
    let joins = |request: &Value| {
        let path = format!("/login?request={}", request.as_str().unwrap_or_default());
        let body = json!({"rule": "oncall", "reason": "mine"});
        bob.send_json("POST", &path, &[], &body)
    };
    let joined = joins(&asked["approval"]["request"])?.expect(202)?.json()?;
    assert_eq!(joined["approval"], asked["approval"], "{joined}");
    joins(&json!("another"))?.expect(403)?.refusal()?;
    bob.send_json("DELETE", &format!("/approvals/{session}"), &[], &json!({}))?
        .expect(200)?;
    // One who waits for it hears that, and asks for nothing new.
    joins(&asked["approval"]["request"])?.expect(403)?.refusal()?;
    site.wait_empty()
}

fn person_counts_once_and_needs_oversight(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-two", &json!({"count": 2}))?;
    site.grant_oversight(&[(ALICE, approves()), (CAROL, approves())])?;
    let (alice, bob, carol) = (site.caller("ALICE")?, site.caller("BOB")?, site.caller("CAROL")?);
    let session = name(&asks(&bob, "two")?)?;
    for _ in 0..2 {
        let so_far = decides(&alice, "approve", &session)?.expect(200)?.json()?;
        assert_eq!(
            (&so_far["count"], &so_far["state"]),
            (&json!(1), &json!("waiting")),
            "{so_far}"
        );
    }
    // Alice may not any more by the time that Carol completes the count.
    site.grant_oversight(&[(CAROL, approves())])?;
    let so_far = decides(&carol, "approve", &session)?.expect(200)?.json()?;
    assert_eq!(
        (&so_far["count"], &so_far["state"]),
        (&json!(1), &json!("waiting")),
        "{so_far}"
    );
    assert_eq!(so_far["approvals"][0]["username"], CAROL);
    bob.get("/login")?.expect(401)?;
    site.grant_oversight(&[(ALICE, approves()), (CAROL, approves())])?;
    decides(&alice, "approve", &session)?.expect(200)?;
    bob.get("/login")?.expect(200)?;
    Ok(())
}

fn one_who_denies_outweighs_the_others(world: &World) -> Outcome {
    let (records, site) = site(world, "approval-denied", &json!({"count": 2}))?;
    site.grant_oversight(&[(ALICE, approves()), (CAROL, approves())])?;
    let (alice, bob, carol) = (site.caller("ALICE")?, site.caller("BOB")?, site.caller("CAROL")?);
    let session = name(&asks(&bob, "no")?)?;
    decides(&alice, "approve", &session)?.expect(200)?;
    let denied = decides(&carol, "deny", &session)?.expect(200)?.json()?;
    assert_eq!(denied["state"], "denied");
    decides(&alice, "approve", &session)?.expect(409)?.refusal()?;
    wait::until_true("it says that it was denied", || Ok(phase(&site)? == "Denied"))?;
    // He cannot make that go away.
    bob.send_json("DELETE", &format!("/approvals/{session}"), &[], &json!({}))?
        .expect(409)?
        .refusal()?;
    // Bob hears of it once, and from which person. What he asks for then is asked anew.
    let body = json!({"rule": "oncall", "reason": "no"});
    let told = bob.send_json("POST", "/login", &[], &body)?.expect(403)?.refusal()?;
    assert!(
        told.message.contains(CAROL) && told.message.contains("as agreed"),
        "{told:?}"
    );
    let again = asks(&bob, "no")?;
    assert_eq!(again["approval"]["count"], 0);
    wait::until_true("those who are asked see that one said no", || {
        Ok(waiting(&alice)?
            .first()
            .is_some_and(|one| one["denied_before"]["username"] == CAROL))
    })?;
    let denials = records
        .all()?
        .into_iter()
        .filter(|record| record["decision"] == "denied")
        .count();
    assert_eq!((denials, site.objects(Kind::Account)?.len()), (1, 0));
    Ok(())
}

fn sign_in_that_none_answers_is_over(world: &World) -> Outcome {
    let (records, site) = site(world, "approval-late", &json!({"within": "2s"}))?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let session = name(&asks(&bob, "late")?)?;
    site.wait_empty()?;
    wait::until_true("nothing waits", || {
        let path = format!("{}/{session}", Kind::Signin.path(site.server.namespace()));
        Ok(site.world.cluster.get(&path)?.is_none())
    })?;
    decides(&alice, "approve", &session)?.expect(410)?.refusal()?;
    let body = json!({"rule": "oncall", "reason": "late"});
    let unanswered = bob
        .send_json("POST", "/login", &[("prefer", "wait=10")], &body)?
        .expect(403)?
        .refusal()?;
    assert!(unanswered.message.contains("not approved in time"), "{unanswered:?}");
    let ended = records
        .all()?
        .into_iter()
        .filter(|record| record["decision"] == "approval_ended");
    wait::until_true("both ends are recorded", || Ok(ended.clone().count() >= 1))
}

fn session_goes_on_as_it_was_while_its_extension_waits(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-extend", &json!({"count": 1}))?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let session = name(&asks(&bob, "first")?)?;
    decides(&alice, "approve", &session)?.expect(200)?;
    // What was approved while he looked away is his by asking for just that.
    let body = json!({"rule": "oncall", "reason": "first"});
    let first = bob.send_json("POST", "/login", &[], &body)?.expect(202)?.json()?;
    assert_eq!(first.get("approval"), None, "{first}");
    let token = bob.token()?;
    let before = signin(&site)?;
    let extension = asks(&bob, "longer")?;
    assert_eq!(name(&extension)?, session);
    let works = || {
        world
            .cluster
            .status(&token, "GET", "/api/v1/pods")
            .map(|status| status == 200)
    };
    let is_unchanged = || -> Outcome<bool> {
        let now = signin(&site)?;
        Ok(now["spec"] == before["spec"] && now["status"]["valid_until"] == before["status"]["valid_until"])
    };
    assert!(is_unchanged()? && works()?);
    decides(&alice, "deny", &session)?.expect(200)?;
    assert!(is_unchanged()? && works()?);
    bob.send_json("POST", "/login", &[], &json!({"rule": "oncall", "reason": "longer"}))?
        .expect(403)?;
    // Times are whole seconds.
    let next_second = Timestamp::now() + Duration::from_secs(1);
    wait::until_time(next_second)?;
    asks(&bob, "longer")?;
    decides(&alice, "approve", &session)?.expect(200)?;
    assert!(works()? && !is_unchanged()?);
    assert_eq!(signin(&site)?["spec"]["reason"], "longer");
    Ok(())
}

fn what_changed_meanwhile_begins_anew(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-changed", &json!({"count": 1}))?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let asked = asks(&bob, "one")?;
    let session = name(&asked)?;
    // Another reason is another request, and an approval counts for one.
    let another = asks(&bob, "two")?;
    assert_ne!(another["approval"]["request"], asked["approval"]["request"]);
    let body = json!({"decision": "approve", "request": asked["approval"]["request"]});
    alice
        .send_json("POST", &format!("/approvals/{session}"), &[], &body)?
        .expect(409)?
        .refusal()?;
    // Another rule is none that was asked for.
    let mut edit = oncall(&json!({"count": 1}));
    edit["period"] = json!("2h");
    site.grant(&[(BOB, edit)])?;
    decides(&alice, "approve", &session)?.expect(409)?.refusal()?;
    assert_eq!(site.objects(Kind::Account)?.len(), 0);
    // Nor is that of a caller that no rule reaches any more.
    let session = name(&asks(&bob, "three")?)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    decides(&alice, "approve", &session)?.expect(409)?.refusal()?;
    site.wait_empty()
}

fn devices_that_left_take_what_they_asked_and_said_with_them(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-left", &json!({"count": 2}))?;
    let oncall = oncall(&json!({"count": 2}));
    site.grant(&[(BOB, oncall), (ALICE, rule("view", "1h"))])?;
    site.grant_oversight(&[(ALICE, approves()), (CAROL, approves())])?;
    let guest = |name: &str, user: &str| world.guest(name, &Owner::user(user));
    let (phone, pad) = (guest("approval-phone", BOB)?, guest("approval-pad", ALICE)?);
    let (bob, alice) = (site.caller_on(&phone)?, site.caller_on(&pad)?);
    let carol = site.caller("CAROL")?;
    // Her session goes when the server knows that the device has left.
    alice.sign_in()?;
    let asked = asks(&bob, "on the way")?;
    let session = name(&asked)?;
    decides(&alice, "approve", &session)?.expect(200)?;
    drop(pad);
    site.wait_empty()?;
    let so_far = decides(&carol, "approve", &session)?.expect(200)?.json()?;
    assert_eq!(
        (&so_far["count"], &so_far["approvals"][0]["username"]),
        (&json!(1), &json!(CAROL)),
        "what the device that left said does not count: {so_far}"
    );
    // Now the one that asked.
    drop(phone);
    wait::until_true("the server knows that the phone has left", || {
        Ok(!peers(world)?.contains("approval-phone"))
    })?;
    let refused = decides(&site.caller("ALICE")?, "approve", &session)?
        .expect(409)?
        .refusal()?;
    assert!(refused.message.contains("left the tailnet"), "{refused:?}");
    site.wait_empty()
}

/// The nodes that the server's node knows.
fn peers(world: &World) -> Outcome<String> {
    let output = world.testbed.tailscale(&world.testbed.node("TKA")?, &["status"])?;
    Ok(output.stdout)
}

fn storm_of_requests_is_told_few_times(world: &World) -> Outcome {
    let (records, site) = site(world, "approval-storm", &json!({"count": 1}))?;
    let oncall = oncall(&json!({"count": 1}));
    site.grant(&[(BOB, oncall.clone()), (CAROL, oncall)])?;
    let phone = world.guest("approval-storm-phone", &Owner::user(BOB))?;
    let devices = [site.caller("BOB")?, site.caller_on(&phone)?];
    let mut refused = 0;
    for round in 0..30 {
        let body = json!({"rule": "oncall", "reason": format!("alarm {round}")});
        let answer = devices[round % 2].send_json("POST", "/login", &[], &body)?;
        if answer.status == 429 {
            let seconds: u32 = answer.header("retry-after").ok_or("no Retry-After")?.parse()?;
            assert!((1..=60).contains(&seconds), "{answer:?}");
            assert!(answer.refusal()?.message.contains("too often"));
            refused += 1;
        } else {
            answer.expect(202)?;
        }
    }
    let told = records.decisions(BOB, 0)?;
    let told = told.iter().filter(|decision| *decision == "approval_requested").count();
    // One more where the thirty took a minute.
    assert!(
        (10..=12).contains(&told) && told + refused == 30,
        "{told} told, {refused} refused"
    );
    // What waits already is joined as before, and another person is heard.
    asks(&site.caller("CAROL")?, "a fire")?;
    Ok(())
}

fn kubectl_shows_what_waits_and_what_was_approved(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-kubectl", &json!({"count": 1}))?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let session = name(&asks(&bob, "pager 4711")?)?;
    let shown = || -> Outcome<Vec<String>> {
        let table = world
            .testbed
            .kubectl(&["get", "signin", "--namespace=approval-kubectl"])?;
        let row = table.lines().nth(1).ok_or("no row")?;
        Ok(row.split_whitespace().rev().take(2).map(Into::into).collect())
    };
    wait::until_true("kubectl shows that it waits", || {
        Ok(shown()? == ["False", "AwaitingApproval"])
    })?;
    let waits = format!("signin/{session}");
    let wait_ready = [
        "wait",
        "--for=condition=Ready",
        &waits,
        "--namespace=approval-kubectl",
        "--timeout=60s",
    ];
    let (waited, decided) = thread::scope(|scope| {
        let waits = scope.spawn(|| world.testbed.kubectl(&wait_ready));
        let decided = decides(&alice, "approve", &session);
        (waits.join(), decided)
    });
    decided?.expect(200)?;
    assert!(waited.map_err(|_| "the wait panicked")??.contains("condition met"));
    assert_eq!(shown()?, ["True", "Active"]);
    let described = world
        .testbed
        .kubectl(&["describe", &waits, "--namespace=approval-kubectl"])?;
    assert!(described.contains(&format!("approved by {ALICE}")), "{described}");
    bob.sign_out()?;
    site.wait_empty()
}

fn approval_that_a_killed_server_left_is_carried_out(world: &World) -> Outcome {
    // What a server leaves is written here by another, which the guard would refuse.
    let site = world.unguarded_site("approval-killed")?;
    site.grant(&[(BOB, oncall(&json!({"count": 1})))])?;
    site.grant_oversight(&[(ALICE, approves())])?;
    let bob = site.caller("BOB")?;
    let session = name(&asks(&bob, "killed")?)?;
    // What is written when the server is killed right behind it: the approval, and nothing of the session.
    let namespace = site.server.namespace().to_owned();
    let path = format!("{}/{session}", Kind::Signin.path(&namespace));
    let there = world.cluster.get(&path)?.ok_or("it is gone")?;
    let annotation = &there["metadata"]["annotations"]["tka.specht-labs.de/approval"];
    let mut request: Value = serde_json::from_str(annotation.as_str().ok_or("no request")?)?;
    // Alice's vote, as the server writes it: taken from a request that she decided.
    let alice = site.caller("ALICE")?;
    decides(&alice, "approve", &session)?.expect(200)?;
    bob.get("/login")?.expect(200)?;
    let given = world.cluster.get(&path)?.ok_or("it is gone")?;
    let given = &given["metadata"]["annotations"]["tka.specht-labs.de/approval"];
    let given: Value = serde_json::from_str(given.as_str().ok_or("no request")?)?;
    bob.sign_out()?;
    site.wait_empty()?;
    request["approvals"] = given["approvals"].clone();
    let now = json!(jiff::Timestamp::now().to_string());
    request["approvals"][0]["at"] = now;
    let mut left = there.clone();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        left["metadata"].as_object_mut().ok_or("no metadata")?.remove(field);
    }
    left["metadata"]["annotations"]["tka.specht-labs.de/approval"] = json!(request.to_string());
    world.cluster.create(&Kind::Signin.path(&namespace), &left)?;
    wait::until_true("what was approved is given", || Ok(bob.get("/login")?.status == 200))
}

fn kubernetes_objects_approve_nothing(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-guard", &json!({"count": 1}))?;
    let bob = site.caller("BOB")?;
    let session = name(&asks(&bob, "by hand")?)?;
    let path = format!("{}/{session}", Kind::Signin.path(site.server.namespace()));
    // A policy takes seconds to come into force.
    for change in [
        json!({"metadata": {"annotations": {"tka.specht-labs.de/approval": asked_by_hand()}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "tka"}}}),
    ] {
        wait::until_true("the API server refuses it", || {
            Ok(world.cluster.patch(&path, &change).is_err())
        })?;
    }
    bob.get("/login")?.expect(401)?;
    Ok(())
}

/// What an administrator might write, of a request that is not there.
fn asked_by_hand() -> String {
    json!({"id": "by hand"}).to_string()
}

fn wrong_decision_changes_nothing(world: &World) -> Outcome {
    let (_, site) = site(world, "approval-wrong", &json!({"count": 1}))?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let session = name(&asks(&bob, "wrong")?)?;
    let path = format!("/approvals/{session}");
    for (body, status) in [
        (json!({}), 400),
        (json!({"decision": "yes"}), 400),
        (json!({"decision": "approve", "comment": "a\u{7}b"}), 400),
        (json!({"decision": "approve", "comment": "x".repeat(501)}), 400),
        (json!({"decision": "approve", "comment": "x".repeat(100_000)}), 413),
        (json!({"decision": "approve", "request": null}), 400),
        (json!({"decision": "approve", "by": "carol"}), 400),
        (json!({"decision": "approve", "request": "another"}), 409),
    ] {
        alice.send_json("POST", &path, &[], &body)?.expect(status)?.refusal()?;
    }
    alice.post(&path)?.expect(400)?.refusal()?;
    assert_eq!(waiting(&alice)?[0]["count"], 0);
    // Six are more than one user may have.
    for n in 0..5 {
        let body = json!({"rule": "oncall", "session": format!("s{n}")});
        let status = if n < 4 { 202 } else { 403 };
        bob.send_json("POST", "/login", &[], &body)?.expect(status)?;
        wait::until_true("it is told of", || Ok(waiting(&alice)?.len() == 2 + n.min(3)))?;
    }
    Ok(())
}

/// The same by `tka`, as people do it.
fn tka_asks_waits_and_decides(world: &World) -> Outcome {
    let (records, site) = site(world, "approval-tka", &json!({"count": 1}))?;
    let (alice, bob) = (site.person("ALICE")?, site.person("BOB")?);
    let asks = ["login", "--rule", "oncall", "--reason", "pager 4711"];
    // Without waiting the request stays.
    let left = bob.tka(&[&asks[..], &["--no-wait"]].concat())?.expect(9)?;
    assert!(left.err.contains("tka approvals"), "{left:?}");
    let session = alice
        .tka(&["approvals", "-o", "name"])?
        .expect(0)?
        .out
        .trim()
        .to_owned();
    wait::until_true("he learns who may approve it", || {
        let own = bob.tka(&["approvals", "show", &session])?.expect(0)?.out;
        Ok(own
            .lines()
            .any(|line| line.contains("may approve") && line.contains(ALICE)))
    })?;
    let table = alice.tka(&["approvals"])?.expect(0)?.out;
    assert!(
        table.contains(BOB) && table.contains("pager 4711") && table.contains("0 of 1"),
        "{table}"
    );
    let shown = alice.tka(&["approvals", "show", &session])?.expect(0)?.out;
    assert!(shown.contains("bob.tailnet.test"), "{shown}");
    bob.tka(&["approvals", "approve", &session])?.expect(4)?;
    alice.tka(&["approvals", "approve", "tka-none"])?.expect(3)?;
    alice
        .tka(&["approvals", "approve", &session, "--comment", "a\nb"])?
        .expect(2)?;
    // Bob waits, and Alice decides meanwhile.
    let waits = bob.typed(&asks).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait::until_true("she decides", || {
        Ok(alice
            .tka(&["approvals", "approve", &session, "--comment", "go"])?
            .status
            == Some(0))
    })?;
    let output = waits.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("view"), "{output:?}");
    assert_eq!(bob.tka(&["sessions", "-o", "name"])?.expect(0)?.out.trim(), session);
    bob.tka(&["logout"])?.expect(0)?;
    // One who is interrupted waits no more.
    let mut waits = bob.typed(&asks).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let nothing = || -> Outcome<bool> { Ok(alice.tka(&["approvals", "-o", "name"])?.out.trim().is_empty()) };
    wait::until_true("it waits", || Ok(!nothing()?))?;
    // It says that it waits once a signal is heeded.
    let mut said = String::new();
    BufReader::new(waits.stderr.take().ok_or("no stderr")?).read_line(&mut said)?;
    assert!(said.contains("waits for one more person"), "{said}");
    let pid = Pid::from_raw(i32::try_from(waits.id())?).ok_or("no process")?;
    kill_process(pid, Signal::INT)?;
    waits.wait()?;
    wait::until_true("it waits no more", nothing)?;
    let ended = records
        .all()?
        .into_iter()
        .filter(|record| record["decision"] == "approval_ended")
        .count();
    assert_eq!(ended, 1);
    // One who is denied hears why.
    bob.tka(&[&asks[..], &["--no-wait"]].concat())?.expect(9)?;
    alice
        .tka(&["approvals", "deny", &session, "--comment", "not today"])?
        .expect(0)?;
    let denied = bob.tka(&asks)?.expect(4)?;
    assert!(
        denied.err.contains(ALICE) && denied.err.contains("not today"),
        "{denied:?}"
    );
    site.wait_empty()
}
