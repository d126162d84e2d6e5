//! The server is killed, and started again.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use e2e::faults::{Fault, Proxy, Request, Which};
use e2e::user::{ALICE, BOB};
use e2e::{Kind, Obstacle, Outcome, Process, World, brief, is_refused, rule, wait};

use crate::expiry::ends_at;

crate::tests![
    session_over_during_downtime_is_gone_soon_after_start,
    session_outlives_a_killed_server_and_ends_on_time,
    server_that_cannot_listen_ends_sessions_and_waits,
    session_whose_making_was_cut_off_is_completed,
    server_that_is_told_to_end_answers_first_and_ends_with_0,
    no_token_is_logged_at_any_level,
    token_in_an_unreadable_answer_is_not_logged,
];

/// How soon after its start a server has caught up.
const SOON: Duration = Duration::from_secs(3);

fn session_over_during_downtime_is_gone_soon_after_start(world: &World) -> Outcome {
    let site = world.site("killed-before-end")?;
    let alice = site.caller("ALICE")?;
    let grant = |period: &str| site.grant(&[(ALICE, rule("cluster-admin", period))]);
    let (token, until) = brief::in_time(grant, || {
        site.server.start()?;
        let until = alice.sign_in()?.until;
        let token = alice.token()?;
        site.server.kill()?;
        Ok(((token, until), until))
    })?;
    wait::until_time(until + Duration::from_secs(1))?;
    assert_eq!(site.counts()?, [1, 1, 1], "no server is there to end it");
    site.server.start()?;
    let ready = Instant::now();
    site.wait_empty()?;
    wait::within(SOON, "a session that ended meanwhile is gone", ready.elapsed())?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/secrets")?));
    Ok(())
}

fn session_outlives_a_killed_server_and_ends_on_time(world: &World) -> Outcome {
    let site = world.site("killed-between")?;
    let alice = site.caller("ALICE")?;
    let status = |token: &str| world.cluster.status(token, "GET", "/api/v1/pods");
    let grant = |period: &str| site.grant(&[(ALICE, rule("view", period))]);
    let (signed_in, found, statuses, until) = brief::in_time(grant, || {
        site.server.start()?;
        let signed_in = alice.post("/login")?.expect(202)?;
        let until = signed_in.decode::<e2e::wire::Login>()?.until;
        let token = alice.token()?;
        site.server.kill()?;
        let dead = status(&token)?;
        site.server.start()?;
        let found = alice.get("/login")?.expect(200)?;
        let again = status(&alice.token()?)?;
        Ok(((signed_in, found, [dead, again], until), until))
    })?;
    assert_eq!((found.body, statuses), (signed_in.body, [200, 200]));
    ends_at(&site, until)
}

fn server_that_cannot_listen_ends_sessions_and_waits(world: &World) -> Outcome {
    let site = world.site("cannot-listen")?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let grant = |period: &str| site.grant(&[(ALICE, rule("view", period)), (BOB, rule("view", "1h"))]);
    let (token, until) = brief::in_time(grant, || {
        site.server.start()?;
        bob.sign_in()?;
        let until = alice.sign_in()?.until;
        let token = alice.token()?;
        site.server.kill()?;
        Ok(((token, until), until))
    })?;
    let in_the_way = wait::until("the port is free", || {
        Ok(TcpListener::bind(site.server.loopback_address()).ok())
    })?;
    let _process = Process::not_ready(&site)?;
    wait::until_time(until)?;
    wait::until_true("her session is gone", || Ok(site.counts()? == [1, 1, 1]))?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    let ready = site.health()?.send_body("GET", "/readyz", &[], &[])?.expect(503)?;
    assert!(
        ready.body.contains("[-]serving failed: cannot listen on "),
        "{}",
        ready.body
    );

    drop(in_the_way);
    wait::until_true("he is served", || {
        Ok(bob.get("/login").is_ok_and(|answer| answer.status == 200))
    })?;
    bob.token().map(drop)
}

fn session_whose_making_was_cut_off_is_completed(world: &World) -> Outcome {
    let site = world.site("cut-off")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let (obstacle, _listener) = Obstacle::hanging(&site, Kind::Account)?;
    thread::scope(|scope| {
        let cut_off = scope.spawn(|| alice.post("/login"));
        wait::until_true("the session is begun", || Ok(!site.objects(Kind::Signin)?.is_empty()))?;
        site.server.kill()?;
        assert_eq!(site.objects(Kind::Account)?.len(), 0, "killed before it was made");
        let answer = cut_off.join().map_err(|_| "the caller panicked")?;
        assert!(answer.is_err(), "{answer:?}");
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    drop(obstacle);
    site.server.start()?;
    wait::until_true("the session is provisioned", || Ok(alice.get("/login")?.status == 200))?;
    assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200);
    assert_eq!(site.counts()?, [1, 1, 1]);
    Ok(())
}

fn server_that_is_told_to_end_answers_first_and_ends_with_0(world: &World) -> Outcome {
    let site = world.site("told-to-end")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let mut process = Process::instead(&site, "info")?;
    let (_obstacle, _listener) = Obstacle::hanging(&site, Kind::Account)?;
    let answer = thread::scope(|scope| {
        let slow = scope.spawn(|| alice.post("/login"));
        wait::until_true("the session is begun", || Ok(!site.objects(Kind::Signin)?.is_empty()))?;
        process.terminate()?;
        slow.join().map_err(|_| "the caller panicked")?
    })?;
    answer.expect(202)?;
    assert_eq!(process.wait()?.code(), Some(0));
    assert_eq!(site.counts()?, [1, 1, 1], "the session is in the cluster, and whole");
    Ok(())
}

fn no_token_is_logged_at_any_level(world: &World) -> Outcome {
    let site = world.site("all-levels")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let _process = Process::instead(&site, "trace")?;
    alice.sign_in()?;
    let token = alice.token()?;
    alice.kubeconfig_file("application/yaml")?;
    alice.sign_out()?;
    let log = std::fs::read_to_string(site.server.log())?;
    assert!(log.contains(r#""level":"TRACE""#));
    assert!(!log.contains(&token));
    Ok(())
}

fn token_in_an_unreadable_answer_is_not_logged(world: &World) -> Outcome {
    const TOKEN: &str = "head.claims.of-an-answer-that-cannot-be-read";
    world.tokens.add(TOKEN)?;
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "garbled")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let _process = Process::instead(&site, "trace,kube_client=trace,[request]=trace")?;
    alice.sign_in()?;
    for garbled in [
        // It ends too soon; and what should be an object is the token.
        r#"{"kind":"TokenRequest","status":{"token":"head.claims.of-an-answer-that-cannot-be-read""#,
        r#"{"kind":"TokenRequest","spec":{"audiences":[]},"status":"head.claims.of-an-answer-that-cannot-be-read"}"#,
    ] {
        let asks = |request: &Request| request.is("create", "serviceaccounts/token");
        let armed = proxy.arm(Which::first(asks), Fault::Say(201, garbled));
        let answer = alice.get("/kubeconfig")?;
        assert!(answer.status >= 500 && !answer.body.contains(TOKEN), "{answer:?}");
        assert_eq!(armed.hits(), 1);
    }
    alice.token()?;
    let log = std::fs::read_to_string(site.server.log())?;
    assert!(
        log.contains(r#""level":"TRACE""#) && log.contains("TokenRequest"),
        "{log}"
    );
    assert!(!log.contains(TOKEN));
    Ok(())
}
