//! Oversight of sessions and audit records: who has it sees and ends, each look is recorded, and all others are told nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::records::lines;
use e2e::user::{ALICE, BOB, CAROL, CI};
use e2e::{Answer, Caller, Kind, Outcome, Pair, Person, Records, Site, World, cluster, rule, wait};
use serde_json::{Value, json};

use crate::gateway::{Watch, ask, options, session_name};

crate::tests![
    others_are_told_nothing,
    nothing_is_shown_without_a_record,
    overseer_sees_all_sessions_and_ends_one,
    end_by_oversight_stays_ended,
    records_are_searched_at_all_replicas,
    records_that_are_in_no_file_are_not_searched,
];

fn sessions(may: &str) -> Value {
    json!({"sessions": may})
}

/// All that a caller sees of an answer, but for when it came.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (answer.status, headers.collect(), answer.body.clone())
}

fn others_are_told_nothing(world: &World) -> Outcome {
    let (_records, options) = Records::new(world, "oversight-hidden")?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("cluster-admin", "10m")), (CAROL, sessions("end"))])?;
    site.grant_oversight(&[
        (ALICE, json!({"recordings": true, "approve": ["oncall"]})),
        (BOB, json!({"sessions": "end", "audit": true, "session": "end"})),
        (CI, json!({"sessions": "end", "audit": true})),
    ])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    let name = session_name(&site)?;
    let asked = [
        ("GET", "/oversight/sessions".to_owned()),
        ("HEAD", "/oversight/sessions".to_owned()),
        ("GET", "/oversight/sessions?limit=nonsense".to_owned()),
        ("DELETE", format!("/oversight/sessions/{name}")),
        ("DELETE", "/oversight/sessions/none".to_owned()),
        ("DELETE", "/oversight/sessions/%ff?reason=".to_owned()),
        ("GET", "/oversight/audit".to_owned()),
        ("HEAD", "/oversight/audit".to_owned()),
        ("GET", "/oversight/audit?decision=nonsense".to_owned()),
    ];
    for node in ["ALICE", "BOB", "CAROL", "CI"] {
        let caller = site.caller(node)?;
        for (method, path) in &asked {
            let nothing = seen(&caller.send(method, "/nothing-is-here", &[])?.expect(404)?);
            assert_eq!(
                seen(&caller.send(method, path, &[])?),
                nothing,
                "{node} {method} {path}"
            );
        }
    }
    assert_eq!(site.counts()?, [1, 1, 1], "nothing ended");
    // A method that a path does not have is answered to all alike.
    site.grant_oversight(&[(BOB, json!({"sessions": "end", "audit": true}))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    bob.get("/oversight/sessions")?.expect(200)?;
    for path in ["/oversight/sessions", "/oversight/sessions/none", "/oversight/audit"] {
        for method in ["POST", "PUT", "PATCH"] {
            let (of_alice, of_bob) = (alice.send(method, path, &[])?, bob.send(method, path, &[])?);
            assert_eq!(seen(&of_alice), seen(&of_bob), "{method} {path}");
            assert_eq!(of_bob.status, 405, "{method} {path}");
        }
    }
    // It counts no longer than the policy has it.
    site.grant_oversight(&[])?;
    bob.get("/oversight/sessions")?.expect(404)?;
    bob.get("/oversight/audit")?.expect(404)?;
    Ok(())
}

fn nothing_is_shown_without_a_record(world: &World) -> Outcome {
    let (records, options) = Records::new(world, "oversight-unrecorded")?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    site.grant_oversight(&[(BOB, json!({"sessions": "read", "audit": true}))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    let bob = site.caller("BOB")?;
    let log = records.path().parent().ok_or("the file is in no folder")?;
    let away = log.with_extension("away");
    fs::rename(log, &away)?;
    for path in ["/oversight/sessions", "/oversight/audit"] {
        let answer = bob.get(path)?.expect(503)?;
        assert!(!answer.body.contains(ALICE), "{}", answer.body);
    }
    fs::rename(&away, log)?;
    wait::until_true("records can be written again", || {
        Ok(bob.get("/oversight/sessions")?.status == 200)
    })
}

/// The decisions of a log from number `skipped` on that have to do with oversight, and what they say.
fn oversight_of(path: &Path, skipped: usize) -> Outcome<Vec<Value>> {
    let is_ours = |record: &Value| {
        ["looked", "end_requested", "revoked", "signed_out"]
            .iter()
            .any(|decision| record["decision"] == *decision)
    };
    Ok(lines(path)?.into_iter().skip(skipped).filter(is_ours).collect())
}

fn overseer_sees_all_sessions_and_ends_one(world: &World) -> Outcome {
    let (records, options) = Records::new(world, "oversight-sessions")?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("edit", "10m")), (BOB, rule("view", "10m"))])?;
    site.grant_oversight(&[(BOB, sessions("end")), (CAROL, sessions("read"))])?;
    let (alice, bob, carol) = (site.caller("ALICE")?, site.caller("BOB")?, site.caller("CAROL")?);
    let token = alice.sign_in_waiting()?.expect(200)?.credential()?;
    let name = session_name(&site)?;
    let works = || {
        world
            .cluster
            .status(&token, "GET", "/api/v1/namespaces/default/configmaps")
    };
    assert_eq!(works()?, 200);
    let begin = lines(records.path())?.len();

    let page = carol.get("/oversight/sessions?user=alice@example.com&role=edit")?;
    let page = page.expect(200)?.json()?;
    assert_eq!(page["items"][0]["name"], json!(name), "{page}");
    assert_eq!(page["items"][0]["username"], ALICE);
    let none = carol.get("/oversight/sessions?device=none")?.expect(200)?.json()?;
    assert_eq!(none["items"], json!([]));
    let path = format!("/oversight/sessions/{name}");
    let refused = carol.send("DELETE", &path, &[])?.expect(403)?;
    assert!(refused.body.contains("ends none"), "{}", refused.body);
    for wrong in ["?reason=", "?reason=a%0Ab", "?because=x"] {
        bob.send("DELETE", &format!("{path}{wrong}"), &[])?.expect(400)?;
    }
    assert_eq!(works()?, 200, "what is refused ends nothing");

    let ended = bob
        .send("DELETE", &format!("{path}?reason=laptop%20lost"), &[])?
        .expect(200)?;
    assert_eq!(ended.json()?["name"], json!(name));
    assert!(
        cluster::is_refused(works()?),
        "its token gives nothing when this is answered"
    );
    wait::until_true("all of it is gone", || Ok(site.counts()? == [0, 0, 0]))?;
    bob.send("DELETE", &path, &[])?.expect(404)?;

    let records_of_it = oversight_of(records.path(), begin)?;
    let decisions: Vec<_> = records_of_it.iter().map(|record| record["decision"].clone()).collect();
    assert_eq!(decisions, ["looked", "looked", "end_requested", "revoked"]);
    let (look, asked, end) = (&records_of_it[0], &records_of_it[2], &records_of_it[3]);
    assert_eq!(
        (&look["look"]["at"], &look["who"]["user"]["login_name"]),
        (&json!("sessions"), &json!(CAROL))
    );
    assert_eq!(
        (&asked["who"]["user"]["login_name"], &asked["why"]),
        (&json!(BOB), &json!("laptop lost"))
    );
    assert_eq!(asked["session"]["name"], json!(name));
    assert_eq!(end["who"]["user"]["login_name"], ALICE);
    let why = format!("ended by {BOB}, who has oversight: laptop lost");
    assert_eq!(end["why"], json!(why));

    // One's own session is signed out, whatever path is taken.
    bob.sign_in_waiting()?.expect(200)?;
    let own = session_name(&site)?;
    bob.send("DELETE", &format!("/oversight/sessions/{own}"), &[])?
        .expect(200)?;
    let last = oversight_of(records.path(), begin)?.pop().ok_or("no record")?;
    assert_eq!(last["decision"], "signed_out");
    through_tka(&site)
}

