//! Sessions that use begins, and that end when they are not used.

use std::thread;
use std::time::{Duration, Instant};

use e2e::user::{ALICE, BOB};
use e2e::{Answer, Caller, Kind, Outcome, Process, Records, Site, World, rule, wait};
use serde_json::{Value, json};

use crate::gateway::{Watch, ask, options, session_name};

crate::tests![
    first_request_begins_the_session,
    use_begins_no_session_that_was_ended,
    session_that_is_not_used_ends,
    use_begins_what_needs_no_approval,
];

fn on_use(period: &str) -> Value {
    json!({"role": "view", "period": period, "sign_in": "on_use"})
}

fn list(caller: &Caller) -> Outcome<Answer> {
    ask(caller, "GET", "/api/v1/namespaces", &[], "")
}

fn first_request_begins_the_session(world: &World) -> Outcome {
    let (log, options) = Records::of(world, options("on-use"))?;
    let site = world.site_with(options)?;
    let mut high = on_use("10m");
    high["priority"] = 5.into();
    site.grant(&[(ALICE, high), (ALICE, rule("edit", "10m")), (BOB, on_use("4s"))])?;
    let alice = site.caller("ALICE")?;
    let answers: Vec<Outcome<u16>> = thread::scope(|scope| {
        let asked: Vec<_> = (0..50).map(|_| scope.spawn(|| Ok(list(&alice)?.status))).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap_or_else(|_| Err("a request panicked".into())))
            .collect()
    });
    for answer in answers {
        assert_eq!(answer?, 200);
    }
    let began = |username: &str| -> Outcome<Vec<String>> {
        let decisions = log.decisions(username, 0)?.into_iter();
        let is_about_it = |decision: &String| {
            ["signed_in", "extended", "expired"]
                .iter()
                .any(|word| decision.contains(word))
        };
        Ok(decisions.filter(is_about_it).collect())
    };
    assert_eq!(began(ALICE)?.len(), 1, "{:?}", began(ALICE)?);
    let name = session_name(&site)?;
    // Only through such a rule.
    ask(&alice, "GET", "/role/edit/api/v1/namespaces", &[], "")?.expect(401)?;
    assert_eq!(session_name(&site)?, name);
    // A sign-in on purpose extends it.
    alice.sign_in_waiting()?.expect(200)?;
    assert_eq!((session_name(&site)?, began(ALICE)?.len()), (name, 2));
    // One whose time was over was not meant to end, so use begins another.
    let bob = site.caller("BOB")?;
    comes(&bob)?;
    wait::until_true("its time is over", || Ok(began(BOB)?.len() >= 2))?;
    comes(&bob)?;
    let [first, over, second] = [0, 1, 2].map(|at| began(BOB).map(|all| all.get(at).cloned().unwrap_or_default()));
    assert!(first?.contains("signed_in") && over?.contains("expired") && second?.contains("signed_in"));
    Ok(())
}

/// An address that names no rule means the highest that needs no approval, also where use begins its session.
fn use_begins_what_needs_no_approval(world: &World) -> Outcome {
    let site = world.site_with(options("on-use-beside"))?;
    let oncall =
        json!({"role": "cluster-admin", "period": "10m", "name": "oncall", "priority": 9, "approval": {"count": 1}});
    site.grant(&[(ALICE, on_use("10m")), (ALICE, oncall)])?;
    let alice = site.caller("ALICE")?;
    comes(&alice)?;
    let signins = site.objects(Kind::Signin)?;
    assert_eq!((signins.len(), &signins[0]["spec"]["role"]), (1, &json!("view")));
    ask(&alice, "GET", "/rule/oncall/api/v1/namespaces", &[], "")?.expect(401)?;
    // Where the policy has one rule twice, both must let use begin it.
    let twice = json!({"role": "view", "period": "10m", "priority": 1, "approval": {"count": 1}});
    site.grant(&[(BOB, on_use("10m")), (BOB, twice)])?;
    list(&site.caller("BOB")?)?.expect(401)?;
    Ok(())
}

fn comes(caller: &Caller) -> Outcome {
    wait::until_true("a request is carried", || Ok(list(caller)?.status == 200))
}

/// Whether use begins nothing, and says why.
fn stays_ended(alice: &Caller) -> Outcome {
    let refused = list(alice)?.expect(401)?;
    let message = refused.json()?["message"].to_string();
    assert!(
        message.contains("your session was ended") && message.contains("`tka login`"),
        "{message}"
    );
    Ok(())
}

