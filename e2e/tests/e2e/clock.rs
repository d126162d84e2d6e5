//! The time of day is set while sessions go on.

use std::time::Duration;

use e2e::faults::{Found, State};
use e2e::user::{ALICE, BOB};
use e2e::wire::Login;
use e2e::{Clock, Outcome, Process, Site, World, brief, is_refused, rule, wait};
use jiff::SignedDuration;

crate::tests![
    clock_that_is_set_back_makes_no_session_longer,
    session_begun_by_a_fast_clock_is_not_longer_afterwards,
    clock_set_ahead_ends_only_what_is_over_by_it,
];

/// How late a session may end, by what is promised. An end by the clock that was set would be an hour later.
const PROMPT: Duration = Duration::from_secs(2);
const HOUR: i64 = 60 * 60;

/// A session of a few seconds, begun by a clock that is `before` seconds ahead and `after` from then on, ends in time.
fn ends_though_the_clock_is_set(world: &World, name: &str, before: i64, after: i64) -> Outcome {
    let site = world.site(name)?;
    let clock = Clock::new(world)?;
    let _server = Process::with_clock(&site, &clock)?;
    let alice = site.caller("ALICE")?;
    let grant = |period: &str| site.grant(&[(ALICE, rule("view", period))]);
    let (token, end) = brief::in_time(grant, || {
        clock.set(before)?;
        let answer = alice.sign_in_waiting()?.expect(200)?;
        let token = answer.credential()?;
        let end = answer.decode::<Login>()?.until - SignedDuration::from_secs(before);
        clock.set(after)?;
        assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
        Ok(((token, end), end))
    })?;
    site.wait_empty()?;
    wait::within(PROMPT, "a session is gone after its end", wait::since(end))?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    Ok(())
}

fn clock_that_is_set_back_makes_no_session_longer(world: &World) -> Outcome {
    ends_though_the_clock_is_set(world, "clock-back", 0, -HOUR)
}

fn session_begun_by_a_fast_clock_is_not_longer_afterwards(world: &World) -> Outcome {
    ends_though_the_clock_is_set(world, "clock-right", HOUR, 0)
}

fn clock_set_ahead_ends_only_what_is_over_by_it(world: &World) -> Outcome {
    let site = world.site("clock-ahead")?;
    site.grant(&[(ALICE, rule("view", "1h")), (BOB, rule("view", "4h"))])?;
    let clock = Clock::new(world)?;
    let _server = Process::with_clock(&site, &clock)?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    alice.sign_in_waiting()?.expect(200)?;
    let token = bob.sign_in_waiting()?.expect(200)?.credential()?;
    let before = of_bob(&site)?;
    clock.set(2 * HOUR)?;
    wait::until_true("the shorter session is over", || {
        Ok(State::of(&site)?.of_user(ALICE) == Found::Absent)
    })?;
    assert_eq!(of_bob(&site)?, before);
    clock.set(0)?;
    bob.get("/login")?.expect(200)?;
    assert_eq!(of_bob(&site)?, before);
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(())
}

fn of_bob(site: &Site<'_>) -> Outcome<Found> {
    let found = State::of(site)?.of_user(BOB);
    assert!(found.is_whole(), "{found:?}");
    Ok(found)
}