/// The same with `tka`.
fn through_tka(site: &Site<'_>) -> Outcome {
    let (alice, bob, carol) = (site.person("ALICE")?, site.person("BOB")?, site.person("CAROL")?);
    alice.login()?;
    let name = session_name(site)?;
    let listed = bob.tka(&["sessions", "--everyone", "--user", ALICE])?.expect(0)?;
    assert!(listed.out.contains(&name) && listed.out.contains("USER"), "{listed:?}");
    let refused = alice.tka(&["sessions", "--everyone"])?.expect(4)?;
    assert!(refused.err.contains("oversight of sessions"), "{refused:?}");
    let only_read = carol.tka(&["sessions", "end", &name])?.expect(4)?;
    assert!(only_read.err.contains("ends none"), "{only_read:?}");
    let ended = bob
        .tka(&["sessions", "end", &name, "--reason", "left the company"])?
        .expect(0)?;
    assert!(ended.err.contains(ALICE), "{ended:?}");
    alice.tka(&["sessions", "end", "tka-none"])?.expect(3)?;
    wait::until_true("all of it is gone", || Ok(site.counts()? == [0, 0, 0]))
}

fn list(caller: &Caller) -> Outcome<Answer> {
    ask(caller, "GET", "/api/v1/namespaces", &[], "")
}

