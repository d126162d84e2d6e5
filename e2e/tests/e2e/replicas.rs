//! Several servers of one namespace, each on a node of its own: all serve, and one of them reconciles.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::faults::{Fault, Proxy, Request, Which};
use e2e::pair::{caller, holds};
use e2e::user::ALICE;
use e2e::{Outcome, Pair, Site, World, brief, rule, wait};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::expiry::ends_at;

crate::tests![
    all_serve_and_one_reconciles,
    killed_holder_is_followed_by_another_and_sign_ins_go_on,
    holder_that_is_told_to_end_lets_go_at_once,
    holder_that_is_restarted_goes_on_at_once,
    holder_without_the_tailnet_leaves_it_to_one_with,
    one_session_though_two_replicas_are_asked_at_once,
    sign_in_that_another_replica_ends_half_way_begins_anew,
    session_of_another_replica_ends_despite_a_dead_watch,
];

/// How long a hand-over may take.
const HAND_OVER: Duration = Duration::from_secs(20);
/// How soon what needs no waiting for a Lease to end comes about.
const SOON: Duration = Duration::from_secs(5);

/// Two replicas of which each reaches the API server through a proxy of its own.
fn behind<'w>(proxies: &[Proxy; 2], world: &'w World, name: &str) -> Outcome<Pair<'w>> {
    Pair::with(name, world, &json!({}), |number, options| {
        proxies[number].site_with(world, options)
    })
}

fn wait_holds(site: &Site<'_>, promised: Duration) -> Outcome<Duration> {
    let start = Instant::now();
    wait::until_true("it reconciles", || holds(site))?;
    let took = start.elapsed();
    wait::within(promised, "a replica reconciles", took)?;
    Ok(took)
}

pub(crate) fn lease(site: &Site<'_>) -> Outcome<Value> {
    let namespace = site.server.namespace();
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/tka-server");
    Ok(site.world.cluster.get(&path)?.ok_or("there is no Lease")?)
}

fn all_serve_and_one_reconciles(world: &World) -> Outcome {
    let pair = Pair::new(world, "both", &json!({}))?;
    let (holder, other) = pair.by_part()?;
    let grant = |period: &str| pair.grant(&[(ALICE, rule("view", period))]);
    grant("1h")?;
    let (at_holder, at_other) = (caller(holder, "ALICE")?, caller(other, "ALICE")?);
    let (until, found, status) = brief::in_time(grant, || {
        let until = at_other.sign_in()?.until;
        let found = at_holder.get("/login")?.expect(200)?.decode::<e2e::wire::Login>()?;
        let status = world.cluster.status(&at_holder.token()?, "GET", "/api/v1/pods")?;
        Ok(((until, found.until, status), until))
    })?;
    assert_eq!((found, status), (until, 200));
    ends_at(other, until)?;

    at_holder.sign_in()?;
    at_other.sign_out()?;
    assert_eq!(holder.counts()?, [0, 0, 0]);
    assert!(holds(holder)? && !holds(other)?);
    Ok(())
}

fn killed_holder_is_followed_by_another_and_sign_ins_go_on(world: &World) -> Outcome {
    let many = json!({"server": {"rateLimit": {"requestsPerSecond": 1000, "burst": 1000}}});
    let pair = Pair::new(world, "killed", &many)?;
    let (holder, other) = pair.by_part()?;
    // Long enough to be used, on a busy machine too.
    pair.grant(&[(ALICE, rule("view", "15s"))])?;
    let alice = caller(other, "ALICE")?;
    let (is_over, sign_ins) = (AtomicBool::new(false), AtomicUsize::new(0));
    let took = thread::scope(|scope| {
        let signing_in = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                alice.sign_in()?;
                assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200);
                sign_ins.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        wait::until_true("she signs in", || Ok(sign_ins.load(Ordering::Relaxed) > 0))?;
        holder.server.kill()?;
        let before = sign_ins.load(Ordering::Relaxed);
        let took = wait_holds(other, HAND_OVER);
        is_over.store(true, Ordering::Relaxed);
        signing_in.join().map_err(|_| "the caller panicked")??;
        let meanwhile = sign_ins.load(Ordering::Relaxed) - before;
        assert!(meanwhile > 0, "no sign-in succeeded meanwhile");
        let took = took?;
        eprintln!("handed over {took:?} after the holder was killed; {meanwhile} sign-ins meanwhile");
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
    })?;
    eprintln!("handed over after {took:?}");
    other.wait_empty()?;
    ends_at(other, alice.sign_in()?.until)
}

fn holder_that_is_told_to_end_lets_go_at_once(world: &World) -> Outcome {
    let pair = Pair::new(world, "told", &json!({}))?;
    let (holder, other) = pair.by_part()?;
    let before = lease(holder)?;
    holder.server.stop()?;
    // It is let go before the process ends, so that the other need not wait for its end.
    assert_ne!(
        lease(other)?["spec"]["holderIdentity"],
        before["spec"]["holderIdentity"]
    );
    wait_holds(other, SOON).map(drop)
}

