//! What lasts longer than a request: an API server that is away, or says no.

use std::time::Duration;

use e2e::faults::trouble::{self, Away};
use e2e::faults::{Armed, Fault, Found, Proxy, Request, State, Trouble, Which};
use e2e::user::ALICE;
use e2e::wire::Login;
use e2e::{Kind, Outcome, Site, World, brief, is_refused, rule, wait};

crate::tests![
    minute_of_refused_connections_loses_and_keeps_no_session,
    minute_of_a_stalled_network_loses_and_keeps_no_session,
    silently_dead_connections_lose_and_keep_no_session,
    watch_that_is_too_old_is_begun_anew,
    sign_in_that_is_throttled_waits_as_long_as_it_is_told,
    sign_in_survives_a_moment_without_any_one_request,
    sign_in_of_which_a_request_fails_is_refused_or_completed,
    expiry_that_is_throttled_waits_as_long_as_it_is_told,
    retry_after_in_a_header_alone_is_obeyed_and_passed_on,
];

/// Longer than it takes to renew a Lease, for a session to end, and for a client to give a connection up.
const AWHILE: Duration = Duration::from_mins(1);
/// How long a request may take to be made that is made in the end.
const SOON: Duration = wait::LIMIT;

pub(crate) fn is_good(trouble: &Trouble) {
    assert!(trouble.leaked.is_empty() && trouble.lost.is_empty(), "{trouble:#?}");
}

fn minute_of_refused_connections_loses_and_keeps_no_session(world: &World) -> Outcome {
    is_good(&trouble::api_server_away(world, "away", Away::Refused, AWHILE)?);
    Ok(())
}

fn minute_of_a_stalled_network_loses_and_keeps_no_session(world: &World) -> Outcome {
    is_good(&trouble::api_server_away(world, "still", Away::Still, AWHILE)?);
    Ok(())
}

fn silently_dead_connections_lose_and_keep_no_session(world: &World) -> Outcome {
    is_good(&trouble::connections_stranded(world, "stranded")?);
    Ok(())
}

/// A watch that asks for what the API server has forgotten is told so in its stream, or before it begins.
fn watch_that_is_too_old_is_begun_anew(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "too-old")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for fault in [Fault::Expired, Fault::Answer(410, None)] {
        alice.sign_in()?;
        let watches = |request: &Request| request.is("watch", "tkasignins");
        let expired = proxy.arm(Which::first(watches), fault);
        proxy.cut_all();
        expired.wait_hits(1, SOON)?;
        // Only a watch tells the server of this.
        world.cluster.delete(&site.path_of_only(Kind::Signin)?)?;
        site.wait_empty()?;
    }
    Ok(())
}

/// Everything that a sign-in asks the API server for.
fn requests_of_sign_in(proxy: &Proxy, site: &Site<'_>) -> Outcome<Vec<Request>> {
    let alice = site.caller("ALICE")?;
    proxy.forget();
    alice.sign_in_waiting()?.expect(200)?;
    let mut requests = Vec::new();
    for seen in proxy.seen() {
        let request = seen.request;
        if !request.is_background() && request.resource != "events" && !requests.contains(&request) {
            requests.push(request);
        }
    }
    alice.sign_out()?;
    assert!(requests.len() >= 5, "{requests:?}");
    Ok(requests)
}

fn sign_in_that_is_throttled_waits_as_long_as_it_is_told(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "throttled")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    proxy.forget();
    let signins = |request: &Request| request.is("patch", "tkasignins");
    let throttled = proxy.arm(Which::first(signins), Fault::Answer(429, Some(2)));
    let token = alice.sign_in_waiting()?.expect(200)?.credential()?;
    assert_eq!(throttled.hits(), 1);
    waited(&proxy, signins, Duration::from_secs(2))?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(())
}

/// Sees that a request was made again, and how long after the first at the least.
fn waited(proxy: &Proxy, which: impl Fn(&Request) -> bool, at_least: Duration) -> Outcome {
    let seen = proxy.seen();
    let times: Vec<_> = seen.iter().filter(|seen| which(&seen.request)).collect();
    let [first, second, ..] = times.as_slice() else {
        return Err(format!("it was not tried again: {seen:?}").into());
    };
    let waited = second.at - first.at;
    assert!(waited >= at_least, "it was tried again after {waited:?}");
    Ok(())
}

