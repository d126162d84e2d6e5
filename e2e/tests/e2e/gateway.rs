//! The cluster's API over the tailnet: with an address and nothing else, as the session's own account, and no longer than it stands.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::faults::{Fault, Proxy, Request, Which};
use e2e::user::{ALICE, BOB};
use e2e::{Caller, Kind, Outcome, Person, Process, Records, Site, World, records, rule, wait};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_gateway};

crate::tests![
    person_works_with_an_address_and_nothing_else,
    caller_without_a_session_is_told_what_to_do,
    address_chooses_the_rule,
    nothing_that_a_caller_sends_changes_who_acts,
    client_certificate_of_the_server_acts_for_no_caller,
    browsers_get_nothing,
    ambiguous_requests_are_refused,
    ends_cut_streams_within_a_second,
    silent_watch_holds_and_then_cuts,
    requests_lead_from_one_audit_log_to_the_other,
    two_hundred_objects_are_carried,
    rule_may_give_no_token_or_no_gateway,
    watch_comes_to_its_end_when_its_server_stops,
];

/// How long after an end bytes may move.
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn options(name: &str) -> ServerOptions {
    ServerOptions {
        config: with_gateway(),
        ..ServerOptions::new(name)
    }
}

fn site<'w>(world: &'w World, name: &str) -> Outcome<Site<'w>> {
    world.site_with(options(name))
}

/// A kubeconfig with the gateway's address.
fn kubeconfig(person: &Person, site: &Site<'_>, path: &str) -> Outcome<PathBuf> {
    person.kubeconfig_of(&format!("{}/k8s{path}", site.server.url()))
}

fn kubectl(person: &Person, config: &Path, args: &[&str]) -> Outcome<String> {
    Ok(person.kubectl(config, args)?.expect(0)?.out)
}

fn whoami(person: &Person, config: &Path) -> Outcome<String> {
    let args = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];
    kubectl(person, config, &args)
}

