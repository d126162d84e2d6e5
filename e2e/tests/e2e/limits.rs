//! One caller's storm is not the others', and idle connections are no way to keep them out.

use std::net::TcpStream;

use e2e::user::{ALICE, BOB};
use e2e::{Answer, Caller, Outcome, World, rule, wait};
use serde_json::json;
use testbed::ServerOptions;

crate::tests![
    device_that_sends_too_much_is_told_when_to_come_back_and_others_are_not,
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
    for _ in 0..50 {
        alice.get("/login")?;
    }
    let log = std::fs::read_to_string(site.server.log())?;
    let recorded = log
        .lines()
        .filter(|line| line.contains("audit.tka") && line.contains("429"));
    assert!((1..=3).contains(&recorded.count()), "a storm is no storm of records");
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
