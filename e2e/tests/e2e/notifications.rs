//! Webhooks that are told of decisions.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use e2e::receiver::SECRET;
use e2e::user::{ALICE, BOB};
use e2e::{Outcome, Receiver, Records, Site, World, rule, wait};
use serde_json::{Value, json};
use testbed::ServerOptions;

crate::tests![
    sign_in_and_revocation_are_told_and_signed,
    sign_in_that_waits_is_told_in_words,
    receiver_that_is_down_is_told_when_it_is_back,
    dead_receivers_delay_no_decision,
];

/// How long a sign-in takes at the most, on this machine alone. One try to tell a receiver that hangs takes ten.
const SIGN_IN: Duration = Duration::from_secs(3);

/// A server with these webhooks, each of which has a key.
fn site<'w>(world: &'w World, name: &str, receiver: &Receiver, hooks: &[Value]) -> Outcome<(Records, Site<'w>)> {
    let (records, mut options) = Records::of(world, ServerOptions::new(name))?;
    let key = records.path().with_file_name("webhook.key");
    fs::write(&key, receiver.key())?;
    let hooks = hooks.iter().cloned().map(|mut hook| {
        hook["keyFile"] = json!(key);
        hook
    });
    options.config["notifications"] = json!({"webhooks": hooks.collect::<Vec<_>>()});
    Ok((records, world.site_with(options)?))
}

