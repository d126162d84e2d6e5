//! The server of an older version and that of this one in the same namespace, as while replicas are upgraded.
//!
//! `cargo xtask test` builds the older server from its commit, and `cargo xtask test --older` runs these alone.

use std::env;
use std::path::PathBuf;

use e2e::pair::caller;
use e2e::user::{ALICE, BOB, CAROL};
use e2e::{Caller, Kind, Outcome, Pair, Site, World, rule, wait};
use serde_json::json;

use crate::approval;
use crate::replicas::lease;

crate::tests![
    what_waits_is_no_session_to_the_older,
    rule_with_approval_gives_nothing_at_the_older,
    older_ends_no_session_whose_extension_waits,
    sessions_of_either_are_known_to_both,
];

/// The variable with the path of the older server.
const PROGRAM: &str = "TKA_E2E_OLDER_SERVER";

/// Whether there is an older server.
pub(crate) fn is_given() -> bool {
    env::var_os(PROGRAM).is_some()
}

/// A replica of the older version, and one of this.
fn mixed<'w>(world: &'w World, name: &str) -> Outcome<Pair<'w>> {
    let program = PathBuf::from(env::var_os(PROGRAM).ok_or("no older server is given")?);
    Pair::with(name, world, &json!({}), |number, mut options| {
        options.program = (number == 0).then(|| program.clone());
        world.site_with(options)
    })
}

/// Alice may decide about Bob. Carol's sessions are short.
fn grant(pair: &Pair<'_>) -> Outcome {
    pair.sites()[1].grant_oversight(&[(ALICE, approval::approves())])?;
    let oncall = approval::oncall(&json!({"count": 1}));
    pair.grant(&[(ALICE, rule("view", "1h")), (BOB, oncall), (CAROL, rule("view", "2s"))])
}

/// Bob asks for approval, and the name of what waits.
fn ask(bob: &Caller, reason: &str) -> Outcome<String> {
    approval::name(&approval::asks(bob, reason)?)
}

fn approve(alice: &Caller, session: &str) -> Outcome {
    approval::decides(alice, "approve", session)?.expect(200).map(drop)
}

/// Leaves the older server alone, and returns when its loop has ended a session: it has seen all others by then.
fn reconcile_by_older(older: &Site<'_>, newer: &Site<'_>) -> Outcome {
    let before = lease(newer)?["spec"]["holderIdentity"].clone();
    newer.server.stop()?;
    let carol = caller(older, "CAROL")?;
    carol.sign_in()?;
    // Its TkaSignin goes last.
    wait::until_true("the older server ends a session", || {
        let signins = older.objects(Kind::Signin)?;
        Ok(signins.iter().all(|signin| signin["spec"]["username"] != CAROL))
    })?;
    let after = &lease(older)?["spec"]["holderIdentity"];
    assert!(after.is_string(), "{before} and then {after}");
    Ok(())
}

fn what_waits_is_no_session_to_the_older(world: &World) -> Outcome {
    let pair = mixed(world, "older-waits")?;
    let [older, newer] = pair.sites();
    grant(&pair)?;
    let bob = caller(newer, "BOB")?;
    let session = ask(&bob, "pager 4711")?;
    for _ in 0..2 {
        reconcile_by_older(older, newer)?;
        assert_eq!(
            older.counts()?,
            [0, 0, 0],
            "what waits is no session, and has nothing of one"
        );
        assert_eq!(approval::phase(older)?, "AwaitingApproval");
        assert_ne!(older.caller("BOB")?.get("/login")?.status, 200);
        // It sees all of them anew.
        older.server.kill()?;
        older.server.start()?;
    }
    newer.server.start()?;
    let alice = caller(newer, "ALICE")?;
    approve(&alice, &session)?;
    wait::until_true("Bob is let in", || Ok(bob.get("/login")?.status == 200))?;
    assert_eq!(world.cluster.status(&bob.token()?, "GET", "/api/v1/pods")?, 200);
    reconcile_by_older(older, newer)?;
    assert_eq!(older.counts()?, [1, 1, 1], "the older server leaves it as it is");
    newer.server.start()?;
    bob.sign_out()?;
    newer.wait_empty()
}

fn rule_with_approval_gives_nothing_at_the_older(world: &World) -> Outcome {
    let pair = mixed(world, "older-rule")?;
    let [older, newer] = pair.sites();
    grant(&pair)?;
    let bob = older.caller("BOB")?;
    wait::until_true("the older server can be reached", || Ok(bob.get("/login").is_ok()))?;
    for body in [json!({}), json!({"role": "view"})] {
        let refused = bob.send_json("POST", "/login", &[], &body)?;
        assert!([400, 403].contains(&refused.status), "{refused:?}");
    }
    assert_eq!(newer.counts()?, [0, 0, 0]);
    Ok(())
}

fn older_ends_no_session_whose_extension_waits(world: &World) -> Outcome {
    let pair = mixed(world, "older-extends")?;
    let [older, newer] = pair.sites();
    grant(&pair)?;
    let (alice, bob) = (caller(newer, "ALICE")?, caller(newer, "BOB")?);
    approve(&alice, &ask(&bob, "first")?)?;
    wait::until_true("Bob is let in", || Ok(bob.get("/login")?.status == 200))?;
    let until = bob.get("/login")?.json()?["until"].clone();
    let extension = ask(&bob, "second")?;
    reconcile_by_older(older, newer)?;
    newer.server.start()?;
    let bob = caller(newer, "BOB")?;
    assert_eq!(bob.get("/login")?.expect(200)?.json()?["until"], until);
    approve(&caller(newer, "ALICE")?, &extension)?;
    wait::until_true("the session is extended", || {
        Ok(bob.get("/login")?.expect(200)?.json()?["until"] != until)
    })?;
    bob.sign_out()?;
    newer.wait_empty()
}

fn sessions_of_either_are_known_to_both(world: &World) -> Outcome {
    let pair = mixed(world, "older-both")?;
    let [older, newer] = pair.sites();
    grant(&pair)?;
    let (at_older, at_newer) = (caller(older, "ALICE")?, caller(newer, "ALICE")?);
    for (here, there) in [(&at_older, &at_newer), (&at_newer, &at_older)] {
        let until = here.sign_in()?.until;
        let known = there.get("/login")?.expect(200)?.decode::<e2e::wire::Login>()?;
        assert_eq!(known.until, until);
        assert_eq!(world.cluster.status(&there.token()?, "GET", "/api/v1/pods")?, 200);
        there.sign_out()?;
        here.get("/login")?.expect(401)?;
        newer.wait_empty()?;
    }
    Ok(())
}
