//! Many requests at once of one caller.

use std::time::Duration;
use std::{fs, thread};

use e2e::faults::Proxy;
use e2e::user::ALICE;
use e2e::{Answer, Caller, Outcome, World, rule, wait};
use jiff::Timestamp;

crate::tests![
    twenty_sign_ins_at_once_are_one_session,
    storm_of_sign_ins_and_sign_outs_ends_with_a_whole_session_or_none,
    sign_in_that_waited_is_decided_by_the_rules_at_its_turn,
];

/// How old the tailnet's word may be by which a session is given.
const FRESH: Duration = Duration::from_secs(1);

/// Sends requests at the same time, each in a thread of its own.
fn at_once(caller: &Caller, paths: &[&str]) -> Outcome<Vec<Answer>> {
    thread::scope(|scope| {
        let threads: Vec<_> = paths.iter().map(|path| scope.spawn(|| caller.post(path))).collect();
        let answers = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a caller panicked")?);
        answers.collect()
    })
}

fn twenty_sign_ins_at_once_are_one_session(world: &World) -> Outcome {
    let site = world.site("twenty")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for answer in at_once(&alice, &["/login"; 20])? {
        answer.expect(202)?;
    }
    assert_eq!(site.counts()?, [1, 1, 1]);
    alice.get("/login")?.expect(200)?;
    assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200);
    Ok(())
}

fn storm_of_sign_ins_and_sign_outs_ends_with_a_whole_session_or_none(world: &World) -> Outcome {
    let site = world.site("storm")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for _ in 0..3 {
        for answer in at_once(&alice, &["/login", "/logout"].repeat(10))? {
            let right = match &*answer.asked {
                "POST /api/v1alpha1/login" => answer.status == 202,
                _ => [200, 404].contains(&answer.status),
            };
            assert!(right, "{answer:?}");
        }
        let status = wait::until("there is a session or none", || {
            let status = alice.get("/login")?.status;
            Ok((status != 202).then_some(status))
        })?;
        match (status, site.counts()?) {
            (200, [1, 1, 1]) => assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200),
            (401, [0, 0, 0]) => {}
            other => return Err(format!("neither a session nor none: {other:?}").into()),
        }
    }
    alice.post("/logout")?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn sign_in_that_waited_is_decided_by_the_rules_at_its_turn(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "waited")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    // Until the policy is in force: that takes as long as it takes.
    proxy.stand_still();
    let mut answers = thread::scope(|scope| {
        let both = scope.spawn(|| at_once(&alice, &["/login"; 2]));
        wait::until_true("one waits for the other", || {
            Ok(fs::read_to_string(site.server.log())?.contains("waiting for the turn"))
        })?;
        let old = Timestamp::now() + FRESH;
        site.grant(&[])?;
        wait::until_time(old)?;
        proxy.let_go();
        both.join().map_err(|_| "a caller panicked")?
    })?;
    answers.sort_by_key(|answer| answer.status);
    for (answer, status) in answers.into_iter().zip([202, 403]) {
        answer.expect(status)?;
    }
    site.wait_empty()
}
