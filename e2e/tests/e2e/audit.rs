//! Every decision leaves a record, and leads back to a person.

use std::fs;
use std::path::PathBuf;

pub(crate) use e2e::records::lines;
use e2e::user::{ALICE, BOB, CAROL};
use e2e::{Clock, Kind, Outcome, Process, Records, Site, World, rule, wait};
use serde_json::Value;
use testbed::ServerOptions;

crate::tests![
    kubectl_call_leads_back_to_person_and_device,
    every_decision_leaves_a_record_and_an_event,
    nothing_is_given_without_a_record,
    head_changes_and_issues_nothing,
];

/// In seconds.
const HOUR: i64 = 60 * 60;

/// A server that records into a file, and the file.
pub(crate) fn audited<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, PathBuf)> {
    audited_with(world, ServerOptions::new(name))
}

/// The same, with other options.
pub(crate) fn audited_with(world: &World, options: ServerOptions) -> Outcome<(Site<'_>, PathBuf)> {
    let (records, options) = Records::of(world, options)?;
    Ok((world.site_with(options)?, records.path().to_owned()))
}

fn kubectl_call_leads_back_to_person_and_device(world: &World) -> Outcome {
    let (site, log) = audited(world, "audit-kubectl")?;
    site.grant(&[(ALICE, rule("edit", "10m")), (BOB, rule("edit", "10m"))])?;
    site.person("BOB")?.login()?;
    let alice = site.person("ALICE")?;
    let kubeconfig = alice.login()?;
    let in_default = ["configmap", "e2e-audit", "--namespace=default"];
    alice
        .kubectl(&kubeconfig, &[&["create"], &in_default[..]].concat())?
        .expect(0)?;
    alice
        .kubectl(&kubeconfig, &[&["delete"], &in_default[..]].concat())?
        .expect(0)?;

    let calls = lines(&world.testbed.audit_log())?;
    for verb in ["create", "delete"] {
        let is_it = |call: &&Value| call["verb"] == verb && call["objectRef"]["name"] == "e2e-audit";
        let call = calls
            .iter()
            .find(is_it)
            .ok_or("the API server did not record the call")?;
        let credential = &call["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
        let id = credential.as_str().and_then(|id| id.strip_prefix("JTI="));
        let id = id.ok_or("the API server did not record the credential")?;

        let records = lines(&log)?;
        let issued: Vec<&Value> = records
            .iter()
            .filter(|record| record["credential"]["id"] == id)
            .collect();
        let [issued] = issued[..] else {
            return Err(format!("{} records have the credential {id}", issued.len()).into());
        };
        assert_eq!(issued["decision"], "credential_issued");
        assert_eq!(issued["who"]["user"]["login_name"], ALICE);
        let device = issued["device"]["name"].as_str().unwrap_or_default();
        assert!(device.starts_with("alice"), "{issued}");
        assert!(issued["device"]["addresses"][0].is_string(), "{issued}");
        let session = issued["session"]["name"].as_str().unwrap_or_default();
        let account = format!("system:serviceaccount:{}:{session}", site.server.namespace());
        assert_eq!(call["user"]["username"], account);
    }
    Ok(())
}

fn every_decision_leaves_a_record_and_an_event(world: &World) -> Outcome {
    let (site, log) = audited(world, "audit-all")?;
    site.grant(&[(ALICE, rule("view", "10m")), (BOB, rule("view", "3s"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    alice.sign_in()?;
    alice.sign_in()?;
    alice.token()?;
    site.caller("CAROL")?.post("/login")?.expect(403)?;
    site.stranger().post("/login")?.expect(500)?;
    alice.sign_out()?;
    bob.sign_in()?;
    site.wait_empty()?;
    alice.sign_in()?;
    world.cluster.delete(&site.path_of_only(Kind::Signin)?)?;
    site.wait_empty()?;

    let expected = [
        ("signed_in", "granted", ALICE),
        ("extended", "granted", ALICE),
        ("credential_issued", "granted", ALICE),
        ("refused", "refused", "carol@example.com"),
        ("refused", "failed", ""),
        ("signed_out", "ended", ALICE),
        ("signed_in", "granted", BOB),
        ("expired", "ended", BOB),
        ("signed_in", "granted", ALICE),
        ("taken_down", "ended", ALICE),
    ];
    wait::until_true("every decision has its record", || {
        Ok(lines(&log)?.len() >= expected.len())
    })?;
    let records = lines(&log)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found: Vec<_> = records
        .iter()
        .map(|record| {
            let who = text(&record["who"]["user"]["login_name"]);
            (text(&record["decision"]), text(&record["outcome"]), who)
        })
        .collect();
    let expected: Vec<_> = expected
        .map(|(decision, outcome, who)| (decision.to_owned(), outcome.to_owned(), who.to_owned()))
        .into();
    assert_eq!(found, expected);

    let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", site.server.namespace());
    let told = || -> Outcome<Vec<String>> {
        let events = world.cluster.get(&events)?.ok_or("there are no events")?;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        let mut reasons: Vec<_> = events.iter().map(|event| text(&event["reason"])).collect();
        reasons.sort_unstable();
        reasons.dedup();
        Ok(reasons)
    };
    let all = ["Expired", "Extended", "Refused", "SignedIn", "SignedOut", "TakenDown"];
    wait::until_true("every decision is told as an Event", || Ok(told()? == all))
}

fn nothing_is_given_without_a_record(world: &World) -> Outcome {
    let (site, log) = audited(world, "audit-full")?;
    let clock = Clock::new(world)?;
    let _server = Process::with_clock(&site, &clock)?;
    let short = (CAROL, rule("view", "1h"));
    site.grant(&[(ALICE, rule("view", "4h")), (BOB, rule("view", "4h")), short])?;
    let (alice, bob, carol) = (site.caller("ALICE")?, site.caller("BOB")?, site.caller("CAROL")?);
    bob.sign_in()?;
    carol.sign_in()?;
    let folder = log.parent().ok_or("the file is in no folder")?;
    fs::remove_dir_all(folder)?;
    clock.set(HOUR / 2)?;
    carol.post("/login")?.expect(503)?.refusal()?;
    alice.post("/login")?.expect(503)?.refusal()?;
    bob.get("/kubeconfig")?.expect(503)?.refusal()?;
    // An extension that counted without a record would go on for half an hour more.
    clock.set(HOUR)?;
    wait::until_true("only the sessions that were recorded are left", || {
        Ok(site.counts()? == [1, 1, 1])
    })?;
    bob.sign_out()?;
    site.wait_empty()?;
    fs::create_dir(folder)?;
    alice.sign_in()?;
    alice.token()?;
    // That Carol's session ended went to the log.
    assert_eq!(lines(&log)?.len(), 2);
    Ok(())
}

fn head_changes_and_issues_nothing(world: &World) -> Outcome {
    let (site, log) = audited(world, "audit-head")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.send("HEAD", "/kubeconfig", &[])?.expect(401)?;
    alice.sign_in()?;
    for (path, accept, media_type) in [
        ("/kubeconfig", "*/*", "application/json"),
        ("/kubeconfig?credential=exec", "text/yaml", "text/yaml"),
        ("/login", "*/*", "application/json"),
        ("/sessions", "*/*", "application/json"),
    ] {
        let answer = alice.send("HEAD", path, &[("Accept", accept)])?.expect(200)?;
        assert_eq!((answer.header("content-type"), &*answer.body), (Some(media_type), ""));
    }
    for path in ["/logout", "/credential"] {
        alice.send("HEAD", path, &[])?.expect(405)?;
    }
    alice.token()?;
    let records = lines(&log)?;
    let given: Vec<_> = records
        .iter()
        .filter(|record| record["outcome"] != "refused")
        .map(|record| record["decision"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(given, ["signed_in", "credential_issued"]);
    Ok(())
}