fn sign_in_survives_a_moment_without_any_one_request(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "for-a-moment")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for request in requests_of_sign_in(&proxy, &site)? {
        let faults = [(503, None), (500, None), (500, Some(1)), (429, Some(1)), (409, None)];
        // A write delays no read.
        let is_told = |fault: &&(u16, Option<u32>)| fault.0 != 409 || request.verb != "get";
        for (status, retry_after) in faults.iter().filter(is_told) {
            let fault = Fault::Answer(*status, *retry_after);
            let armed = proxy.arm(Which::nth(&request, 1), fault);
            let answer = alice.sign_in_waiting()?;
            assert_eq!(answer.status, 200, "{request}, {fault:?}: {}", answer.body);
            struck(&armed, &request)?;
            assert!(State::of(&site)?.of_user(ALICE).is_whole(), "{request}, {fault:?}");
            alice.sign_out()?;
            site.wait_empty()?;
        }
    }
    Ok(())
}

/// Whether it is asked for may depend on what the reconcile loop has done by then: then it is asked for by that.
fn struck(armed: &Armed<'_>, request: &Request) -> Outcome {
    if request.verb == "get" && request.resource == "tkasignins" {
        return Ok(());
    }
    armed.wait_hits(1, SOON)
}

fn sign_in_of_which_a_request_fails_is_refused_or_completed(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "fails-once")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for request in requests_of_sign_in(&proxy, &site)? {
        for status in [409, 500] {
            let what = format!("{request}, {status}");
            // As often as it is tried.
            let armed = proxy.arm(Which::nth(&request, 1).times(4), Fault::Answer(status, None));
            let answer = alice.sign_in_waiting()?;
            struck(&armed, &request)?;
            drop(armed);
            match answer.status {
                200 => assert!(State::of(&site)?.of_user(ALICE).is_whole(), "{what}"),
                // The reconcile loop completes it.
                202 => wait::until_true("the session is whole", || {
                    Ok(State::of(&site)?.of_user(ALICE).is_whole())
                })?,
                503 => drop(answer.refusal()?),
                other => return Err(format!("{what}: answered {other}: {}", answer.body).into()),
            }
            wait::until_true("there is nothing half", || {
                Ok(State::of(&site)?.of_user(ALICE).is_settled())
            })?;
            assert_eq!(alice.sign_in_waiting()?.status, 200, "{what}: signing in again");
            alice.sign_out()?;
            site.wait_empty()?;
        }
    }
    Ok(())
}

/// Alice has a short session, and its end meets `fault`. Returns her credential and what the proxy is armed with.
fn ends_with<'p>(proxy: &'p Proxy, site: &Site<'_>, which: &Which, fault: Fault) -> Outcome<(String, Armed<'p>)> {
    let alice = site.caller("ALICE")?;
    let grant = |period: &str| site.grant(&[(ALICE, rule("view", period))]);
    brief::in_time(grant, || {
        let answer = alice.sign_in_waiting()?.expect(200)?;
        proxy.forget();
        let armed = proxy.arm(which.clone(), fault);
        let until = answer.decode::<Login>()?.until;
        Ok(((answer.credential()?, armed), until))
    })
}

fn expiry_that_is_throttled_waits_as_long_as_it_is_told(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "throttled-end")?;
    let deletes = |request: &Request| request.is("delete", "tkasignins");
    let (token, throttled) = ends_with(&proxy, &site, &Which::first(deletes), Fault::Answer(429, Some(2)))?;
    wait::until_true("the session is gone", || {
        Ok(State::of(&site)?.of_user(ALICE) == Found::Absent)
    })?;
    assert_eq!(throttled.hits(), 1);
    waited(&proxy, deletes, Duration::from_secs(2))?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    Ok(())
}

/// Not all that says no is an API server: what is before it says so in words.
fn retry_after_in_a_header_alone_is_obeyed_and_passed_on(world: &World) -> Outcome {
    const ASKED: u32 = 6;
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "asked-in-words")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let signs_in = |request: &Request| request.is("patch", "tkasignins");
    let busy = proxy.arm(Which::first(signs_in), Fault::Busy(ASKED));
    let refused = alice.post("/login")?.expect(503)?;
    assert_eq!((refused.header("retry-after"), busy.hits()), (Some("6"), 1));
    drop(busy);

    let deletes = |request: &Request| request.is("delete", "tkasignins");
    let (_, busy) = ends_with(&proxy, &site, &Which::first(deletes), Fault::Busy(ASKED))?;
    site.wait_empty()?;
    assert_eq!(busy.hits(), 1);
    waited(&proxy, deletes, Duration::from_secs(ASKED.into()))
}