fn sign_in_and_revocation_are_told_and_signed(world: &World) -> Outcome {
    let receiver = Receiver::start(0)?;
    let events = json!(["signed_in", "revoked", "signed_out"]);
    let hook = json!({"name": "pager", "url": receiver.url("pager"), "events": events});
    let (records, site) = site(world, "notified", &receiver, &[hook])?;
    site.grant(&[(ALICE, rule("view", "1h")), (BOB, rule("view", "1h"))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    // Not asked for: a credential was issued too, and Bob extends.
    let bob = site.caller("BOB")?;
    bob.sign_in_waiting()?.expect(200)?;
    bob.sign_in_waiting()?.expect(200)?;
    bob.sign_out()?;
    // Her rule is gone, and her session with it.
    site.grant(&[(BOB, rule("view", "1h"))])?;
    wait::until_true("it is told", || Ok(receiver.told("pager").len() >= 4))?;

    let recorded = records.all()?;
    let mut types = Vec::new();
    for told in receiver.told("pager") {
        let event = told.verified()?;
        assert_eq!(
            told.header("content-type"),
            "application/cloudevents+json; charset=utf-8"
        );
        assert_eq!(
            (&event["specversion"], &event["id"]),
            (&json!("1.0"), &json!(told.header("webhook-id")))
        );
        assert_eq!(
            event["source"],
            json!("/clusters/tka-cluster/namespaces/notified"),
            "{event}"
        );
        assert_eq!(
            (&event["time"], &event["subject"]),
            (&event["data"]["time"], &event["data"]["session"]["name"])
        );
        assert!(recorded.contains(&event["data"]), "it is in the audit log: {event}");
        types.push((
            event["type"].clone(),
            event["data"]["who"]["user"]["login_name"].clone(),
        ));
    }
    let expected = [
        ("signed_in", ALICE),
        ("signed_in", BOB),
        ("signed_out", BOB),
        ("revoked", ALICE),
    ];
    let expected = expected.map(|(name, who)| (json!(format!("de.specht-labs.tka.{name}")), json!(who)));
    assert_eq!(types, expected);

    let health = site.health()?;
    let get = |path: &str| health.send_body("GET", path, &[], &[])?.expect(200);
    let delivered = r#"tka_notifications_total{webhook="pager",outcome="delivered"} 4"#;
    wait::until_true("they are counted", || {
        Ok(get("/metrics")?.body.lines().any(|line| line == delivered))
    })?;
    assert!(get("/readyz")?.body.contains("[+]notifications ok\n"));
    site.wait_empty()
}

fn sign_in_that_waits_is_told_in_words(world: &World) -> Outcome {
    let receiver = Receiver::start(0)?;
    let hook = json!({"name": "chat", "url": receiver.url("chat"), "format": "slack"});
    let (_, site) = site(world, "notified-chat", &receiver, &[hook])?;
    let oncall = json!({"role": "view", "period": "1h", "name": "oncall", "approval": {"count": 1}});
    site.grant(&[(BOB, oncall)])?;
    site.grant_oversight(&[(ALICE, json!({"approve": ["oncall"]}))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    let reason = "pager 4711 <!channel>";
    let asked = bob
        .send_json("POST", "/login", &[], &json!({"rule": "oncall", "reason": reason}))?
        .expect(202)?
        .json()?;
    let session = asked["approval"]["session"].as_str().ok_or("nothing waits")?;
    wait::until_true("the question is told", || Ok(receiver.told("chat").len() == 1))?;
    alice
        .send_json(
            "POST",
            &format!("/approvals/{session}"),
            &[],
            &json!({"decision": "deny", "comment": "not now"}),
        )?
        .expect(200)?;
    wait::until_true("the decision is told", || Ok(receiver.told("chat").len() == 2))?;

    let told = receiver.told("chat");
    let texts: Vec<_> = told.iter().map(e2e::receiver::Told::verified).collect::<Outcome<_>>()?;
    let asks = format!(
        "tka-cluster: {BOB} asks others to approve a sign-in\nrole view in the whole cluster, rule oncall, for 1h0m0s, session {session}\n\
         reason: `pager 4711 &lt;!channel&gt;`\n1 must approve: `tka approvals approve {session}`"
    );
    assert_eq!(texts[0], json!({"text": asks}));
    let denied = texts[1]["text"].as_str().ok_or("no text")?;
    assert!(
        denied.starts_with(&format!("tka-cluster: {ALICE} denied a sign-in of {BOB}\n")),
        "{denied}"
    );
    assert!(denied.ends_with("comment: `not now`"), "{denied}");
    site.wait_empty()
}

fn receiver_that_is_down_is_told_when_it_is_back(world: &World) -> Outcome {
    let receiver = Receiver::start(2)?;
    let hook = json!({"name": "pager", "url": receiver.url("pager"), "events": ["signed_in"]});
    let (_, site) = site(world, "notified-again", &receiver, &[hook])?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    wait::until_true("it is told thrice", || Ok(receiver.told("pager").len() == 3))?;
    let told = receiver.told("pager");
    let bodies: Vec<_> = told.iter().map(e2e::receiver::Told::verified).collect::<Outcome<_>>()?;
    assert!(bodies.windows(2).all(|two| two[0] == two[1]), "{bodies:?}");
    // The log says why, once, and when it was over; and the secret of the URL nowhere.
    let logged = || -> Outcome<String> { Ok(fs::read_to_string(site.server.log())?) };
    wait::until_true("the log says that it is over", || {
        Ok(logged()?.contains("notifications are delivered again"))
    })?;
    let log = logged()?;
    assert_eq!(
        log.matches("notification not delivered; it is tried again").count(),
        1,
        "{log}"
    );
    assert!(log.contains("answered 503") && !log.contains(SECRET), "{log}");
    Ok(())
}

fn dead_receivers_delay_no_decision(world: &World) -> Outcome {
    let receiver = Receiver::start(0)?;
    // It takes connections and answers none.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let silent = format!("http://{}/{SECRET}", silent.local_addr()?);
    let events = json!(["signed_in", "signed_out", "credential_issued"]);
    let hooks = [
        json!({"name": "silent", "url": silent, "events": events}),
        json!({"name": "refuses", "url": format!("http://127.0.0.1:1/{SECRET}"), "events": events}),
        json!({"name": "strange", "url": format!("https://{}/{SECRET}", site_of(&receiver)), "events": events}),
        json!({"name": "good", "url": receiver.url("good"), "events": events}),
    ];
    let (records, site) = site(world, "notified-dead", &receiver, &hooks)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let began = Instant::now();
    for _ in 0..10 {
        alice.sign_in_waiting()?.expect(200)?;
        alice.sign_out()?;
    }
    // One that waited for the silent receiver would take longer than all of them.
    wait::within(SIGN_IN * 10, "ten sign-ins beside dead receivers", began.elapsed())?;
    wait::until_true("the good one is told of all", || Ok(receiver.told("good").len() == 30))?;
    let all = records.all()?;
    assert_eq!(
        all.iter().filter(|record| record["decision"] == "signed_in").count(),
        10
    );

    let health = site.health()?;
    let ready = || health.send_body("GET", "/readyz", &[], &[])?.expect(200);
    wait::until_true("each that is dead is named", || {
        let body = ready()?.body;
        let line = body.lines().find(|line| line.starts_with("[!]notifications: "));
        let says = |name: &str| line.is_some_and(|line| line.contains(&format!("{name}: ")));
        Ok(says("silent") && says("refuses") && says("strange") && !says("good") && !body.contains(SECRET))
    })?;
    // Neither do they delay a stop by more than five seconds.
    let began = Instant::now();
    site.server.stop()?;
    wait::within(Duration::from_secs(6), "a stop beside dead receivers", began.elapsed())?;
    let log = fs::read_to_string(site.server.log())?;
    assert!(
        log.contains("notifications were given up at the stop") && !log.contains(SECRET),
        "{log}"
    );
    Ok(())
}

/// Where a receiver is that speaks no TLS.
fn site_of(receiver: &Receiver) -> String {
    let url = receiver.url("");
    let authority = url.trim_start_matches("http://").split('/').next();
    authority.unwrap_or_default().to_owned()
}
