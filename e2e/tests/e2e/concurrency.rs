//! Many requests at once of one caller.

use std::collections::BTreeSet;
use std::time::Duration;
use std::{fs, thread};

use e2e::faults::{Fault, Proxy, Request, Which};
use e2e::user::ALICE;
use e2e::{Answer, Caller, Outcome, Records, Site, World, rule, wait};
use jiff::Timestamp;

crate::tests![
    twenty_sign_ins_at_once_are_one_session,
    sign_ins_that_share_one_that_fails_try_again_as_one,
    storm_of_sign_ins_and_outs_ends_whole_or_empty,
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

/// How many sign-ins come at once.
const TWENTY: usize = 20;

/// Sends sign-ins at the same moment: all but one wait for that one before the API server hears of any.
fn twenty_that_wait(site: &Site<'_>, proxy: &Proxy, alice: &Caller) -> Outcome<Vec<Answer>> {
    proxy.stand_still();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..TWENTY).map(|_| scope.spawn(|| alice.sign_in_waiting())).collect();
        wait::until_true("all wait for one", || {
            let log = fs::read_to_string(site.server.log())?;
            Ok(log.matches("joined an identical sign-in").count() >= TWENTY - 1)
        })?;
        proxy.let_go();
        let answers = asking
            .into_iter()
            .map(|request| request.join().map_err(|_| "a caller panicked")?);
        answers.collect()
    })
}

/// How many requests the API server was sent because of a sign-in, and how many of these are lists. A list replaces a watch that is slow to
/// show the sign-in's own write, which depends on the machine.
fn cost(proxy: &Proxy) -> (usize, usize) {
    let seen = proxy.seen();
    let is_counted = |request: &&Request| !request.is_background() && request.resource != "events";
    let (lists, others): (Vec<_>, Vec<_>) = seen
        .iter()
        .map(|seen| &seen.request)
        .filter(is_counted)
        .partition(|request| request.verb == "list");
    (others.len(), lists.len())
}

// cases.md 12
fn twenty_sign_ins_at_once_are_one_session(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let (records, options) = Records::new(world, "twenty")?;
    let site = proxy.site_with(world, options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    proxy.forget();
    alice.sign_in_waiting()?.expect(200)?;
    proxy.wait_idle()?;
    let (of_one, _) = cost(&proxy);
    alice.sign_out()?;
    site.wait_empty()?;
    proxy.wait_idle()?;

    proxy.forget();
    let before = records.all()?.len();
    let mut tokens = BTreeSet::new();
    for answer in twenty_that_wait(&site, &proxy, &alice)? {
        tokens.insert(answer.expect(200)?.credential()?);
    }
    proxy.wait_idle()?;
    let (of_twenty, lists) = cost(&proxy);
    assert!(
        of_twenty <= of_one && lists <= 1,
        "{of_twenty} requests and {lists} lists where one sign-in takes {of_one}"
    );
    assert_eq!(site.counts()?, [1, 1, 1]);
    let tokens = Vec::from_iter(tokens);
    let [token] = tokens.as_slice() else {
        return Err("they got several credentials of one session".into());
    };
    assert_eq!(world.cluster.status(token, "GET", "/api/v1/pods")?, 200);
    // Each has records of its own.
    let records = records.all()?;
    let count = |decision: &str| {
        let new = records.iter().skip(before);
        new.filter(|record| record["decision"] == decision && record["request"]["peer"].is_string())
            .map(|record| record["request"]["peer"].as_str().unwrap_or_default().to_owned())
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert_eq!(
        [count("signed_in"), count("extended"), count("credential_issued")],
        [1, TWENTY - 1, TWENTY]
    );
    let issued = records
        .iter()
        .skip(before)
        .filter_map(|record| record["credential"]["id"].as_str());
    assert_eq!(issued.collect::<BTreeSet<_>>().len(), 1);
    Ok(())
}

// cases.md 12
fn sign_ins_that_share_one_that_fails_try_again_as_one(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "one-fails")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.get("/login")?.expect(401)?;
    let writes = |request: &Request| request.is("patch", "tkasignins");
    let _once = proxy.arm(Which::first(writes), Fault::Answer(403, None));
    proxy.forget();
    let mut statuses: Vec<_> = twenty_that_wait(&site, &proxy, &alice)?
        .iter()
        .map(|answer| answer.status)
        .collect();
    statuses.sort_unstable();
    // The one that failed is the only one that is told so.
    assert_eq!(statuses[..TWENTY - 1], [200; TWENTY - 1]);
    assert!(statuses[TWENTY - 1] >= 500, "{statuses:?}");
    let seen = proxy.seen();
    let written = seen.iter().filter(|seen| writes(&seen.request)).count();
    assert!(written <= 3, "{written} writes for two attempts");
    assert_eq!(site.counts()?, [1, 1, 1]);
    Ok(())
}

fn storm_of_sign_ins_and_outs_ends_whole_or_empty(world: &World) -> Outcome {
    let site = world.site("storm")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for _ in 0..3 {
        for answer in at_once(&alice, &["/login", "/logout"].repeat(10))? {
            let right = match &*answer.request {
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
            Ok(fs::read_to_string(site.server.log())?.contains("joined an identical sign-in"))
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