/// A request through the gateway.
pub(crate) fn ask(
    caller: &Caller,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Outcome<e2e::Answer> {
    caller.send_body(method, &format!("/k8s{path}"), headers, body.as_bytes())
}

fn person_works_with_an_address_and_nothing_else(world: &World) -> Outcome {
    let site = site(world, "gateway")?;
    site.grant(&[(ALICE, rule("edit", "10m"))])?;
    let alice = site.person("ALICE")?;
    let config = kubeconfig(&alice, &site, "")?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    let account = format!("system:serviceaccount:gateway:{}", session_name(&site)?);
    assert_eq!(whoami(&alice, &config)?, account);
    let in_ours = ["--namespace=gateway"];
    let ours = |args: &[&str]| kubectl(&alice, &config, &[args, &in_ours[..]].concat());
    ours(&["create", "configmap", "one", "--from-literal=a=b"])?;
    assert_eq!(ours(&["get", "configmap", "one", "--output=jsonpath={.data.a}"])?, "b");
    ours(&[
        "patch",
        "configmap",
        "one",
        "--type=merge",
        "--patch={\"data\":{\"a\":\"c\"}}",
    ])?;
    assert_eq!(ours(&["get", "configmap", "one", "--output=jsonpath={.data.a}"])?, "c");
    ours(&["delete", "configmap", "one"])?;
    assert!(kubectl(&alice, &config, &["api-resources"])?.contains("deployments"));
    assert!(kubectl(&alice, &config, &["get", "--raw", "/version"])?.contains("gitVersion"));
    kubectl(&alice, &config, &["get", "configmaps", "--all-namespaces"])?;
    // The cluster says no, in its own words.
    let refused = alice.kubectl(&config, &["get", "nodes"])?.expect(1)?;
    assert!(
        refused.err.contains(&format!("User \"{account}\" cannot list")),
        "{refused:?}"
    );
    let protobuf = [
        ("Accept", "application/vnd.kubernetes.protobuf"),
        ("Accept-Encoding", "gzip"),
    ];
    let answer = ask(
        &site.caller("ALICE")?,
        "GET",
        "/api/v1/namespaces/gateway/configmaps",
        &protobuf,
        "",
    );
    // The body is no text, which the caller of this test does not read.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 200));
    Ok(())
}

pub(crate) fn session_name(site: &Site<'_>) -> Outcome<String> {
    let path = site.path_of_only(Kind::Signin)?;
    Ok(path.rsplit('/').next().unwrap_or_default().to_owned())
}

fn caller_without_a_session_is_told_what_to_do(world: &World) -> Outcome {
    let site = site(world, "gateway-none")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let answer = ask(&site.caller("ALICE")?, "GET", "/api/v1/pods", &[], "")?.expect(401)?;
    let advice = "TKA: you are not signed in with the role view: sign in with `tka login`";
    assert_eq!(answer.json()?["message"], advice);
    assert_eq!(
        (answer.json()?["kind"].as_str(), answer.json()?["reason"].as_str()),
        (Some("Status"), Some("Unauthorized"))
    );
    assert_eq!(answer.header("warning"), Some(format!("299 - \"{advice}\"").as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // kubectl drops the message of a 401 at discovery, and prints the warning.
    let alice = site.person("ALICE")?;
    let said = alice.kubectl(&kubeconfig(&alice, &site, "")?, &["get", "pods"])?;
    assert!(said.status != Some(0) && said.err.contains("tka login"), "{said:?}");
    let bob = ask(&site.caller("BOB")?, "GET", "/api/v1/pods", &[], "")?.expect(403)?;
    assert_eq!(bob.json()?["reason"], "Forbidden");
    // A program beside the server is not on the tailnet.
    ask(&site.stranger(), "GET", "/api/v1/pods", &[], "")?.expect(500)?;
    // Without a gateway there is no such path.
    let without = world.site("gateway-off")?;
    without.grant(&[(ALICE, rule("view", "10m"))])?;
    ask(&without.caller("ALICE")?, "GET", "/api/v1/pods", &[], "")?.expect(404)?;
    Ok(())
}

fn address_chooses_the_rule(world: &World) -> Outcome {
    let site = site(world, "gateway-rules")?;
    let oncall = json!({"role": "edit", "period": "10m", "name": "oncall"});
    let high = json!({"role": "view", "period": "10m", "priority": 9});
    site.grant(&[(ALICE, oncall), (ALICE, high)])?;
    let alice = site.person("ALICE")?;
    let accounts = |path: &str| whoami(&alice, &kubeconfig(&alice, &site, path)?);
    alice.tka(&["login", "--quiet"])?.expect(0)?;
    let high = accounts("")?;
    assert_eq!(accounts("/role/view")?, high);
    let missing = alice.kubectl(&kubeconfig(&alice, &site, "/rule/oncall")?, &["get", "pods"])?;
    assert!(missing.err.contains("tka login --rule oncall"), "{missing:?}");
    alice.tka(&["login", "--quiet", "--rule", "oncall"])?.expect(0)?;
    let oncall = accounts("/rule/oncall")?;
    assert_ne!(oncall, high);
    assert_eq!(accounts("/role/edit")?, oncall);
    assert_eq!(accounts("")?, high, "the address means what it meant");
    let caller = site.caller("ALICE")?;
    ask(&caller, "GET", "/rule/nothing/api", &[], "")?.expect(403)?;
    ask(&caller, "GET", "/rule/On%20Call/api", &[], "")?.expect(400)?;
    Ok(())
}

const REVIEW: &str = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;

/// The account that the API server takes a request with these headers for.
fn acts(caller: &Caller, headers: &[(&str, &str)]) -> Outcome<String> {
    let headers = [headers, &[("Content-Type", "application/json")]].concat();
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = ask(caller, "POST", path, &headers, REVIEW)?.expect(201)?;
    Ok(answer.json()?["status"]["userInfo"]["username"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

fn nothing_that_a_caller_sends_changes_who_acts(world: &World) -> Outcome {
    let site = site(world, "gateway-identity")?;
    site.grant(&[(ALICE, rule("view", "10m")), (BOB, rule("cluster-admin", "10m"))])?;
    let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
    alice.sign_in_waiting()?.expect(200)?;
    let own = acts(&alice, &[])?;
    assert!(own.contains(":tka-alice-"), "{own}");
    bob.sign_in_waiting()?.expect(200)?;
    let token = bob.token()?;
    let bearer = format!("Bearer {token}");
    for headers in [
        [("Authorization", bearer.as_str()), ("X-Remote-User", "admin")],
        [("X-Remote-Group", "system:masters"), ("X-Remote-Uid", "1")],
        [("X-Remote-Extra-a", "b"), ("Proxy-Authorization", bearer.as_str())],
        [("Authorization", "Basic YTpi"), ("Tailscale-User-Login", "admin")],
    ] {
        assert_eq!(acts(&alice, &headers)?, own, "{headers:?}");
    }
    // Impersonation is the cluster's to decide, as if the caller held the token: view may not, and cluster-admin may.
    let as_other = [("Impersonate-User", "someone"), ("Content-Type", "application/json")];
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    ask(&alice, "POST", path, &as_other, REVIEW)?.expect(403)?;
    assert_eq!(acts(&bob, &as_other[..1])?, "someone");
    // The role has no way to make a token of another account, and neither does the server's own right.
    let accounts = "/api/v1/namespaces/gateway-identity/serviceaccounts";
    ask(&alice, "GET", "/apis/tka.specht-labs.de/v1alpha1/tkasignins", &[], "")?.expect(403)?;
    ask(
        &alice,
        "POST",
        &format!("{accounts}/default/token"),
        &as_other[1..],
        "{}",
    )?
    .expect(403)?;
    Ok(())
}

fn client_certificate_of_the_server_acts_for_no_caller(world: &World) -> Outcome {
    let site = world.site_with(ServerOptions {
        // The guard lets the server's own account write sessions, and no other.
        guard: false,
        ..options("gateway-x509")
    })?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let admin = world.testbed.kubeconfig();
    assert!(fs::read_to_string(&admin)?.contains("client-certificate"));
    let admin = admin.display().to_string();
    let _process = Process::with_settings(&site, &[("KUBECONFIG", &admin)])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let acts = acts(&alice, &[])?;
    assert!(acts.contains("system:serviceaccount:gateway-x509:tka-alice-"), "{acts}");
    ask(&alice, "GET", "/api/v1/secrets", &[], "")?.expect(403)?;
    Ok(())
}

fn browsers_get_nothing(world: &World) -> Outcome {
    let site = site(world, "gateway-browser")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let own = format!("http://{}", alice.authority());
    for headers in [
        [
            (
                "User-Agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            ("Accept", "*/*"),
        ],
        [("Accept-Language", "en"), ("Origin", own.as_str())],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")],
        [("Origin", "https://evil.example"), ("Accept", "*/*")],
        [("Host", "evil.example"), ("Accept", "*/*")],
    ] {
        let answer = ask(&alice, "GET", "/api/v1/pods", &headers, "")?.expect(403)?;
        assert_eq!(answer.json()?["kind"], "Status", "{headers:?}");
    }
    // Clients of WebSocket that are no browsers say where they connect to.
    ask(&alice, "GET", "/api/v1/pods", &[("Origin", own.as_str())], "")?.expect(200)?;
    Ok(())
}

fn ambiguous_requests_are_refused(world: &World) -> Outcome {
    let site = site(world, "gateway-smuggling")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let host = alice.authority().to_owned();
    for (what, head) in [
        (
            "a folded header",
            "GET /k8s/api HTTP/1.1\r\nHost: @\r\nX-A: b\r\n c\r\n\r\n",
        ),
        (
            "a bare CR",
            "GET /k8s/api HTTP/1.1\r\nHost: @\r\nX-A: b\rX-B: c\r\n\r\n",
        ),
        (
            "Connection: authorization",
            "GET /k8s/api HTTP/1.1\r\nHost: @\r\nConnection: authorization\r\n\r\n",
        ),
        (
            "a way out of the API",
            "GET /k8s/../api/v1alpha1/login HTTP/1.1\r\nHost: @\r\n\r\n",
        ),
        ("an encoded way out", "GET /k8s/%2e%2e/x HTTP/1.1\r\nHost: @\r\n\r\n"),
        (
            "a space before a colon",
            "GET /k8s/api HTTP/1.1\r\nHost: @\r\nContent-Length : 3\r\n\r\nabc",
        ),
        (
            "an upgrade of what cannot be upgraded",
            "GET /k8s/api/v1/namespaces/default/pods/a/exec?command=id HTTP/1.0\r\nHost: @\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
    ] {
        let mut stream = alice.tunnel()?;
        stream.write_all(head.replace('@', &host).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        assert!(line.starts_with("HTTP/1.") && line.contains(" 400"), "{what}: {line}");
    }
    // The length of chunks counts, and the other goes no further: what follows them is no part of the request, and no second one.
    let mut stream = alice.tunnel()?;
    let two_lengths = "POST /k8s/api/v1/namespaces HTTP/1.1\r\nHost: @\r\nConnection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /k8s/api";
    stream.write_all(two_lengths.replace('@', &host).as_bytes())?;
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    Ok(())
}

/// A watch whose first word has come.
pub(crate) struct Watch(TcpStream);

impl Watch {
    pub(crate) fn begin(caller: &Caller) -> Outcome<Self> {
        let mut stream = caller.tunnel()?;
        let path = "/k8s/api/v1/namespaces?watch=true";
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n\r\n",
            caller.authority()
        )?;
        let mut watch = Self(stream);
        let mut seen = String::new();
        while !seen.contains("ADDED") {
            let mut bytes = [0; 4096];
            let length = watch.0.read(&mut bytes)?;
            if length == 0 {
                return Err(format!("the watch did not begin: {seen}").into());
            }
            seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        Ok(watch)
    }

    /// Reads to the end, and says when that was.
    pub(crate) fn ended(mut self) -> Outcome<Instant> {
        let mut bytes = [0; 4096];
        loop {
            match self.0.read(&mut bytes) {
                Ok(1..) => {}
                Ok(0) => return Ok(Instant::now()),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(Instant::now()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn ends_cut_streams_within_a_second(world: &World) -> Outcome {
    let site = site(world, "gateway-ends")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    let begin = || -> Outcome<Watch> {
        alice.sign_in_waiting()?.expect(200)?;
        Watch::begin(&alice)
    };
    let ended = |watch: Watch, since: Instant, what: &str| {
        wait::within(SOON, what, watch.ended()?.saturating_duration_since(since))
    };

    let watch = begin()?;
    let since = Instant::now();
    alice.sign_out()?;
    ended(watch, since, "signing out cuts a watch")?;
    ask(&alice, "GET", "/api/v1/namespaces", &[], "")?.expect(401)?;

    let watch = begin()?;
    let since = Instant::now();
    world.cluster.delete(&site.path_of_only(Kind::Signin)?)?;
    ended(watch, since, "an administrator's deletion cuts a watch")?;
    site.wait_empty()?;

    let watch = begin()?;
    site.grant(&[(BOB, rule("view", "10m"))])?;
    let revoked = wait::until("the end is written", || {
        let signins = site.objects(Kind::Signin)?;
        let is_live = signins
            .iter()
            .any(|signin| signin["metadata"]["deletionTimestamp"].is_null());
        Ok((!is_live).then(Instant::now))
    })?;
    ended(watch, revoked, "a rule that is taken away cuts a watch")?;

    site.grant(&[(ALICE, rule("view", "5s"))])?;
    let watch = begin()?;
    let until = wait::until("the session's end is known", || {
        let signins = site.objects(Kind::Signin)?;
        let until = signins
            .first()
            .and_then(|signin| signin["status"]["valid_until"].as_str());
        Ok(until.and_then(|until| until.parse().ok()))
    })?;
    watch.ended()?;
    let late = wait::since(until);
    assert!(late <= SOON, "its time was over {late:?} ago");
    Ok(())
}

fn silent_watch_holds_and_then_cuts(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site_with(world, options("gateway-silence"))?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let watch = Watch::begin(&alice)?;
    let watches = |request: &Request| request.is("watch", "tkasignins");
    let silent = proxy.arm(Which::first(watches).times(usize::MAX), Fault::Silence);
    silent.wait_hits(1, wait::LIMIT)?;
    let since = Instant::now();
    let ended = watch.ended()?.saturating_duration_since(since);
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(8)).contains(&ended),
        "{ended:?}"
    );
    drop(silent);
    wait::until_true("requests are carried again", || {
        Ok(ask(&alice, "GET", "/api/v1/namespaces", &[], "")?.status == 200)
    })
}

fn requests_lead_from_one_audit_log_to_the_other(world: &World) -> Outcome {
    let (log, options) = Records::of(world, options("gateway-audit"))?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("edit", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let path = "/api/v1/namespaces/gateway-audit/configmaps";
    let body =
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": {"a": "secret text"}}"#;
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", "test/1"),
        ("X-Forwarded-For", "9.9.9.9"),
        ("Audit-ID", "theirs"),
    ];
    ask(&alice, "POST", path, &headers, body)?.expect(201)?;
    ask(&alice, "GET", "/api/v1/nodes", &[], "")?.expect(403)?;
    let carried = |verb: &str| {
        wait::until("the request is recorded", || {
            let all = log.all()?;
            Ok(all
                .into_iter()
                .find(|record| record["decision"] == "carried" && record["api"]["verb"] == verb))
        })
    };
    let created = carried("create")?;
    let api = &created["api"];
    assert_eq!(
        (
            api["resource"].as_str(),
            api["namespace"].as_str(),
            api["status"].as_u64()
        ),
        (Some("configmaps"), Some("gateway-audit"), Some(201))
    );
    assert_eq!(api["sent_bytes"].as_u64(), Some(body.len() as u64));
    assert_eq!(api["user_agent"], "test/1");
    assert_eq!(created["who"]["user"]["login_name"], ALICE);
    assert!(!created.to_string().contains("secret text"));
    assert_eq!(carried("list")?["api"]["status"], 403);

    let id = api["audit_id"].as_str().ok_or("no audit ID")?;
    let theirs = wait::until("the API server has it by the same ID", || {
        let all = records::lines(&world.testbed.audit_log())?;
        Ok(all.into_iter().find(|call| call["auditID"] == id))
    })?;
    assert_eq!(theirs["objectRef"]["name"], "seen");
    let address = created["device"]["addresses"][0].as_str().ok_or("no address")?;
    let sources = theirs["sourceIPs"].as_array().ok_or("no sources")?;
    assert!(sources.iter().any(|source| source == address), "{sources:?}");
    assert!(!theirs["sourceIPs"].to_string().contains("9.9.9.9"));
    Ok(())
}

fn two_hundred_objects_are_carried(world: &World) -> Outcome {
    let site = site(world, "gateway-many")?;
    site.grant(&[(ALICE, rule("edit", "10m"))])?;
    let alice = site.person("ALICE")?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    let config = kubeconfig(&alice, &site, "")?;
    let items: Vec<Value> = (0..200)
        .map(|number| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{number}"), "namespace": "gateway-many"}, "data": {"text": "x".repeat(4000)}}))
        .collect();
    let file = alice.home().join("many.json");
    fs::write(
        &file,
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string(),
    )?;
    let file = file.display().to_string();
    kubectl(&alice, &config, &["apply", "--server-side", "--filename", &file])?;
    let listed = kubectl(
        &alice,
        &config,
        &["get", "configmaps", "--namespace=gateway-many", "--output=json"],
    )?;
    let listed: Value = serde_json::from_str(&listed)?;
    let ours = listed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| item["data"]["text"].as_str().is_some_and(|text| text.len() == 4000));
    assert_eq!(ours.count(), 200);
    Ok(())
}

fn rule_may_give_no_token_or_no_gateway(world: &World) -> Outcome {
    let site = site(world, "gateway-access")?;
    let with = |access: &str| json!({"role": "view", "period": "10m", "access": access});
    site.grant(&[(ALICE, with("gateway"))])?;
    let caller = site.caller("ALICE")?;
    let waiting = caller.sign_in_waiting()?.expect(202)?;
    assert!(!waiting.body.contains("token"), "{}", waiting.body);
    for answer in [
        caller.post("/credential")?,
        caller.get("/kubeconfig")?,
        caller.get("/kubeconfig?credential=exec")?,
    ] {
        let answer = answer.expect(403)?;
        assert!(
            answer.body.contains("gives access through the gateway alone"),
            "{}",
            answer.body
        );
    }
    assert_eq!(
        caller.get("/rules")?.expect(200)?.json()?["items"][0]["access"],
        "gateway"
    );
    let alice = site.person("ALICE")?;
    let config = alice.home().join("gateway.yaml");
    let yaml = caller.send(
        "GET",
        "/kubeconfig?credential=gateway",
        &[("Accept", "application/yaml")],
    )?;
    let yaml = yaml.expect(200)?.body;
    assert!(
        !yaml.contains("token") && yaml.contains(&format!("{}/k8s", site.server.url())),
        "{yaml}"
    );
    fs::write(&config, yaml)?;
    assert!(whoami(&alice, &config)?.contains(":tka-alice-"));

    // The session stays, and what its rule gives follows the policy.
    site.grant(&[(ALICE, with("direct"))])?;
    let refused = ask(&caller, "GET", "/api/v1/pods", &[], "")?.expect(403)?;
    assert!(refused.body.contains("not through the gateway"), "{}", refused.body);
    caller.token()?;
    caller.get("/kubeconfig?credential=gateway")?.expect(403)?;

    let without = world.site("gateway-lacking")?;
    without.grant(&[(ALICE, with("gateway"))])?;
    let refused = without.caller("ALICE")?.post("/login")?.expect(403)?;
    assert!(refused.body.contains("gateway.enabled"), "{}", refused.body);
    assert_eq!(without.counts()?, [0, 0, 0]);
    Ok(())
}

fn watch_comes_to_its_end_when_its_server_stops(world: &World) -> Outcome {
    let site = site(world, "gateway-stop")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let mut watch = Watch::begin(&alice)?;
    let since = Instant::now();
    site.server.stop()?;
    let mut rest = Vec::new();
    watch.0.read_to_end(&mut rest)?;
    // The last chunk, by which a client knows that nothing is missing.
    let end = String::from_utf8_lossy(&rest[rest.len().saturating_sub(40)..]).into_owned();
    assert!(end.ends_with("0\r\n\r\n"), "{end:?}");
    wait::within(Duration::from_secs(4), "a server with a watch stops", since.elapsed())
}