fn use_begins_no_session_that_was_ended(world: &World) -> Outcome {
    let site = world.site_with(options("on-use-ended"))?;
    site.grant(&[(ALICE, on_use("10m"))])?;
    let alice = site.caller("ALICE")?;
    list(&alice)?.expect(200)?;
    let tombstone = format!("/api/v1/namespaces/on-use-ended/configmaps/{}", session_name(&site)?);
    assert_eq!(world.cluster.get(&tombstone)?, None);

    alice.sign_out()?;
    for _ in 0..3 {
        stays_ended(&alice)?;
    }
    assert_eq!(site.counts()?, [0, 0, 0]);
    let written = world.cluster.get(&tombstone)?.ok_or("no tombstone")?;
    assert_eq!(written["data"]["reason"], "its owner signed out");
    // Another process knows it, too.
    let _process = Process::with_settings(&site, &[])?;
    stays_ended(&alice)?;
    // A sign-in on purpose is the way back, and what it began may begin again.
    alice.sign_in_waiting()?.expect(200)?;
    list(&alice)?.expect(200)?;
    assert_eq!(world.cluster.get(&tombstone)?, None);

    world.cluster.delete(&site.path_of_only(Kind::Signin)?)?;
    site.wait_empty()?;
    stays_ended(&alice)?;

    alice.sign_in_waiting()?.expect(200)?;
    site.grant(&[(BOB, on_use("10m"))])?;
    site.wait_empty()?;
    site.grant(&[(ALICE, on_use("10m"))])?;
    stays_ended(&alice)?;
    // An administrator forgives.
    world.cluster.delete(&tombstone)?;
    comes(&alice)?;

    // A session that began before its rule had `on_use` is none that use undoes.
    alice.sign_out()?;
    site.grant(&[(ALICE, rule("edit", "10m"))])?;
    alice.sign_in_waiting()?.expect(200)?;
    let mut later = on_use("10m");
    later["role"] = "edit".into();
    site.grant(&[(ALICE, later)])?;
    wait::until_true("it is written down", || {
        let there = site.objects(Kind::Signin)?;
        Ok(there
            .iter()
            .any(|signin| signin["metadata"]["annotations"]["tka.specht-labs.de/sign-in"] == "asked"))
    })?;
    alice.sign_out()?;
    stays_ended(&alice)
}

/// When the only session ends, as its `TkaSignin` goes.
fn gone(site: &Site<'_>) -> Outcome<Instant> {
    wait::until("the session has ended", || {
        Ok(site.objects(Kind::Signin)?.is_empty().then(Instant::now))
    })
}

fn session_that_is_not_used_ends(world: &World) -> Outcome {
    const IDLE: Duration = Duration::from_secs(6);
    let (log, options) = Records::of(world, options("idle"))?;
    let site = world.site_with(options)?;
    let idle = |sign_in: &str| json!({"role": "view", "period": "10m", "idle": "6s", "sign_in": sign_in});
    site.grant(&[(ALICE, idle("asked"))])?;
    let alice = site.caller("ALICE")?;
    // Use is seen by the gateway alone, so there is no other way.
    let signed_in = alice.sign_in_waiting()?.expect(202)?;
    assert!(!signed_in.body.contains("token"), "{}", signed_in.body);
    let used_until = Instant::now() + 2 * IDLE;
    let mut used = Instant::now();
    while Instant::now() < used_until {
        wait::until("the next request", || Ok((used.elapsed() > IDLE / 6).then_some(())))?;
        used = Instant::now();
        list(&alice)?.expect(200)?;
    }
    // What the server sends is no use.
    used = Instant::now();
    let watch = Watch::begin(&alice)?;
    let ended = gone(&site)?.saturating_duration_since(used);
    assert!(
        ended + Duration::from_secs(2) > IDLE,
        "it ended {ended:?} after its last use"
    );
    wait::within(IDLE + Duration::from_secs(5), "an unused session ends", ended)?;
    watch.ended()?;
    wait::until_true("its end is recorded", || {
        Ok(log.all()?.iter().any(|record| record["decision"] == "idle"))
    })?;
    // Nor does use begin it again.
    site.grant(&[(ALICE, idle("on_use"))])?;
    comes(&alice)?;
    gone(&site)?;
    stays_ended(&alice)
}
