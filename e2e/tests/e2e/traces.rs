//! Traces: one leads from `tka` to the API server, and callers decide neither what is recorded nor what is in it.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::path::Path;
use std::time::Instant;

use e2e::collector::Span;
use e2e::faults::Proxy;
use e2e::user::ALICE;
use e2e::{Caller, Collector, Outcome, Site, World, rule, wait};
use serde_json::{Value, json};
use testbed::ServerOptions;

crate::tests![
    one_trace_leads_from_tka_to_the_api_server,
    hostile_trace_headers_decide_nothing,
];

/// Text of a caller's that must be nowhere.
const MARKER: &str = "mallory-was-here";
/// How many requests ask to be recorded.
const REQUESTS: u32 = 500;
/// How many traces of callers a server records a second.
const PER_SECOND: u64 = 10;
/// What `REQUESTS` with much text in them may leave in a server's memory.
const MEMORY_KIB: u64 = 48 * 1024;

fn options(name: &str, collector: &Collector, more: &Value) -> ServerOptions {
    let mut config = more.clone();
    config["otel"] = json!({ "endpoint": collector.endpoint(), "insecure": true });
    ServerOptions {
        config,
        ..ServerOptions::new(name)
    }
}

/// The one span of that name within `of`.
fn within<'s>(spans: &'s [Span], of: &Span, name: &str) -> Outcome<&'s Span> {
    let mut found = spans
        .iter()
        .filter(|span| span.name == name && span.trace == of.trace && span.is_within(of, spans));
    found
        .next()
        .ok_or_else(|| format!("there is no {name} within {} in {spans:#?}", of.name).into())
}

fn one_trace_leads_from_tka_to_the_api_server(world: &World) -> Outcome {
    let (collector, proxy) = (Collector::start()?, Proxy::before(&world.testbed)?);
    let site = proxy.site_with(world, options("traces", &collector, &json!({})))?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let mut login = alice.typed(&["login", "--quiet"]);
    let said = login.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).output()?;
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said = String::from_utf8(said.stdout)?;
    let path = said.trim().strip_prefix("export KUBECONFIG=").ok_or("no export line")?;
    alice.remember(Path::new(path.trim_matches('\'')))?;

    // Each program sends its own, and the server a few seconds later.
    let is_there = |name: &str| collector.spans().iter().any(|span| span.name == name);
    wait::until_true("the spans have come", || {
        Ok(is_there("tka") && is_there("POST /api/v1alpha1/login") && is_there("reconcile"))
    })?;
    let spans = collector.spans();
    let of_tka = spans.iter().find(|span| span.name == "tka").ok_or("none of tka")?;
    assert_eq!((of_tka.service.as_str(), of_tka.parent.as_str()), ("tka", ""));
    let sent = within(&spans, of_tka, "POST /login")?;
    let answered = within(&spans, sent, "POST /api/v1alpha1/login")?;
    assert_eq!((answered.service.as_str(), &answered.parent), ("tka-server", &sent.id));
    within(&spans, answered, "whois")?;
    within(&spans, answered, "decision")?;
    let created = within(&spans, answered, "create serviceaccounts")?;

    let told = format!("00-{}-{}-01", created.trace, created.id);
    let seen = proxy.seen();
    let created = seen.iter().find(|seen| seen.request.is("create", "serviceaccounts"));
    let created = created.ok_or("no account was created")?;
    assert_eq!(created.trace["traceparent"], told);
    // What a server does all the time would fill a collector.
    let roots: BTreeSet<_> = spans
        .iter()
        .filter(|span| span.parent.is_empty())
        .map(|span| span.name.as_str())
        .collect();
    assert!(
        roots
            .iter()
            .all(|name| !name.ends_with(" leases") && !name.starts_with("list ")),
        "{roots:?}"
    );
    let leases = seen.iter().filter(|seen| seen.request.is_background());
    assert!(leases.clone().count() > 0 && leases.clone().all(|seen| seen.trace.is_empty()));
    for span in &spans {
        let text = span.text.to_lowercase();
        for word in ["alice", "eyj", "tka-", "100.64."] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
    Ok(())
}

