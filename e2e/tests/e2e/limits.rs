//! One caller's storm is not the others', and idle connections are no way to keep them out.

use std::net::TcpStream;
use std::time::Instant;

use e2e::user::{ALICE, BOB};
use e2e::{Answer, Caller, Outcome, World, rule, wait};
use serde_json::json;
use testbed::ServerOptions;

use crate::audit::{audited_with, lines};

crate::tests![
    device_that_sends_too_much_is_told_when_to_come_back_and_others_are_not,
    storm_of_refusals_leaves_few_records_and_tells_how_many,
    connection_too_many_is_closed_and_a_place_is_given_back,
    device_has_no_more_sessions_than_the_server_lets_one_have,
];

/// Sends until the server has had enough.
fn storm(caller: &Caller) -> Outcome<Answer> {
    wait::until("the server has had enough", || {
        let answers = (0..20).map(|_| caller.get("/login")).collect::<Outcome<Vec<_>>>()?;
        Ok(answers.into_iter().find(|answer| answer.status == 429))
    })
}

fn device_that_sends_too_much_is_told_when_to_come_back_and_others_are_not(world: &World) -> Outcome {
    let mut options = ServerOptions::new("storming");
    options.config = json!({"server": {"rateLimit": {"requestsPerSecond": 1, "burst": 30}}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h")), (BOB, rule("view", "1h"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let refused = storm(&alice)?;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.refusal()?;
    bob.sign_in()?;
    wait::until_true("she is let in again", || Ok(alice.get("/login")?.status == 401))?;
    Ok(())
}

// cases.md 11.2
fn storm_of_refusals_leaves_few_records_and_tells_how_many(world: &World) -> Outcome {
    let mut options = ServerOptions::new("refused-often");
    options.config = json!({"server": {"rateLimit": {"requestsPerSecond": 20, "burst": 100}}});
    let (site, log) = audited_with(world, options)?;
    site.grant(&[(BOB, rule("view", "1h"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let begun = Instant::now();
    // Some for want of a rule, and some because they are too many.
    let statuses = (0..250)
        .map(|_| Ok(alice.get("/login")?.status))
        .collect::<Outcome<Vec<_>>>()?;
    assert!(
        statuses.iter().all(|status| [403, 429].contains(status)),
        "{statuses:?}"
    );
    let for_a_time = usize::try_from(begun.elapsed().as_secs() / 10)? + 1;
    // What is given is recorded as ever, and says how many went before.
    bob.sign_in()?;
    let records = lines(&log)?;
    let refused = records.iter().filter(|record| record["decision"] == "refused").count();
    assert!((20..=20 + for_a_time).contains(&refused), "{refused}");
    let told: u64 = records.iter().filter_map(|record| record["suppressed"].as_u64()).sum();
    assert_eq!(usize::try_from(told)? + refused, statuses.len());
    assert_eq!(
        records.last().map(|record| &record["decision"]),
        Some(&json!("signed_in"))
    );
    let metrics = site.health()?.send_body("GET", "/metrics", &[], &[])?.expect(200)?.body;
    let counted = format!("tka_audit_suppressed_total {told}");
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    Ok(())
}

fn connection_too_many_is_closed_and_a_place_is_given_back(world: &World) -> Outcome {
    let mut options = ServerOptions::new("crowded");
    options.config = json!({"server": {"maxConnections": 3, "readHeaderTimeout": "2s"}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.get("/login")?.expect(401)?;
    let mut idle: Vec<TcpStream> = Vec::new();
    wait::until_true("there is no place left", || {
        idle.push(alice.tunnel()?);
        Ok(alice.get("/login").is_err())
    })?;
    // Nobody keeps a place without asking for something.
    wait::until_true("there is a place again", || Ok(alice.get("/login").is_ok()))?;
    drop(idle);
    Ok(())
}

fn device_has_no_more_sessions_than_the_server_lets_one_have(world: &World) -> Outcome {
    let mut options = ServerOptions::new("many-shells");
    options.config = json!({"operator": {"maxSessionsPerDevice": 2}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h")), (BOB, rule("view", "1h"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let sign_in = |caller: &Caller, label: &str| {
        let (headers, body) = (
            [("Content-Type", "application/json")],
            json!({"session": label}).to_string(),
        );
        caller.send_body("POST", "/api/v1alpha1/login", &headers, body.as_bytes())
    };
    for label in ["a", "b", "a"] {
        sign_in(&alice, label)?.expect(202)?;
    }
    let refusal = sign_in(&alice, "c")?.expect(403)?.refusal()?;
    assert!(refusal.message.contains("this device has 2 sessions"), "{refusal:?}");
    assert_eq!(site.counts()?, [2, 2, 2]);
    sign_in(&bob, "c")?.expect(202)?;
    // The one that every rule has is not one of many.
    alice.sign_in()?;
    alice.post("/logout?all=true")?.expect(200)?;
    sign_in(&alice, "c")?.expect(202).map(drop)
}
