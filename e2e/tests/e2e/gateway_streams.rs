//! Streams and limits of the gateway: at every replica, as many as are allowed, and never without a record.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::pair::caller;
use e2e::user::{ALICE, BOB};
use e2e::{Outcome, Pair, Records, Site, World, records, rule, wait};
use serde_json::{Value, json};
use testbed::{Owner, ServerOptions, with_gateway};

use crate::gateway::{Watch, ask, options, session_name};

crate::tests![
    ends_cut_the_streams_of_every_replica,
    streams_of_a_device_that_left_end_at_the_api_server,
    committed_address_of_a_dead_replica_is_exchanged,
    requests_at_a_time_are_limited_and_clients_wait,
    rate_is_limited_and_clients_wait,
    nothing_is_carried_to_a_pod_without_a_record,
    bodies_are_carried_as_they_are,
    every_call_of_a_session_is_in_both_audit_logs,
];

/// How long after an end bytes may move.
const SOON: Duration = Duration::from_secs(1);

/// How the API server calls the account of the only session. Other tests' sessions may have the same name, in other namespaces.
fn account(site: &Site<'_>) -> Outcome<String> {
    let (namespace, name) = (site.server.namespace(), session_name(site)?);
    Ok(format!("system:serviceaccount:{namespace}:{name}"))
}

fn ends_cut_the_streams_of_every_replica(world: &World) -> Outcome {
    let pair = Pair::new(world, "gateway-both", &with_gateway())?;
    pair.grant(&[(ALICE, rule("view", "10m"))])?;
    let [first, second] = pair.sites();
    let (at_first, at_second) = (caller(first, "ALICE")?, caller(second, "ALICE")?);
    at_first.sign_in_waiting()?.expect(200)?;
    let watches = [Watch::begin(&at_first)?, Watch::begin(&at_second)?];
    let since = Instant::now();
    at_first.sign_out()?;
    for watch in watches {
        let ended = watch.ended()?.saturating_duration_since(since);
        wait::within(SOON, "signing out at one replica cuts a watch", ended)?;
    }
    ask(&at_second, "GET", "/api/v1/namespaces", &[], "")?.expect(401)?;
    Ok(())
}

fn streams_of_a_device_that_left_end_at_the_api_server(world: &World) -> Outcome {
    let site = world.site_with(options("gateway-left"))?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let laptop = world.guest("gateway-laptop", &Owner::user(ALICE))?;
    let alice = site.caller_on(&laptop)?;
    alice.sign_in_waiting()?.expect(200)?;
    let session = account(&site)?;
    let _watch = Watch::begin(&alice)?;
    // The device cannot see what becomes of its stream, and the API server can.
    world.testbed.change_node(&laptop, &["expire"])?;
    site.wait_empty()?;
    let gone = Instant::now();
    wait::until_true("the API server has seen the end of the watch", || {
        let calls = records::lines(&world.testbed.audit_log())?;
        Ok(calls.iter().any(|call| {
            let is_theirs = call["user"]["username"] == session.as_str();
            is_theirs && call["verb"] == "watch" && call["stage"] == "ResponseComplete"
        }))
    })?;
    wait::within(SOON, "the watch of a device that left ends", gone.elapsed())
}

/// One committed address is that of one replica. Where that dies, the other's serves the same session.
fn committed_address_of_a_dead_replica_is_exchanged(world: &World) -> Outcome {
    let pair = Pair::new(world, "gateway-static", &with_gateway())?;
    pair.grant(&[(ALICE, rule("view", "10m"))])?;
    let [first, second] = pair.sites();
    caller(second, "ALICE")?;
    let alice = first.person("ALICE")?;
    alice.tka(&["login", "--quiet"])?.expect(0)?;
    let of = |site: &Site<'_>, file: &str| -> Outcome<_> {
        let printed = alice
            .tka(&["kubeconfig", "--static", "--server", &site.server.url()])?
            .expect(0)?;
        let file = alice.home().join(file);
        fs::write(&file, printed.out)?;
        Ok(file)
    };
    let (committed, other) = (of(first, "first.yaml")?, of(second, "second.yaml")?);
    let whoami = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];
    let account = alice.kubectl(&committed, &whoami)?.expect(0)?.out;
    assert!(account.contains(":tka-alice-"), "{account}");
    first.server.kill()?;
    let dead = alice.kubectl(&committed, &[&whoami[..], &["--request-timeout=5s"]].concat())?;
    assert!(dead.status != Some(0) && !dead.err.is_empty(), "{dead:?}");
    assert_eq!(alice.kubectl(&other, &whoami)?.expect(0)?.out, account);
    Ok(())
}

