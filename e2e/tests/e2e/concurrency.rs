//! Many requests at once of one caller.

use std::thread;

use e2e::user::ALICE;
use e2e::{Answer, Caller, Kind, Obstacle, Outcome, World, rule, wait};

crate::tests![
    twenty_sign_ins_at_once_are_one_session,
    storm_of_sign_ins_and_sign_outs_ends_with_a_whole_session_or_none,
    sign_in_that_waited_is_decided_by_the_rules_at_its_turn,
];

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
    let site = world.site("waited")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let (_obstacle, _listener) = Obstacle::hanging(&site, Kind::Account)?;
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| alice.post("/login"));
        wait::until_true("the first has its turn", || Ok(!site.objects(Kind::Signin)?.is_empty()))?;
        let second = scope.spawn(|| alice.post("/login"));
        let log = || std::fs::read_to_string(site.server.log());
        // The reconcile loop waits for the same turn.
        wait::until_true("the second waits for its turn", || {
            Ok(log()?.matches("waiting for the turn").count() >= 2)
        })?;
        site.grant(&[])?;
        let joined = |answer: thread::Result<Outcome<Answer>>| answer.map_err(|_| "a caller panicked")?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((joined(first.join())?, joined(second.join())?))
    })?;
    first.expect(202)?;
    second.expect(403)?.refusal()?;
    site.wait_empty()
}
