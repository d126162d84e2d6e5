//! A page in the caller's browser, which sends whatever it likes over the caller's connection: it changes nothing and reads nothing.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::user::{ALICE, CAROL};
use e2e::{Answer, Caller, Outcome, Site, World, rule, wait};
use serde_json::json;
use testbed::{Owner, ServerOptions};

use crate::audit::{audited_with, lines};

crate::tests![
    foreign_pages_reach_no_path_and_change_nothing,
    own_pages_and_programs_are_let_through,
    every_answer_carries_the_security_headers,
    server_that_is_renamed_is_called_by_its_new_name,
];

/// What a foreign page makes a browser send, and a browser does not let it leave out.
const FOREIGN: [(&str, &str); 9] = [
    ("Host", "evil.example"),
    ("Host", "127.0.0.1"),
    ("Host", "tka.tailnet.test.evil.example"),
    ("Origin", "https://evil.example"),
    ("Origin", "null"),
    ("Origin", "http://tka.tailnet.test"),
    ("Origin", "http://alice.tailnet.test"),
    ("Sec-Fetch-Site", "cross-site"),
    ("Sec-Fetch-Site", "same-site"),
];
/// What a form sends of any page without the browser asking first.
const FORMS: [(&str, &str); 4] = [
    ("application/x-www-form-urlencoded", "role=view"),
    ("multipart/form-data; boundary=x", "--x--"),
    ("text/plain", r#"{"role": "view"}"#),
    ("Text/Plain;charset=UTF-8", "{}"),
];
/// What browsers sent over plain HTTP when pages had them, and what programs sent, a head each (the recordings' README says how).
const BROWSERS: [&str; 2] = [
    include_str!("../../../crates/tka-server/src/browser/recorded/chromium.http"),
    include_str!("../../../crates/tka-server/src/browser/recorded/firefox.http"),
];
const PROGRAMS: &str = include_str!("../../../crates/tka-server/src/browser/recorded/programs.http");

const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("server", concat!("tka-server/", env!("CARGO_PKG_VERSION"))),
];

/// Everything that the server's document lists, and what it serves beside.
fn requests(caller: &Caller) -> Outcome<Vec<(String, String)>> {
    let document = caller
        .send_body("GET", "/openapi.json", &[], &[])?
        .expect(200)?
        .json()?;
    let paths = document["paths"].as_object().ok_or("the document has no paths")?;
    let mut requests: Vec<_> = paths
        .iter()
        .flat_map(|(path, operations)| {
            let methods = operations
                .as_object()
                .into_iter()
                .flat_map(|operations| operations.keys());
            methods.map(|method| (method.to_uppercase(), path.replace("{name}", "tka-alice")))
        })
        .collect();
    assert!(requests.len() >= 9, "{requests:?}");
    for path in ["/openapi.json", "/swagger/", "/", "/nothing"] {
        requests.push(("GET".into(), path.into()));
    }
    Ok(requests)
}