fn requests_at_a_time_are_limited_and_clients_wait(world: &World) -> Outcome {
    let mut config = with_gateway();
    config["gateway"]["maxRequestsPerSession"] = json!(2);
    let site = world.site_with(ServerOptions {
        config,
        ..ServerOptions::new("gateway-places")
    })?;
    site.grant(&[(ALICE, rule("view", "10m")), (BOB, rule("view", "10m"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    alice.sign_in_waiting()?.expect(200)?;
    bob.sign_in_waiting()?.expect(200)?;
    let watches = [Watch::begin(&alice)?, Watch::begin(&alice)?];
    let refused = ask(&alice, "GET", "/api/v1/namespaces", &[], "")?.expect(429)?;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        (refused.json()?["kind"].as_str(), refused.json()?["reason"].as_str()),
        (Some("Status"), Some("TooManyRequests"))
    );
    // Another session has places of its own.
    ask(&bob, "GET", "/api/v1/namespaces", &[], "")?.expect(200)?;
    // kubectl waits as it is told, and is let in when a place is free.
    let person = site.person("ALICE")?;
    let file = person.kubeconfig_of(&format!("{}/k8s", site.server.url()))?;
    let mut command = person.kubectl_command(&file, &["get", "--raw", "/api/v1/namespaces", "-v=6"]);
    let mut kubectl = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(kubectl.stderr.take().ok_or("no stderr")?).lines();
    let is_refused = said
        .by_ref()
        .find(|line| line.as_ref().map_or(true, |line| line.contains("429")));
    assert!(matches!(is_refused, Some(Ok(_))), "kubectl was not refused a place");
    drop(watches);
    let rest: Vec<_> = said.collect::<Result<_, _>>()?;
    let output = kubectl.wait_with_output()?;
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && listed.contains("NamespaceList"),
        "{listed}{rest:?}"
    );
    Ok(())
}

fn rate_is_limited_and_clients_wait(world: &World) -> Outcome {
    let mut config = with_gateway();
    config["gateway"]["rateLimit"] = json!({"requestsPerSecond": 2, "burst": 5});
    let site = world.site_with(ServerOptions {
        config,
        ..ServerOptions::new("gateway-rate")
    })?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let refused = wait::until("the gateway has had enough", || {
        let answer = ask(&alice, "GET", "/version", &[], "")?;
        Ok((answer.status == 429).then_some(answer))
    })?;
    assert_eq!(refused.header("retry-after"), Some("1"));
    // The rate is the gateway's own: the session is looked after as before.
    alice.get("/login")?.expect(200)?;
    let person = site.person("ALICE")?;
    let file = person.kubeconfig_of(&format!("{}/k8s", site.server.url()))?;
    for _ in 0..4 {
        person.kubectl(&file, &["get", "--raw", "/version"])?.expect(0)?;
    }
    Ok(())
}

fn nothing_is_carried_to_a_pod_without_a_record(world: &World) -> Outcome {
    let (log, options) = Records::of(world, options("gateway-unrecorded"))?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("cluster-admin", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let account = account(&site)?;
    let folder = log.path().parent().ok_or("the file is in no folder")?.to_owned();
    let aside = folder.with_extension("aside");
    fs::rename(&folder, &aside)?;
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"),
    ];
    let pod = "/api/v1/namespaces/gateway-unrecorded/pods/none";
    let paths = [
        "exec?command=id&stdout=true",
        "attach?stdout=true",
        "portforward?ports=80",
        "proxy/",
    ];
    for path in paths {
        let headers = if path == "proxy/" { &[][..] } else { &upgrade[..] };
        let answer = ask(&alice, "GET", &format!("{pod}/{path}"), headers, "")?.expect(503)?;
        assert!(answer.body.contains("record"), "{path}: {}", answer.body);
    }
    let theirs = |subresource: &str| -> Outcome<usize> {
        let calls = records::lines(&world.testbed.audit_log())?;
        let is_theirs = |call: &&Value| {
            call["user"]["username"] == account.as_str() && call["objectRef"]["subresource"] == subresource
        };
        Ok(calls.iter().filter(is_theirs).count())
    };
    fs::rename(&aside, &folder)?;
    wait::until_true("records can be written again", || {
        Ok(ask(
            &alice,
            "GET",
            &format!("{pod}/exec?command=id&stdout=true"),
            &upgrade,
            "",
        )?
        .status
            == 404)
    })?;
    // The API server has heard of that one alone: there is no such pod.
    wait::until_true(
        "the API server has the last one in its log",
        || Ok(theirs("exec")? >= 1),
    )?;
    assert_eq!((theirs("attach")?, theirs("portforward")?, theirs("proxy")?), (0, 0, 0));
    let recorded = wait::until("it is recorded", || {
        let all = log.all()?;
        Ok(all.into_iter().find(|record| record["api"]["subresource"] == "exec"))
    })?;
    assert_eq!(recorded["api"]["command"], json!(["id"]), "{recorded}");
    Ok(())
}

fn bodies_are_carried_as_they_are(world: &World) -> Outcome {
    let site = world.site_with(options("gateway-bodies"))?;
    site.grant(&[(ALICE, rule("edit", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let maps = "/api/v1/namespaces/gateway-bodies/configmaps";
    // Protobuf begins with four bytes of Kubernetes' own, and a compressed body with two of gzip's.
    let protobuf = [("Accept", "application/vnd.kubernetes.protobuf")];
    let answer = ask(&alice, "GET", maps, &protobuf, "")?.expect(200)?;
    assert!(answer.bytes.starts_with(b"k8s\0"), "{:?}", &answer.bytes[..8]);
    let long = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "long"}, "data": {"text": "x".repeat(400_000)}
    });
    let typed = [("Content-Type", "application/json")];
    ask(&alice, "POST", maps, &typed, &long.to_string())?.expect(201)?;
    let gzip = [("Accept-Encoding", "gzip")];
    let answer = ask(&alice, "GET", maps, &gzip, "")?.expect(200)?;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.bytes.starts_with(&[0x1f, 0x8b]) && answer.bytes.len() < 100_000);

    // A body in chunks, of which the client sends nothing before it is told to.
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chunks"}}).to_string();
    let mut stream = alice.tunnel()?;
    write!(
        stream,
        "POST /k8s{maps} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        alice.authority()
    )?;
    let mut said = [0; 25];
    stream.read_exact(&mut said)?;
    assert_eq!(String::from_utf8_lossy(&said), "HTTP/1.1 100 Continue\r\n\r\n");
    for half in [&body[..20], &body[20..]] {
        write!(stream, "{:x}\r\n{half}\r\n", half.len())?;
    }
    write!(stream, "0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

/// Each request that the API server has of the session's account is recorded once, and each record is of one that it has.
fn every_call_of_a_session_is_in_both_audit_logs(world: &World) -> Outcome {
    let (log, options) = Records::of(world, options("gateway-logs"))?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let account = account(&site)?;
    let person = site.person("ALICE")?;
    let file = person.kubeconfig_of(&format!("{}/k8s", site.server.url()))?;
    person
        .kubectl(&file, &["get", "configmaps,services", "--all-namespaces"])?
        .expect(0)?;
    person.kubectl(&file, &["get", "secrets"])?.expect(1)?;
    person.kubectl(&file, &["get", "--raw", "/version"])?.expect(0)?;
    alice.sign_out()?;
    let mut last = String::new();
    wait::until_true("both logs have the same", || {
        let of = |values: Vec<Value>, id: fn(&Value) -> Option<&str>| {
            let mut ids: Vec<String> = values.iter().filter_map(id).map(Into::into).collect();
            ids.sort();
            ids
        };
        let calls = records::lines(&world.testbed.audit_log())?;
        let is_theirs =
            |call: &Value| call["user"]["username"] == account.as_str() && call["stage"] == "ResponseComplete";
        let theirs = of(calls.into_iter().filter(is_theirs).collect(), |call| {
            call["auditID"].as_str()
        });
        let ours = of(log.all()?, |record| record["api"]["audit_id"].as_str());
        last = format!("theirs: {theirs:?}\nours: {ours:?}");
        Ok(theirs.len() >= 4 && theirs == ours)
    })
    .map_err(|error| format!("{error}\n{last}").into())
}