fn hostile_trace_headers_decide_nothing(world: &World) -> Outcome {
    let (collector, proxy) = (Collector::start()?, Proxy::before(&world.testbed)?);
    let rates = json!({ "server": { "rateLimit": { "requestsPerSecond": 5000, "burst": 5000 } } });
    let site = proxy.site_with(world, options("hostile-traces", &collector, &rates))?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let health = site.health()?;
    let (state, baggage) = (format!("vendor={MARKER}"), baggage());
    let (alice, stranger) = (site.caller("ALICE")?, site.stranger());
    let send = |method: &str, traceparents: &[&str], from_internet: bool| {
        let parents = traceparents.iter().map(|value| ("traceparent", *value));
        let text = [("tracestate", state.as_str()), ("baggage", baggage.as_str())];
        let funnel = from_internet.then_some(("tailscale-funnel-request", "?1"));
        let headers: Vec<_> = parents.chain(text).chain(funnel).collect();
        let caller = if from_internet { &stranger } else { &alice };
        caller.send(method, "/login", &headers)
    };
    let hostile = |number: u32| format!("00-{:032x}-00000000000000aa-01", u128::from(number) << 64 | 0xbad);
    send("POST", &[&hostile(0)], false)?.expect(202)?;
    let (memory, series) = (resident_kib(&site)?, series(&health)?);

    // What came from the public internet is refused before tailscaled is asked, so that it is fast; and it is traced as all else.
    let began = Instant::now();
    for number in 1..REQUESTS {
        send("GET", &[&hostile(number)], true)?.expect(403)?;
    }
    let took = began.elapsed();
    // What is no trace context is read over, and who asks not to be recorded is not.
    let long = "0".repeat(8000);
    for odd in [&["00"][..], &[&long], &[&hostile(1), &hostile(2)], &["ff-x-y-z"], &[""]] {
        send("GET", odd, false)?.expect(200)?;
    }
    let unsampled = "00-000000000000000000000000000000ff-00000000000000aa-00";
    alice
        .send("GET", "/cluster-info", &[("traceparent", unsampled)])?
        .expect(200)?;
    alice.get("/rules")?.expect(200)?;
    wait::until_true("the last span has come", || {
        Ok(collector
            .spans()
            .iter()
            .any(|span| span.name == "GET /api/v1alpha1/rules"))
    })?;

    let spans = collector.spans();
    let chosen: BTreeSet<_> = spans
        .iter()
        .map(|span| &span.trace)
        .filter(|trace| trace.ends_with("bad"))
        .collect();
    let bound = usize::try_from((took.as_secs() + 3) * PER_SECOND)?;
    assert!(bound < usize::try_from(REQUESTS)?, "too slow to tell: {took:?}");
    assert!(
        (1..=bound).contains(&chosen.len()),
        "{} traces in {took:?}",
        chosen.len()
    );
    assert!(spans.iter().all(|span| span.name != "GET /api/v1alpha1/cluster-info"));
    for span in &spans {
        assert!(!span.text.contains(MARKER) && span.text.len() < 4096, "{}", span.text);
    }
    for seen in proxy.seen() {
        assert!(seen.trace.keys().all(|name| name == "traceparent"), "{:?}", seen.trace);
    }
    // One series more at the most for each answer that was new.
    let more = self::series(&health)?.saturating_sub(series);
    assert!(more < 150, "{more} series more");
    let more = resident_kib(&site)?.saturating_sub(memory);
    assert!(more < MEMORY_KIB, "{more} KiB more");
    Ok(())
}

/// As much as fits into a head.
fn baggage() -> String {
    let entries: Vec<_> = iter::repeat_n(format!("{MARKER}={MARKER}"), 200).collect();
    entries.join(",")
}

/// How many series a server has.
fn series(health: &Caller) -> Outcome<usize> {
    let text = health.send_body("GET", "/metrics", &[], &[])?.expect(200)?.body;
    assert!(!text.contains(MARKER));
    Ok(text.lines().filter(|line| !line.starts_with('#')).count())
}

fn resident_kib(site: &Site<'_>) -> Outcome<u64> {
    let pid = site.server.pid()?.ok_or("the server does not run")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(number.parse()?)
}
