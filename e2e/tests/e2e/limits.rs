//! One caller's storm is not the others', and idle connections are no way to keep them out.

use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use e2e::faults::{Fault, Moment, Proxy, Request, Which};
use e2e::pair::caller;
use e2e::user::{ALICE, BOB};
use e2e::{Answer, Caller, Kind, Outcome, Pair, World, rule, wait};
use serde_json::json;
use testbed::ServerOptions;

use crate::audit::{audited_with, lines};
use crate::max_sessions::{all_at_once, sign_in_at_once};

crate::tests![
    rate_limited_device_is_told_when_and_others_are_not,
    storm_of_refusals_leaves_few_records_and_tells_how_many,
    connection_too_many_is_closed_and_a_place_is_given_back,
    device_has_no_more_sessions_than_the_server_lets_one_have,
    device_has_no_more_bindings_than_the_server_lets_one_have,
    sign_in_killed_before_counting_is_refused_by_the_loop,
];

/// Sends until the server has had enough.
fn storm(caller: &Caller) -> Outcome<Answer> {
    wait::until("the server has had enough", || {
        let answers = (0..20).map(|_| caller.get("/login")).collect::<Outcome<Vec<_>>>()?;
        Ok(answers.into_iter().find(|answer| answer.status == 429))
    })
}

fn rate_limited_device_is_told_when_and_others_are_not(world: &World) -> Outcome {
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
    const PLACES: u32 = 3;
    let mut options = ServerOptions::new("crowded");
    options.config = json!({"server": {"maxConnections": PLACES, "readHeaderTimeout": "4s"}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.get("/login")?.expect(401)?;
    let mut idle: Vec<TcpStream> = Vec::new();
    wait::until_true("there is no place left", || {
        // All of them at once: on a busy machine the first has lost its place when the last has come.
        idle.extend((0..PLACES).filter_map(|_| alice.tunnel().ok()));
        Ok(alice.get("/login").is_err())
    })?;
    // A connection without a request loses its place.
    wait::until_true("there is a place again", || Ok(alice.get("/login").is_ok()))?;
    drop(idle);
    Ok(())
}

/// Some sessions begin at once, at two replicas, one of them without a label. Then the order is known.
// cases.md 11.7
fn device_has_no_more_sessions_than_the_server_lets_one_have(world: &World) -> Outcome {
    const MAX: usize = 2;
    let config = json!({
        "operator": {"maxSessionsPerDevice": MAX},
        "server": {"rateLimit": {"requestsPerSecond": 1000, "burst": 1000}},
    });
    let pair = Pair::new(world, "many-shells", &config)?;
    let (a, b) = pair.by_part()?;
    pair.grant(&[(ALICE, rule("view", "1h")), (BOB, rule("view", "1h"))])?;
    let callers = [caller(a, "ALICE")?, caller(b, "ALICE")?];
    for _ in 0..3 {
        let (answers, _) = sign_in_at_once(a, &callers, MAX)?;
        assert!(answers.contains(&403), "{answers:?}");
        callers[0].post("/logout?all=true")?.expect(200)?;
        a.wait_empty()?;
    }
    let [alice, _] = &callers;
    for label in ["a", "b", "a"] {
        alice.sign_in_apart(label)?.expect(200)?;
    }
    let refusal = alice.sign_in_apart("c")?.expect(403)?.refusal()?;
    assert!(refusal.message.contains("the limit of 2 sessions"), "{refusal:?}");
    alice.post("/login")?.expect(403)?;
    assert_eq!(a.counts()?, [2, 2, 2], "a refusal leaves nothing behind");
    caller(a, "BOB")?.sign_in_apart("c")?.expect(200)?;
    alice.post("/logout?all=true")?.expect(200)?;
    alice.sign_in_apart("c")?.expect(200).map(drop)
}

// cases.md 11.7
fn device_has_no_more_bindings_than_the_server_lets_one_have(world: &World) -> Outcome {
    let within = |namespaces: &[&str]| json!({"role": "view", "period": "1h", "namespaces": namespaces});
    let mut options = ServerOptions::new("many-bindings");
    options.config = json!({"operator": {"maxBindingsPerDevice": 4}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, within(&["default", "kube-public"]))])?;
    let callers = [site.caller("ALICE")?, site.caller("ALICE")?];
    let answers = all_at_once(&site, &callers, 2)?;
    assert!(answers.contains(&403), "{answers:?}");
    let [alice, _] = &callers;
    alice.post("/logout?all=true")?.expect(200)?;
    site.wait_empty()?;
    for label in ["a", "b", "a"] {
        alice.sign_in_apart(label)?.expect(200)?;
    }
    let refusal = alice.sign_in_apart("c")?.expect(403)?.refusal()?;
    assert!(refusal.message.contains("the limit of 4 role bindings"), "{refusal:?}");
    assert_eq!(site.objects(Kind::Signin)?.len(), 2);
    // By itself it is more than a device may have. Nothing is written for that.
    let all = [
        "default",
        "kube-node-lease",
        "kube-public",
        "kube-system",
        site.server.namespace(),
    ];
    site.grant(&[(ALICE, within(&all))])?;
    site.wait_empty()?;
    alice.sign_in_apart("d")?.expect(403)?.refusal()?;
    site.wait_empty()
}

// cases.md 11.7
fn sign_in_killed_before_counting_is_refused_by_the_loop(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let mut options = ServerOptions::new("uncounted");
    options.config = json!({"operator": {"maxSessionsPerDevice": 1}});
    let site = proxy.site_with(world, options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_apart("first")?.expect(200)?;
    let writes = |request: &Request| request.is("patch", "tkasignins");
    let writing = proxy.arm(Which::first(writes), Fault::Hang(Moment::After));
    thread::scope(|scope| {
        // It is never answered.
        let asking = scope.spawn(|| alice.sign_in_apart("second"));
        writing.wait_hits(1, wait::LIMIT)?;
        assert_eq!(
            site.objects(Kind::Signin)?.len(),
            2,
            "it is written before it is counted"
        );
        site.server.kill()?;
        proxy.let_go();
        drop(asking.join().map_err(|_| "the caller panicked")?);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    drop(writing);
    site.server.start()?;
    wait::until_true("it is gone", || Ok(site.objects(Kind::Signin)?.len() == 1))?;
    assert_eq!(site.objects(Kind::Signin)?[0]["spec"]["label"], "first");
    assert_eq!(site.counts()?, [1, 1, 1]);
    Ok(())
}
