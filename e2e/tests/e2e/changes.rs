//! What changes on the tailnet under a session, and ends it: its device, whose it is, and its rule.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::between::Between;
use e2e::user::{ALICE, CI};
use e2e::{Guest, Outcome, Site, World, is_refused, rule, wait};
use jiff::Timestamp;
use serde_json::json;
use testbed::{Owner, ServerOptions};

use crate::audit::{audited, audited_with, lines};

crate::tests![
    session_goes_with_the_key_of_its_device,
    device_with_an_expired_key_is_refused,
    session_goes_when_its_device_becomes_a_machine,
    session_goes_when_its_user_becomes_another,
    session_goes_when_its_rule_gives_less_time_and_that_is_over,
    unannounced_policy_change_is_found_in_half_a_minute,
];

/// How soon a change that is told is acted on.
const SOON: Duration = Duration::from_secs(5);
/// How long a change may go unnoticed that is not.
const UNTOLD: Duration = Duration::from_secs(36);

/// A server, its records, and a laptop whose user is signed in there.
struct SignedIn<'w> {
    site: Site<'w>,
    log: PathBuf,
    laptop: Guest<'w>,
    token: String,
}

fn signed_in<'w>(world: &'w World, (site, log): (Site<'w>, PathBuf), user: &str) -> Outcome<SignedIn<'w>> {
    let name = format!("{}-n", site.server.namespace());
    let laptop = world.guest(&name, &Owner::user(user))?;
    // The user changes, the rule stays.
    site.grant(&[("*", rule("view", "1h"))])?;
    let caller = site.caller_on(&laptop)?;
    caller.sign_in()?;
    let token = caller.token()?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(SignedIn {
        site,
        log,
        laptop,
        token,
    })
}

impl SignedIn<'_> {
    /// The session ends soon, its credential is worth nothing, and the record says why.
    fn is_revoked(&self, why: &str) -> Outcome {
        wait_empty_soon(&self.site)?;
        let status = self.site.world.cluster.status(&self.token, "GET", "/api/v1/pods")?;
        assert!(is_refused(status), "{status}");
        is_recorded(&self.log, why)
    }
}

fn wait_empty_soon(site: &Site<'_>) -> Outcome {
    let start = Instant::now();
    site.wait_empty()?;
    wait::within(SOON, "a session is revoked", start.elapsed())
}

fn is_recorded(log: &Path, why: &str) -> Outcome {
    let revoked = wait::until("the revocation is recorded", || {
        Ok(lines(log)?.into_iter().find(|record| record["decision"] == "revoked"))
    })?;
    let found = revoked["why"].as_str().unwrap_or_default();
    assert!(found.contains(why), "{found}");
    Ok(())
}

fn session_goes_with_the_key_of_its_device(world: &World) -> Outcome {
    let signed_in = signed_in(world, audited(world, "key-expired")?, "gina@example.com")?;
    world.testbed.change_node(&signed_in.laptop, &["expire"])?;
    signed_in.is_revoked("the device's key has expired")
}

fn device_with_an_expired_key_is_refused(world: &World) -> Outcome {
    let between = Between::before(world.testbed.node("TKA")?.socket())?;
    let mut options = ServerOptions::new("key-ended");
    options.config = json!({"tailscale": {"socket": between.socket()}});
    let signed_in = signed_in(world, audited_with(world, options)?, "jana@example.com")?;
    // A node whose key has ended is not heard any more by those who have been told. This server's node has not been.
    let ends = "--expiry=2099-01-01T00:00:00Z";
    world.testbed.change_node(&signed_in.laptop, &["expire", ends])?;
    between.replace("\"2099-01-01T", "\"2001-01-01T")?;
    let laptop = signed_in.site.caller_on(&signed_in.laptop)?;
    for (method, path) in [
        ("POST", "/login"),
        ("GET", "/kubeconfig"),
        ("POST", "/credential"),
        ("POST", "/logout"),
        ("GET", "/rules"),
    ] {
        let refusal = laptop.send(method, path, &[])?.expect(403)?.refusal()?;
        assert!(refusal.message.contains("has expired"), "{refusal:?}");
    }
    Ok(())
}

fn session_goes_when_its_device_becomes_a_machine(world: &World) -> Outcome {
    let signed_in = signed_in(world, audited(world, "now-tagged")?, "hugo@example.com")?;
    let SignedIn { site, laptop, .. } = &signed_in;
    world.testbed.change_node(laptop, &["tag", &format!("--tags={CI}")])?;
    signed_in.is_revoked("the device is tagged now (tag:ci)")?;
    site.caller_on(laptop)?.post("/login")?.expect(400)?.refusal()?;
    Ok(())
}

fn session_goes_when_its_user_becomes_another(world: &World) -> Outcome {
    let between = Between::before(world.testbed.node("TKA")?.socket())?;
    let mut options = ServerOptions::new("user-changed");
    options.config = json!({"tailscale": {"socket": between.socket()}});
    let signed_in = signed_in(world, audited_with(world, options)?, "ines@example.com")?;
    between.replace("ines@example.com", "iris@example.com")?;
    // headscale does not tell nodes of a user's new name, but of another change.
    world
        .testbed
        .change_node(&signed_in.laptop, &["rename", "user-changed-other"])?;
    signed_in.is_revoked(r#"the device is that of "iris@example.com" now"#)?;
    // She may sign in, and has nothing that was the other's.
    let iris = signed_in.site.caller_on(&signed_in.laptop)?;
    iris.get("/login")?.expect(401)?;
    assert_eq!(iris.sign_in()?.username, "iris@example.com");
    Ok(())
}

fn session_goes_when_its_rule_gives_less_time_and_that_is_over(world: &World) -> Outcome {
    let (site, log) = audited(world, "shortened")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let signed_in = Timestamp::now();
    alice.sign_in()?;
    let token = alice.token()?;
    // Less, and still enough: nothing happens.
    site.grant(&[(ALICE, rule("view", "50m"))])?;
    wait::until_time(signed_in + Duration::from_secs(2))?;
    assert_eq!(site.counts()?, [1, 1, 1]);
    site.grant(&[(ALICE, rule("view", "1s"))])?;
    wait_empty_soon(&site)?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    is_recorded(&log, "period is 1s now, and that has passed")
}

fn unannounced_policy_change_is_found_in_half_a_minute(world: &World) -> Outcome {
    let between = Between::before(world.testbed.node("TKA")?.socket())?;
    let mut options = ServerOptions::new("untold");
    options.config = json!({"tailscale": {"socket": between.socket()}});
    let (site, log) = audited_with(world, options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let token = alice.token()?;
    between.silence();
    let changed = Instant::now();
    site.grant(&[])?;
    site.wait_empty()?;
    wait::within(
        UNTOLD,
        "a session is revoked after a change that was not told",
        changed.elapsed(),
    )?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    is_recorded(&log, "does not give this access any more")
}