fn end_by_oversight_stays_ended(world: &World) -> Outcome {
    let site = world.site_with(options("oversight-ended"))?;
    let on_use = json!({"role": "view", "period": "10m", "sign_in": "on_use"});
    site.grant(&[(ALICE, on_use)])?;
    site.grant_oversight(&[(BOB, sessions("end"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    list(&alice)?.expect(200)?;
    let name = session_name(&site)?;
    let watch = Watch::begin(&alice)?;
    bob.send("DELETE", &format!("/oversight/sessions/{name}"), &[])?
        .expect(200)?;
    // Its streams end with it.
    watch.ended()?;
    for _ in 0..3 {
        let refused = list(&alice)?.expect(401)?;
        assert!(refused.body.contains("your session was ended"), "{}", refused.body);
    }
    assert_eq!(site.objects(Kind::Signin)?, Vec::<Value>::new());
    // Its owner may sign in again: who must not has no rule.
    alice.sign_in_waiting()?.expect(200)?;
    list(&alice)?.expect(200)?;
    Ok(())
}

/// `tka audit` of the person at the node BOB, who knows both replicas.
fn audit(pair: &Pair<'_>, bob: &Person, args: &[&str]) -> Outcome<(Option<i32>, Value, String)> {
    let said = typed(pair, bob, &[&["audit", "-o", "json"], args].concat())?;
    let found = if said.0.is_empty() {
        json!(null)
    } else {
        serde_json::from_str(&said.0)?
    };
    Ok((said.2, found, said.1))
}

/// Replicas of the testbed have ports of their own, so the other's is told.
fn typed(pair: &Pair<'_>, person: &Person, args: &[&str]) -> Outcome<(String, String, Option<i32>)> {
    let [a, b] = pair.sites();
    let url = b.server.url();
    let (_, port) = url.rsplit_once(':').ok_or("no port")?;
    let output = person
        .typed(args)
        .env("TKA_TAILSCALE_PORT", port)
        .env("TKA_TAILSCALE_SOCKET", a.world.testbed.node("BOB")?.socket())
        .stdin(Stdio::null())
        .output()?;
    let text = |bytes| String::from_utf8(bytes);
    Ok((text(output.stdout)?, text(output.stderr)?, output.status.code()))
}

/// Two replicas, of which each writes its records to a file of its own.
fn recorded<'w>(world: &'w World, name: &str) -> Outcome<(Pair<'w>, [PathBuf; 2])> {
    let logs = ["a", "b"].map(|one| world.new_folder(&format!("{name}-log-{one}")));
    let [a, b] = logs;
    let logs = [a?.join("audit.log"), b?.join("audit.log")];
    let pair = Pair::with(name, world, &json!({}), |number, mut options| {
        options.config["audit"] = json!({"path": logs[number]});
        world.site_with(options)
    })?;
    Ok((pair, logs))
}

fn records_are_searched_at_all_replicas(world: &World) -> Outcome {
    let (pair, logs) = recorded(world, "oversight-audit")?;
    pair.grant(&[(ALICE, rule("view", "10m")), (BOB, rule("view", "10m"))])?;
    let [a, b] = pair.sites();
    a.grant_oversight(&[(BOB, json!({"audit": true}))])?;
    b.wait_policy()?;
    let bob = a.person("BOB")?;
    // Bob has signed in to neither. The devices hear of new nodes one after the other.
    wait::until_true("bob's device finds both replicas", || {
        let (_, found, _) = audit(&pair, &bob, &["--limit", "1"])?;
        Ok(found["searched"].as_array().is_some_and(|searched| searched.len() == 2))
    })?;
    // Alice signs in at one replica, and extends that at the other.
    e2e::pair::caller(a, "ALICE")?.sign_in_waiting()?.expect(200)?;
    e2e::pair::caller(b, "ALICE")?.sign_in_waiting()?.expect(200)?;

    let (status, found, said) = audit(&pair, &bob, &["--user", ALICE])?;
    assert_eq!(status, Some(0), "{said}");
    let items = found["items"].as_array().ok_or("no items")?;
    let of = |decision: &str| {
        let item = items.iter().find(|item| item["record"]["decision"] == decision);
        item.map(|item| item["replica"].as_str().unwrap_or_default().to_owned())
    };
    let host = |site: &Site<'_>| {
        let url = site.server.url();
        let host = url.trim_start_matches("http://").split(':').next().unwrap_or_default();
        host.to_owned()
    };
    assert_eq!(of("signed_in"), Some(host(a)), "{found:#}");
    assert_eq!(of("extended"), Some(host(b)), "{found:#}");
    assert!(
        items
            .iter()
            .all(|item| item["record"]["who"]["user"]["login_name"] == ALICE),
        "{found:#}"
    );
    let times: Vec<_> = items
        .iter()
        .map(|item| item["record"]["time"].as_str().unwrap_or_default())
        .collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let replicas: Vec<_> = found["searched"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| one["complete"].clone())
        .collect();
    assert_eq!(replicas, [true, true], "{found:#}");
    assert!(said.contains(&host(a)) && said.contains(&host(b)), "{said}");
    // The looks are recorded at both, before anything was shown.
    for log in &logs {
        let is_meant = |record: &Value| {
            let query = record["look"]["query"].as_str().unwrap_or_default();
            record["look"]["at"] == "audit" && query.contains("user=alice")
        };
        let looks: Vec<_> = lines(log)?.into_iter().filter(is_meant).collect();
        assert_eq!((looks.len(), &looks[0]["who"]["user"]["login_name"]), (1, &json!(BOB)));
    }
    searched_through_rotation(&pair, &bob, &logs)?;
    // One that does not answer is named, and the others' are shown.
    b.server.kill()?;
    let (status, found, said) = audit(&pair, &bob, &["--user", ALICE])?;
    assert_eq!(status, Some(10), "{said}");
    assert!(
        said.contains(&format!("the records of {} were not searched", b.server.url())),
        "{said}"
    );
    assert!(
        found["items"].as_array().is_some_and(|items| !items.is_empty()),
        "{found:#}"
    );
    Ok(())
}

fn searched_through_rotation(pair: &Pair<'_>, bob: &Person, logs: &[PathBuf; 2]) -> Outcome {
    let [a, _] = pair.sites();
    fs::rename(&logs[0], logs[0].with_extension("log.1"))?;
    let token = e2e::pair::caller(a, "ALICE")?.token()?;
    let (status, found, said) = audit(pair, bob, &["--decision", "signed_in", "--user", ALICE])?;
    assert_eq!(
        (status, found["items"].as_array().map(Vec::len)),
        (Some(0), Some(1)),
        "{said} {found:#}"
    );
    let (_, found, _) = audit(pair, bob, &["--device", "alice", "--limit", "2"])?;
    assert_eq!(found["has_more"], true, "{found:#}");
    assert!(!found.to_string().contains(&token), "no token is in it");
    // What is packed is named.
    fs::write(logs[0].with_extension("log.2.gz"), "packed")?;
    let (status, _, said) = audit(pair, bob, &["--user", ALICE])?;
    assert_eq!(status, Some(10), "{said}");
    assert!(said.contains("audit.log.2.gz"), "{said}");
    Ok(fs::remove_file(logs[0].with_extension("log.2.gz"))?)
}

fn records_that_are_in_no_file_are_not_searched(world: &World) -> Outcome {
    let site = world.site("oversight-stdout")?;
    site.grant_oversight(&[(BOB, json!({"audit": true}))])?;
    let bob = site.caller("BOB")?;
    let refused = bob.get("/oversight/audit")?.expect(404)?;
    assert!(
        refused.body.contains("standard output") && refused.body.contains("audit.path"),
        "{}",
        refused.body
    );
    let said = site.person("BOB")?.tka(&["audit"])?.expect(10)?;
    assert!(said.err.contains("audit.path"), "{said:?}");
    Ok(())
}