fn holder_that_is_restarted_goes_on_at_once(world: &World) -> Outcome {
    let site = world.site("resumed")?;
    site.grant(&[(ALICE, rule("view", "4s"))])?;
    wait_holds(&site, SOON)?;
    let before = lease(&site)?;
    let until: Timestamp = site.caller("ALICE")?.sign_in()?.until;
    site.server.kill()?;
    site.server.start()?;
    wait_holds(&site, SOON)?;
    for field in ["holderIdentity", "leaseTransitions"] {
        assert_eq!(lease(&site)?["spec"][field], before["spec"][field]);
    }
    ends_at(&site, until)
}

fn holder_without_the_tailnet_leaves_it_to_one_with(world: &World) -> Outcome {
    let pair = Pair::new(world, "yields", &json!({"tailscale": {"maxUnverified": "30s"}}))?;
    let (holder, other) = pair.by_part()?;
    pair.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = caller(other, "ALICE")?;
    alice.sign_in()?;
    let name = |site: &Site<'_>| {
        site.server
            .url()
            .split(['/', '.'])
            .nth(2)
            .unwrap_or_default()
            .to_owned()
    };
    let node = world.testbed.node(&name(holder))?;
    world.testbed.tailscale(&node, &["down"])?.success()?;
    let silent = Timestamp::now();
    wait_holds(other, SOON)?;
    wait::until_time(silent + Duration::from_secs(32))?;
    assert_eq!(other.counts()?, [1, 1, 1], "a replica could verify the session");
    // And where no one can, it is held nevertheless, or nothing would end.
    let node = world.testbed.node(&name(other))?;
    world.testbed.tailscale(&node, &["down"])?.success()?;
    wait::until_true("the holder says that it cannot check", || {
        Ok(lease(other)?["metadata"]["annotations"]["tka.specht-labs.de/yields"] == "true")
    })?;
    assert!(holds(other)?);
    other.wait_empty()
}

fn session_of_another_replica_ends_despite_a_dead_watch(world: &World) -> Outcome {
    let proxies = [Proxy::before(&world.testbed)?, Proxy::before(&world.testbed)?];
    let pair = behind(&proxies, world, "unheard-of")?;
    let (holder, other) = pair.by_part()?;
    pair.grant(&[(ALICE, rule("view", "2s"))])?;
    let alice = caller(other, "ALICE")?;
    let of_holder = &proxies[usize::from(holder.server.url() == pair.sites()[1].server.url())];
    let watches = |request: &Request| request.is("watch", "tkasignins");
    let silent = of_holder.arm(Which::first(watches), Fault::Silence);
    silent.wait_hits(1, SOON)?;
    let until = alice.sign_in()?.until;
    other.wait_empty()?;
    wait::within(
        Duration::from_secs(8),
        "a session is gone after its end",
        wait::since(until),
    )?;
    assert!(holds(holder)?);
    Ok(())
}

fn one_session_though_two_replicas_are_asked_at_once(world: &World) -> Outcome {
    let pair = Pair::new(world, "race", &json!({}))?;
    let (a, b) = pair.by_part()?;
    pair.grant(&[(ALICE, rule("view", "1h"))])?;
    let callers = [caller(a, "ALICE")?, caller(b, "ALICE")?];
    for _ in 0..5 {
        thread::scope(|scope| {
            let requests: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let caller = &callers[n % 2];
                        let path = if n / 2 % 2 == 0 { "/login" } else { "/logout" };
                        move || caller.post(path)
                    })
                })
                .collect();
            for answer in requests {
                let answer = answer.join().map_err(|_| "a caller panicked")??;
                assert!([200, 202, 404, 409, 503].contains(&answer.status), "{answer:?}");
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        let counts = wait::until("there is a whole session or none", || {
            let counts = a.counts()?;
            Ok([[0, 0, 0], [1, 1, 1]].contains(&counts).then_some(counts))
        })?;
        if counts == [1, 1, 1] {
            wait::until_true("it is provisioned", || Ok(callers[0].get("/login")?.status != 202))?;
        }
    }
    callers[0].sign_in()?;
    assert_eq!(world.cluster.status(&callers[1].token()?, "GET", "/api/v1/pods")?, 200);
    callers[1].sign_out()?;
    a.wait_empty()
}

/// What another replica ends while it is being provisioned is never given as if it stood.
fn sign_in_that_another_replica_ends_half_way_begins_anew(world: &World) -> Outcome {
    let proxies = [Proxy::before(&world.testbed)?, Proxy::before(&world.testbed)?];
    let pair = behind(&proxies, world, "half-way")?;
    let [a, b] = pair.sites();
    pair.by_part()?;
    pair.grant(&[(ALICE, rule("view", "1h"))])?;
    let (at_a, at_b) = (caller(a, "ALICE")?, caller(b, "ALICE")?);
    let makes_account = |request: &Request| request.is("create", "serviceaccounts");
    let provisioning = proxies[0].arm(Which::first(makes_account), Fault::Still);
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| at_a.sign_in_waiting());
        provisioning.wait_hits(1, wait::LIMIT)?;
        let signed_out = at_b.sign_out();
        proxies[0].let_go();
        let answer = asking.join().map_err(|_| "the caller panicked")?;
        signed_out?;
        answer
    })?;
    let token = answer.expect(200)?.credential()?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    assert_eq!(b.counts()?, [1, 1, 1]);
    at_b.sign_out().map(drop)
}