/// A site that lets through as much as a test needs to send, and its audit log.
fn site<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, PathBuf)> {
    let mut options = ServerOptions::new(name);
    options.config = json!({"server": {"rateLimit": {"requestsPerSecond": 1000, "burst": 1000}}});
    let (site, log) = audited_with(world, options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    Ok((site, log))
}

/// The heads of a recording, each with its kind.
fn heads(recording: &str) -> impl Iterator<Item = (&str, &str)> {
    let kind = |head: &str| head.split(' ').nth(1).unwrap_or_default().len();
    recording.trim().split("\n\n").map(move |head| {
        let start = head.find('/').unwrap_or_default();
        (&head[start..start + kind(head)], head)
    })
}

/// Sends a recorded head to `path`, and returns the status of the answer.
fn replay(caller: &Caller, head: &str, path: &str) -> Outcome<Option<u16>> {
    let authority = caller.authority();
    let head = head.replace("http://tka.tailnet.test", &format!("http://{authority}"));
    let mut lines = head.lines();
    let method = lines.next().and_then(|line| line.split(' ').next()).unwrap_or_default();
    let headers = lines.flat_map(|line| [line, "\r\n"]).collect::<String>();
    caller.write(format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{headers}\r\n").as_bytes())
}

/// How many credentials were issued: as the server records it, and as the API server does.
fn issued(site: &Site, log: &Path) -> Outcome<[usize; 2]> {
    let records = lines(log)?;
    let records = records
        .iter()
        .filter(|record| record["decision"] == "credential_issued");
    let requests = lines(&site.world.testbed.audit_log())?;
    let requests = requests.iter().filter(|request| {
        let object = &request["objectRef"];
        object["subresource"] == "token" && object["namespace"] == site.server.namespace()
    });
    Ok([records.count(), requests.count()])
}

/// cases.md 11.3: what real browsers send over plain HTTP gets no credential by GET, whatever made them send it.
fn browsers_get_nothing(site: &Site, caller: &Caller, log: &Path) -> Outcome {
    let before = issued(site, log)?;
    for (kind, head) in BROWSERS.into_iter().flat_map(heads) {
        let is_own_post = kind == "/own-post";
        let is_post = head.starts_with("POST");
        for path in ["/api/v1alpha1/kubeconfig", "/api/v1alpha1/kubeconfig?credential=token"] {
            if !is_post {
                assert_eq!(replay(caller, head, path)?, Some(403), "{path}: {head}");
            }
        }
        for path in [
            "/api/v1alpha1/login",
            "/api/v1alpha1/credential",
            "/api/v1alpha1/logout",
        ] {
            if is_post && !is_own_post {
                assert_eq!(replay(caller, head, path)?, Some(403), "{path}: {head}");
            }
        }
    }
    assert_eq!(issued(site, log)?, before);
    Ok(())
}

/// Programs get theirs, that of the original's CLI among them.
fn programs_get_a_credential_each(site: &Site, caller: &Caller, log: &Path) -> Outcome {
    let before = issued(site, log)?;
    let mut count = 0;
    for (kind, head) in heads(PROGRAMS) {
        assert_eq!(replay(caller, head, "/api/v1alpha1/kubeconfig")?, Some(200), "{kind}");
        count += 1;
    }
    wait::until_true("each is recorded", || {
        Ok(issued(site, log)? == before.map(|before| before + count))
    })
}

fn attack(caller: &Caller, requests: &[(String, String)]) -> Outcome {
    for (method, path) in requests {
        for header in FOREIGN {
            let answer = caller.send_body(method, path, &[header], &[])?.expect(403);
            let answer = answer.map_err(|error| format!("{header:?}: {error}"))?;
            answer.refusal()?;
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        for (media_type, body) in FORMS {
            // A browser sends no body with a GET, and nothing is read of one.
            if method == "GET" {
                continue;
            }
            let form = [("Content-Type", media_type)];
            let answer = caller.send_body(method, path, &form, body.as_bytes())?.expect(415);
            answer.map_err(|error| format!("{media_type}: {error}"))?.refusal()?;
        }
    }
    Ok(())
}

fn foreign_pages_reach_no_path_and_change_nothing(world: &World) -> Outcome {
    let (site, log) = site(world, "foreign-pages")?;
    let alice = site.caller("ALICE")?;
    let requests = requests(&alice)?;
    attack(&alice, &requests)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    // A browser asks first where a page wants more than a form: nothing is allowed.
    let ask = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let answer = alice.send("OPTIONS", "/login", &ask)?.expect(403)?;
    assert_eq!(answer.header("access-control-allow-methods"), None);

    let signed_in = alice.post("/login")?.expect(202)?;
    let token = alice.token()?;
    attack(&alice, &requests)?;
    browsers_get_nothing(&site, &alice, &log)?;
    programs_get_a_credential_each(&site, &alice, &log)?;
    assert_eq!(site.counts()?, [1, 1, 1]);
    assert_eq!(
        alice.get("/login")?.expect(200)?.body,
        signed_in.body,
        "not extended either"
    );
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    Ok(())
}

fn own_pages_and_programs_are_let_through(world: &World) -> Outcome {
    let (site, _log) = site(world, "own-pages")?;
    let alice = site.caller("ALICE")?;
    let authority = alice.authority().to_owned();
    let origin = format!("http://{authority}");
    let address = world.testbed.node("TKA")?.addresses()[0].clone();
    for headers in [
        [("Host", authority.as_str()), ("Origin", origin.as_str())],
        [("Host", authority.as_str()), ("Sec-Fetch-Site", "same-origin")],
        [("Host", authority.as_str()), ("Sec-Fetch-Site", "none")],
        [("Host", "tka"), ("Accept", "*/*")],
        [("Host", address.as_str()), ("Accept", "*/*")],
    ] {
        let answer = alice.send("POST", "/login", &headers)?.expect(202);
        answer.map_err(|error| format!("{headers:?}: {error}"))?;
    }
    assert_eq!(site.counts()?, [1, 1, 1]);
    // The browser of the API is a page like any other: it reads, and gets no credential by GET.
    let browser = [("User-Agent", "Mozilla/5.0"), ("Accept-Language", "en")];
    for path in [
        "/swagger/",
        "/openapi.json",
        "/api/v1alpha1/login",
        "/api/v1alpha1/rules",
    ] {
        alice.send_body("GET", path, &browser, &[])?.expect(200)?;
    }
    alice
        .send("GET", "/kubeconfig?credential=exec", &browser)?
        .expect(200)?;
    alice.send("GET", "/kubeconfig", &browser)?.expect(403)?.refusal()?;
    Ok(())
}

fn every_answer_carries_the_security_headers(world: &World) -> Outcome {
    let mut options = ServerOptions::new("headers");
    options.config = json!({"server": {"rateLimit": {"requestsPerSecond": 1, "burst": 30}}});
    let (site, log) = audited_with(world, options)?;
    site.grant(&[(ALICE, rule("view", "1h")), (CAROL, rule("no-such-role", "1h"))])?;
    let (alice, carol) = (site.caller("ALICE")?, site.caller("CAROL")?);
    let any = |caller: &Caller, method, path| caller.send_body(method, path, &[], &[]);
    let has_all = |answer: Answer| {
        for (header, value) in HEADERS {
            let found = answer.header(header);
            assert_eq!(found, Some(value), "{} answered {}", answer.request, answer.status);
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "form-action 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
    };
    has_all(alice.get("/login")?.expect(401)?);
    has_all(alice.post("/login")?.expect(202)?);
    has_all(alice.get("/login")?.expect(200)?);
    has_all(alice.get("/kubeconfig?credential=exec")?.expect(200)?);
    has_all(any(&alice, "GET", "/swagger/")?.expect(200)?);
    has_all(any(&alice, "GET", "/swagger")?.expect(303)?);
    has_all(any(&alice, "GET", "/nothing")?.expect(404)?);
    has_all(any(&alice, "GET", "/api/v1alpha1/logout")?.expect(405)?);
    has_all(
        alice
            .send("POST", "/login", &[("Origin", "https://evil.example")])?
            .expect(403)?,
    );
    has_all(
        alice
            .send_body("POST", "/api/v1alpha1/login", &[("Content-Type", "text/plain")], b"x")?
            .expect(415)?,
    );
    let json = [("Content-Type", "application/json")];
    has_all(
        alice
            .send_body("POST", "/api/v1alpha1/login", &json, b"{")?
            .expect(400)?,
    );
    has_all(
        alice
            .send_body("POST", "/api/v1alpha1/login", &json, &vec![b' '; 20_000])?
            .expect(413)?,
    );
    has_all(carol.post("/login")?.expect(403)?);
    has_all(site.stranger().get("/login")?.expect(500)?);
    fs::remove_dir_all(log.parent().ok_or("the file is in no folder")?)?;
    has_all(alice.post("/credential")?.expect(503)?);
    has_all(wait::until("the server has had enough", || {
        let answers = (0..20).map(|_| alice.get("/login")).collect::<Outcome<Vec<_>>>()?;
        Ok(answers.into_iter().find(|answer| answer.status == 429))
    })?);
    Ok(())
}

fn server_that_is_renamed_is_called_by_its_new_name(world: &World) -> Outcome {
    let node = world.guest("before", &Owner::tag("tag:tka"))?;
    let site = world.site_on(node, ServerOptions::new("renamed"))?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let node = site.node.as_ref().ok_or("it has no node")?;
    world.testbed.change_node(node, &["rename", "after"])?;
    let url = site.server.url().replace("before", "after");
    let alice = Caller::on(&world.testbed.node("ALICE")?, &url, &world.tokens)?;
    wait::until_true("it is served by its new name", || {
        Ok(alice.get("/login").is_ok_and(|answer| answer.status == 401))
    })?;
    let old = site.server.url().replace("http://", "");
    alice.send("GET", "/login", &[("Host", &old)])?.expect(403)?.refusal()?;
    alice.sign_in()?;
    let kubeconfig = alice.get("/kubeconfig?credential=exec")?.expect(200)?.body;
    assert!(kubeconfig.contains(&url), "{kubeconfig}");
    Ok(())
}
