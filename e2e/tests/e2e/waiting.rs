//! `Prefer: wait` (RFC 7240): signing in that answers once, when the session is usable.

use std::thread;
use std::time::{Duration, Instant};

use e2e::faults::Proxy;
use e2e::obstacle::HANG;
use e2e::user::ALICE;
use e2e::{Caller, Kind, Obstacle, Outcome, World, rule, wait};

crate::tests![
    one_request_signs_in_and_brings_a_credential,
    waiting_caller_is_answered_when_the_session_is_usable,
    expired_wait_is_202_and_the_session_is_completed,
];

fn one_request_signs_in_and_brings_a_credential(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "one-request")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let (_obstacle, _listener) = Obstacle::hanging(&site, Kind::Account)?;
    let began = Instant::now();
    let answer = alice.sign_in_waiting()?.expect(200)?;
    assert!(began.elapsed() >= HANG, "{:?}", began.elapsed());
    assert_eq!(answer.header("preference-applied"), Some("wait=5"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(world.cluster.status(&answer.credential()?, "GET", "/api/v1/pods")?, 200);
    let body = answer.json()?;
    let session = &body["session"];
    assert_eq!((&session["provisioned"], &body["role"]), (&true.into(), &"view".into()));
    let kubeconfig = &body["kubeconfig"]["users"]["tka-user-alice"]["token"];
    assert_eq!(kubeconfig.as_str(), Some(answer.credential()?.as_str()));
    // That was all: nothing is asked for twice.
    let made = |verb: &str, resource: &str| {
        proxy
            .seen()
            .iter()
            .filter(|seen| seen.request.is(verb, resource))
            .count()
    };
    assert_eq!(
        [
            made("create", "serviceaccounts"),
            made("create", "serviceaccounts/token")
        ],
        [1, 1]
    );
    Ok(())
}

/// Signs in and waits for so many seconds; says how long the answer took.
fn sign_in(alice: &Caller, seconds: u32) -> Outcome<(e2e::Answer, Duration)> {
    let began = Instant::now();
    let answer = alice.send("POST", "/login", &[("Prefer", &format!("wait={seconds}"))])?;
    if answer.status == 200 {
        alice.remember(&answer.credential()?)?;
    }
    Ok((answer, began.elapsed()))
}

fn waiting_caller_is_answered_when_the_session_is_usable(world: &World) -> Outcome {
    let site = world.site("usable-meanwhile")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let obstacle = Obstacle::failing(&site, Kind::Account)?;
    let (answer, _) = thread::scope(|scope| {
        let waiting = scope.spawn(|| sign_in(&alice, 10));
        wait::until_true("the session is said to be pending", || {
            let signins = site.objects(Kind::Signin)?;
            Ok(signins.iter().any(|signin| signin["status"]["phase"] == "Pending"))
        })?;
        drop(obstacle);
        waiting.join().map_err(|_| "the caller panicked")?
    })?;
    let token = answer.expect(200)?.credential()?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(())
}

fn expired_wait_is_202_and_the_session_is_completed(world: &World) -> Outcome {
    let site = world.site("wait-over")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let obstacle = Obstacle::failing(&site, Kind::Account)?;
    let (answer, took) = sign_in(&alice, 2)?;
    let answer = answer.expect(202)?;
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(!answer.body.contains("credential"), "{}", answer.body);
    assert_eq!(alice.get("/login")?.expect(202)?.body, answer.body);
    drop(obstacle);
    wait::until_true("the session is provisioned", || Ok(alice.get("/login")?.status == 200))?;
    alice.token().map(drop)
}
