//! Signing out of everything.

use e2e::user::{ALICE, BOB};
use e2e::{Caller, Outcome, World, is_refused, rule};
use serde_json::{Value, json};
use testbed::Owner;

crate::tests![all_sessions_of_all_devices_end];

/// Signs in as the body says, and fetches a credential of that session.
fn sign_in(caller: &Caller, body: &Value) -> Outcome<String> {
    let answer = caller.send_json("POST", "/login", &[("Prefer", "wait=5")], body)?;
    let token = answer.expect(200)?.credential()?;
    caller.remember(&token)?;
    Ok(token)
}

fn all_sessions_of_all_devices_end(world: &World) -> Outcome {
    let laptop = world.guest("alice-all", &Owner::user(ALICE))?;
    let site = world.site("sign-out-all")?;
    let edit = json!({"role": "edit", "period": "1h", "priority": -1});
    site.grant(&[(ALICE, rule("view", "1h")), (ALICE, edit), (BOB, rule("view", "1h"))])?;
    let (desktop, laptop, bob) = (site.caller("ALICE")?, site.caller_on(&laptop)?, site.caller("BOB")?);
    let others = sign_in(&bob, &json!({}))?;
    let hers = [
        sign_in(&desktop, &json!({}))?,
        sign_in(&desktop, &json!({"session": "shell"}))?,
        sign_in(&desktop, &json!({"role": "edit"}))?,
        sign_in(&laptop, &json!({}))?,
    ];
    let status = |token: &str| world.cluster.status(token, "GET", "/api/v1/pods");
    for token in hers.iter().chain([&others]) {
        assert_eq!(status(token)?, 200);
    }
    assert_eq!(site.counts()?, [5, 5, 5]);
    // A rule that cannot be read gives nothing any more, and takes its sessions with it only when that has lasted.
    site.grant(&[
        (ALICE, rule("view", "1h")),
        (ALICE, json!({"role": "edit", "periode": "1h"})),
        (BOB, rule("view", "1h")),
    ])?;
    laptop.get("/login")?.expect(400)?;

    laptop.post("/logout?all=true")?.expect(200)?;
    for token in &hers {
        assert!(is_refused(status(token)?));
    }
    assert_eq!((status(&others)?, site.counts()?), (200, [1, 1, 1]));
    desktop.post("/logout?all=true")?.expect(400)?.refusal()?;
    Ok(())
}
