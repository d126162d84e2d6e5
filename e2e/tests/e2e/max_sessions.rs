//! Rules that allow a user only so many sessions at a time, on all devices and at all replicas together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::pair::caller;
use e2e::user::ALICE;
use e2e::{Caller, Kind, Outcome, Pair, Site, World, wait};
use jiff::Timestamp;
use serde_json::{Value, json};

crate::tests![
    concurrent_sign_ins_never_exceed_a_rules_quota,
    session_beyond_its_rules_quota_is_not_extended,
];

const VALID_UNTIL: &str = "tka.specht-labs.de/sign-in-valid-until";
/// How many sessions begin at once.
const AT_ONCE: usize = 12;

fn limited(max_sessions: usize) -> Value {
    json!({"role": "view", "period": "1h", "max_sessions": max_sessions})
}

fn is_in(signin: &Value) -> bool {
    signin["metadata"]["deletionTimestamp"].is_null() && signin["status"]["provisioned"] == true
}

fn concurrent_sign_ins_never_exceed_a_rules_quota(world: &World) -> Outcome {
    let many = json!({"server": {"rateLimit": {"requestsPerSecond": 1000, "burst": 1000}}});
    let pair = Pair::new(world, "only-so-many", &many)?;
    let (a, b) = pair.by_part()?;
    for max in [1, 2] {
        pair.grant(&[(ALICE, limited(max))])?;
        let callers = [caller(a, "ALICE")?, caller(b, "ALICE")?];
        for _ in 0..4 {
            let (answers, count) = sign_in_at_once(a, &callers, max)?;
            assert!(
                answers.iter().filter(|status| **status == 200).count() <= count,
                "{answers:?}"
            );
            callers[0].post("/logout?all=true")?.expect(200)?;
            a.wait_empty()?;
        }
    }
    Ok(())
}

/// [`all_at_once`], and then at least one session and at most `max`. Returns the answers, and how many sessions there are.
pub(crate) fn sign_in_at_once(site: &Site<'_>, callers: &[Caller; 2], max: usize) -> Outcome<(Vec<u16>, usize)> {
    let (answers, count) = wait::until("callers who are told to try again are in", || {
        let answers = all_at_once(site, callers, max)?;
        wait::until_true("of each it is known whether it is in", || {
            Ok(site.objects(Kind::Signin)?.iter().all(is_in))
        })?;
        let count = site.objects(Kind::Signin)?.len();
        // On a busy machine that can be all that were not refused, and so they do.
        let is_again = count == 0 && answers.contains(&503);
        Ok((!is_again).then_some((answers, count)))
    })?;
    assert!(
        (1..=max).contains(&count),
        "{count} are in where {max} may: {answers:?}"
    );
    Ok((answers, count))
}

/// Signs in often at once, at both replicas, and sees that never more than `max` are in meanwhile. One of the sessions has no label.
pub(crate) fn all_at_once(site: &Site<'_>, callers: &[Caller; 2], max: usize) -> Outcome<Vec<u16>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let signins = site.objects(Kind::Signin)?;
                let count = signins.iter().filter(|signin| is_in(signin)).count();
                assert!(count <= max, "{count} are in where {max} may");
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        let asking: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                scope.spawn(move || match n {
                    0 => callers[0].sign_in_waiting(),
                    n => callers[n % 2].sign_in_apart(&format!("shell-{n}")),
                })
            })
            .collect();
        let answers: Outcome<Vec<_>> = asking
            .into_iter()
            .map(|answer| answer.join().map_err(|_| "a caller panicked")?)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        watching.join().map_err(|_| "who watches panicked")??;
        let statuses: Vec<_> = answers?.iter().map(|answer| answer.status).collect();
        assert!(
            statuses.iter().all(|status| [200, 202, 403, 503].contains(status)),
            "{statuses:?}"
        );
        Ok(statuses)
    })
}

fn session_beyond_its_rules_quota_is_not_extended(world: &World) -> Outcome {
    let site = world.site("fewer-than-before")?;
    site.grant(&[(ALICE, limited(2))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_apart("first")?.expect(200)?;
    // Which of them began first is told in whole seconds.
    wait::until_time(Timestamp::now() + Duration::from_secs(1))?;
    let token = alice.sign_in_apart("second")?.expect(200)?.credential()?;
    alice.sign_in_apart("third")?.expect(403)?.refusal()?;
    let until = |label: &str| -> Outcome<String> {
        let signins = site.objects(Kind::Signin)?;
        let signin = signins.iter().find(|signin| signin["spec"]["label"] == label);
        let until = &signin.ok_or("the session is gone")?["metadata"]["annotations"][VALID_UNTIL];
        Ok(until.as_str().unwrap_or_default().to_owned())
    };
    let before = [until("first")?, until("second")?];
    site.grant(&[(ALICE, limited(1))])?;
    wait::until_time(Timestamp::now() + Duration::from_secs(1))?;
    alice.sign_in_apart("second")?.expect(403)?.refusal()?;
    alice.sign_in_apart("first")?.expect(200)?;
    assert!(until("first")? > before[0]);
    assert_eq!(until("second")?, before[1], "it was refused, and goes on for longer");
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(())
}
