//! Elevation: the same address and the same kubeconfig have a higher role for a while.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::user::{ALICE, BOB};
use e2e::{Answer, Caller, Kind, Outcome, Pair, Person, Records, Said, Site, World, rule, wait};
use serde_json::{Value, json};
use testbed::{Owner, ServerOptions, with_gateway};

use crate::gateway::{Watch, ask, options};

crate::tests![
    same_context_gains_and_loses_the_role,
    others_approve_it_and_the_policy_takes_it_away,
    ends_reach_every_request_and_stream,
    elevation_is_of_one_device_and_has_no_token,
    nothing_begins_by_use_beneath_an_elevation,
    elevation_acts_as_its_own_rule_says,
    every_replica_knows_it,
    server_without_a_gateway_elevates_none,
];

/// The ordinary rule, and what a device is elevated to.
fn site<'w>(world: &'w World, name: &str) -> Outcome<(Records, Site<'w>)> {
    let (records, options) = Records::of(world, options(name))?;
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, ordinary()), (ALICE, oncall())])?;
    Ok((records, site))
}

fn ordinary() -> Value {
    json!({"role": "view", "period": "1h", "priority": 5})
}

fn oncall() -> Value {
    json!({"role": "edit", "period": "1h", "name": "oncall"})
}

fn login(caller: &Caller, query: &str, body: &Value) -> Outcome<Answer> {
    caller.send_json("POST", &format!("/login{query}"), &[("prefer", "wait=10")], body)
}

/// Elevates the caller's device, and returns the name of the session.
fn elevate(caller: &Caller, more: &[(&str, &str)]) -> Outcome<String> {
    let mut body = json!({"rule": "oncall", "elevate": true});
    for (field, value) in more {
        body[*field] = json!(value);
    }
    let answer = login(caller, "", &body)?.expect(200)?.json()?;
    assert_eq!(answer["credential"], Value::Null, "{answer}");
    assert_eq!(answer["session"]["label"], "elevation", "{answer}");
    let clusters = answer["kubeconfig"]["clusters"].as_object().ok_or("no clusters")?;
    assert!(
        clusters
            .values()
            .all(|one| one["server"].as_str().is_some_and(|url| url.ends_with("/k8s")))
    );
    Ok(answer["session"]["name"].as_str().ok_or("no name")?.to_owned())
}

/// The name of the session that acts for requests to that address, and the warning that comes with the answer.
fn acts(caller: &Caller, address: &str) -> Outcome<(String, Option<String>)> {
    let path = format!("{address}/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let body = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;
    let answer = ask(caller, "POST", &path, &[("content-type", "application/json")], body)?.expect(201)?;
    let username = answer.json()?["status"]["userInfo"]["username"].to_string();
    let name = username.trim_matches('"').rsplit(':').next().unwrap_or_default();
    Ok((name.to_owned(), answer.header("warning").map(str::to_owned)))
}

fn session(answer: &Answer) -> Outcome<String> {
    let answer = answer.json()?;
    Ok(answer["session"]["name"].as_str().ok_or("no name")?.to_owned())
}

const OVER: &str = "299 - \"TKA: your elevation to edit (rule oncall) is over";

fn over_as_view() -> String {
    format!("{OVER}: this acts with the role view\"")
}

fn creates(person: &Person, config: &Path, name: &str) -> Outcome<Said> {
    person.kubectl(config, &["create", "configmap", name, "--namespace=default"])
}

fn prompt(person: &Person, config: &Path) -> Outcome<String> {
    let mut prompt = person.typed(&["status", "--prompt"]);
    Ok(String::from_utf8(prompt.env("KUBECONFIG", config).output()?.stdout)?)
}

fn same_context_gains_and_loses_the_role(world: &World) -> Outcome {
    let (records, site) = site(world, "elevation")?;
    let alice = site.person("ALICE")?;
    let address = format!("{}/k8s", site.server.url());
    let config = alice.kubeconfig_of(&address)?;
    let view = alice.kubeconfig_of(&format!("{address}/role/view"))?;
    alice.tka(&["login", "--quiet", "--via=gateway"])?.expect(0)?;
    let refused = creates(&alice, &config, "elevation")?.expect(1)?;
    assert!(
        refused.err.contains("forbidden") && !refused.err.contains("elevation to"),
        "{refused:?}"
    );

    let said = alice
        .tka(&["elevate", "--rule", "oncall", "--for", "30m", "--reason", "pager 4711"])?
        .expect(0)?;
    assert!(
        said.err.contains("edit (rule oncall)") && (said.err.contains("in 29 min") || said.err.contains("in 30 min")),
        "{said:?}"
    );
    let created = creates(&alice, &config, "elevation")?.expect(0)?;
    assert!(created.err.is_empty(), "{created:?}");
    // What names a rule means that rule.
    creates(&alice, &view, "elevation-2")?.expect(1)?;
    let status: Value = serde_json::from_str(&alice.tka(&["status", "-o", "json"])?.expect(0)?.out)?;
    let items = status["items"].as_array().ok_or("no items")?;
    let elevated = items.iter().filter(|item| item["elevation"] == true);
    assert_eq!(
        elevated.map(|item| item["role"].clone()).collect::<Vec<_>>(),
        ["edit"],
        "{status}"
    );
    let shown = prompt(&alice, &config)?;
    assert!(shown.starts_with("^edit@") && shown.contains("29m"), "{shown}");
    assert_eq!(prompt(&alice, &view)?, "", "tka wrote no such context");

    alice.tka(&["elevate", "--end"])?.expect(0)?;
    let refused = creates(&alice, &config, "elevation-3")?.expect(1)?;
    let warning = "Warning: TKA: your elevation to edit (rule oncall) is over: this acts with the role view";
    assert!(
        refused.err.contains(warning) && refused.err.contains("forbidden"),
        "{refused:?}"
    );
    let refused = creates(&alice, &view, "elevation-4")?.expect(1)?;
    assert!(!refused.err.contains("elevation to"), "it names a rule: {refused:?}");
    assert!(!prompt(&alice, &config)?.starts_with('^'));
    let none = alice.tka(&["elevate", "--end"])?.expect(3)?;
    assert!(none.err.contains("is not elevated"), "{none:?}");

    // It ends by its time as well.
    alice.tka(&["elevate", "--rule", "oncall", "--for", "4s"])?.expect(0)?;
    kubectl_works(&alice, &config)?;
    wait::until_true("its time is over", || {
        Ok(alice.kubectl(&config, &["get", "namespaces"])?.err.contains(warning))
    })?;
    kubectl_works(&alice, &config)?;
    // What ends by its time acts no more at once. The record follows when the operator has ended it.
    wait::until_true("each change of an elevation is recorded", || {
        let all = records.all()?;
        let elevations = all.iter().filter(|record| record["session"]["label"] == "elevation");
        let decisions: Vec<_> = elevations.filter_map(|record| record["decision"].as_str()).collect();
        Ok(["signed_in", "signed_out", "expired"]
            .iter()
            .all(|one| decisions.contains(one)))
    })?;
    let reasons = records.all()?.into_iter();
    assert!(reasons.filter(|one| one["session"]["reason"] == "pager 4711").count() > 0);
    alice.kubectl(&config, &["auth", "whoami"])?.expect(0)?;
    Ok(())
}

fn kubectl_works(person: &Person, config: &Path) -> Outcome {
    person.kubectl(config, &["get", "namespaces"])?.expect(0).map(drop)
}

fn others_approve_it_and_the_policy_takes_it_away(world: &World) -> Outcome {
    let site = world.site_with(options("elevation-approval"))?;
    let mut approved = oncall();
    // The highest, and yet no rule that an open address means.
    (approved["approval"], approved["priority"]) = (json!({"count": 1}), json!(9));
    site.grant(&[(BOB, ordinary()), (BOB, approved)])?;
    site.grant_oversight(&[(ALICE, json!({"approve": ["oncall"]}))])?;
    let (alice, bob) = (site.person("ALICE")?, site.person("BOB")?);
    let caller = site.caller("BOB")?;
    let as_ever = || session(&login(&caller, "?via=gateway", &json!({"role": "view"}))?.expect(200)?);
    let ordinary_session = as_ever()?;

    let asks = ["elevate", "--rule", "oncall", "--reason", "pager 4711"];
    bob.tka(&[&asks[..], &["--no-wait"]].concat())?.expect(9)?;
    assert_eq!(acts(&caller, "")?, (ordinary_session.clone(), None));
    let waiting = alice.tka(&["approvals", "-o", "json"])?.expect(0)?.out;
    let waiting: Value = serde_json::from_str(&waiting)?;
    assert_eq!(waiting["items"][0]["elevation"], true, "{waiting}");
    let name = waiting["items"][0]["session"].as_str().ok_or("no name")?.to_owned();
    let shown = alice.tka(&["approvals", "show", &name])?.expect(0)?.out;
    assert!(shown.contains("every program on that device"), "{shown}");

    let withdrawn = bob.tka(&["elevate", "--end"])?.expect(0)?;
    assert!(withdrawn.err.contains("waits for approval no more"), "{withdrawn:?}");
    alice.tka(&["approvals", "approve", &name])?.expect(3)?;
    bob.tka(&["elevate", "--end"])?.expect(3)?;
    assert_eq!(
        acts(&caller, "")?,
        (ordinary_session.clone(), None),
        "what it had goes on"
    );

    // Who signs out wants no elevation either.
    bob.tka(&[&asks[..], &["--no-wait"]].concat())?.expect(9)?;
    caller.sign_out()?;
    alice.tka(&["approvals", "approve", &name])?.expect(3)?;
    site.wait_empty()?;

    let ordinary_session = as_ever()?;
    bob.tka(&[&asks[..], &["--no-wait"]].concat())?.expect(9)?;
    alice.tka(&["approvals", "approve", &name])?.expect(0)?;
    bob.tka(&asks)?.expect(0)?;
    assert_eq!(acts(&caller, "")?, (name.clone(), None));
    assert_eq!(acts(&caller, "/role/view")?, (ordinary_session.clone(), None));

    // The rule is taken away, and the elevation with it.
    let watch = Watch::begin(&caller)?;
    site.grant(&[(BOB, ordinary())])?;
    watch.ended()?;
    assert_eq!(acts(&caller, "")?, (ordinary_session, Some(over_as_view())));
    Ok(())
}

fn ends_reach_every_request_and_stream(world: &World) -> Outcome {
    let (_, site) = site(world, "elevation-ends")?;
    let alice = site.caller("ALICE")?;
    let ordinary_session = session(&alice.sign_in_waiting()?.expect(200)?)?;
    for _ in 0..10 {
        // The request after the answer is elevated, each time.
        let name = elevate(&alice, &[])?;
        assert_eq!(acts(&alice, "")?, (name.clone(), None));
        alice.send("DELETE", &format!("/sessions/{name}"), &[])?.expect(200)?;
        wait::until_true("the ordinary session acts", || {
            let (acting, warning) = acts(&alice, "")?;
            Ok(acting == ordinary_session && warning == Some(over_as_view()))
        })?;
        assert_eq!(acts(&alice, "/role/view")?, (ordinary_session.clone(), None));
    }
    // Its streams end with it, and others stay.
    let ordinary_watch = Watch::begin(&alice)?;
    let name = elevate(&alice, &[])?;
    let watch = Watch::begin(&alice)?;
    let since = Instant::now();
    alice.send("DELETE", &format!("/sessions/{name}"), &[])?.expect(200)?;
    let took = watch.ended()?.saturating_duration_since(since);
    wait::within(Duration::from_secs(2), "its streams end", took)?;
    // The end of the ordinary session ends no elevation, and no watch of it. Signing out ends both.
    let name = elevate(&alice, &[])?;
    alice
        .send("DELETE", &format!("/sessions/{ordinary_session}"), &[])?
        .expect(200)?;
    ordinary_watch.ended()?;
    assert_eq!(acts(&alice, "")?, (name, None));
    let watch = Watch::begin(&alice)?;
    alice.sign_out()?;
    watch.ended()?;
    site.wait_empty()?;
    let refused = ask(&alice, "GET", "/api/v1/namespaces", &[], "")?.expect(401)?;
    let warnings = refused.header_values("warning");
    assert!(warnings.iter().any(|one| *one == format!("{OVER}\"")), "{warnings:?}");
    assert!(warnings.iter().any(|one| one.contains("tka login")), "{warnings:?}");
    Ok(())
}

fn elevation_is_of_one_device_and_has_no_token(world: &World) -> Outcome {
    let (_, site) = site(world, "elevation-device")?;
    let direct = json!({"role": "admin", "period": "1h", "name": "wires", "access": "direct"});
    site.grant(&[(ALICE, ordinary()), (ALICE, oncall()), (ALICE, direct)])?;
    let alice = site.caller("ALICE")?;
    let phone = world.guest("elevation-phone", &Owner::user(ALICE))?;
    let phone = site.caller_on(&phone)?;
    for caller in [&alice, &phone] {
        caller.sign_in_waiting()?.expect(200)?;
    }
    let (own, of_phone) = (acts(&alice, "")?.0, acts(&phone, "")?.0);
    for (query, body, status) in [
        ("", json!({"session": "elevation"}), 400),
        ("", json!({"session": "elevation", "rule": "oncall"}), 400),
        ("", json!({"session": "shell-1", "elevate": true}), 400),
        ("", json!({"elevate": null}), 400),
        ("?via=direct", json!({"elevate": true}), 400),
        ("", json!({"elevate": true, "rule": "wires"}), 403),
        ("", json!({"elevate": true, "rule": "none"}), 403),
        ("", json!({"elevate": true, "rule": "oncall", "period": "2h"}), 400),
    ] {
        login(&alice, query, &body)?.expect(status)?.refusal()?;
        assert_eq!(acts(&alice, "")?, (own.clone(), None), "{body}");
    }
    assert_eq!(site.counts()?, [2, 2, 2]);
    let name = elevate(&alice, &[("period", "10m")])?;
    assert_eq!(acts(&alice, "")?.0, name);
    assert_eq!(acts(&phone, "")?, (of_phone, None));
    let body = json!({"session": name}).to_string();
    let headers = [("content-type", "application/json")];
    let refused = alice.send_body("POST", "/api/v1alpha1/credential", &headers, body.as_bytes())?;
    let refused = refused.expect(403)?.refusal()?;
    assert!(refused.message.contains("has no token"), "{refused:?}");
    // Again extends it.
    assert_eq!(elevate(&alice, &[("period", "20m")])?, name);
    assert_eq!(site.counts()?, [3, 3, 3]);
    // What one signs in to without saying more is as ever.
    assert_eq!(alice.get("/login")?.expect(200)?.json()?["role"], "view");
    // Signing out here leaves the other device signed in.
    alice.sign_out()?;
    wait::until_true("one session is left", || Ok(site.counts()? == [1, 1, 1]))
}

fn nothing_begins_by_use_beneath_an_elevation(world: &World) -> Outcome {
    let (_, site) = site(world, "elevation-use")?;
    let mut on_use = ordinary();
    on_use["sign_in"] = json!("on_use");
    // Two of the highest priority: which one an open address means is not clear, but for the elevation.
    let tied = json!({"role": "admin", "period": "1h", "priority": 5});
    site.grant(&[(ALICE, on_use.clone()), (ALICE, oncall()), (ALICE, tied)])?;
    let alice = site.caller("ALICE")?;
    ask(&alice, "GET", "/api/v1/namespaces", &[], "")?.expect(400)?;
    let name = elevate(&alice, &[])?;
    assert_eq!(acts(&alice, "")?, (name.clone(), None));
    site.grant(&[(ALICE, on_use), (ALICE, oncall())])?;
    assert_eq!(acts(&alice, "")?, (name.clone(), None));
    assert_eq!(site.objects(Kind::Signin)?.len(), 1);
    alice.send("DELETE", &format!("/sessions/{name}"), &[])?.expect(200)?;
    wait::until_true("use begins the ordinary session", || {
        let (acting, warning) = acts(&alice, "")?;
        Ok(acting != name && warning == Some(over_as_view()))
    })
}

/// What the elevated rule says of recordings counts, and not what the ordinary one says.
fn elevation_acts_as_its_own_rule_says(world: &World) -> Outcome {
    let site = world.site_with(options("elevation-recorded"))?;
    let mut recorded = oncall();
    recorded["recording"] = json!("required");
    site.grant(&[(ALICE, ordinary()), (ALICE, recorded)])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(200)?;
    let forwards = || -> Outcome<String> {
        let path = "/api/v1/namespaces/default/pods/none/portforward";
        let headers = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let answer = ask(&alice, "POST", path, &headers, "")?;
        Ok(answer.json()?["message"].to_string())
    };
    assert!(forwards()?.contains("pods \\\"none\\\""), "{}", forwards()?);
    let name = elevate(&alice, &[])?;
    assert!(forwards()?.contains("must be recorded"), "{}", forwards()?);
    alice.send("DELETE", &format!("/sessions/{name}"), &[])?.expect(200)?;
    wait::until_true("it is as before", || Ok(forwards()?.contains("pods \\\"none\\\"")))
}

fn every_replica_knows_it(world: &World) -> Outcome {
    let pair = Pair::new(world, "elevation-replicas", &with_gateway())?;
    pair.grant(&[(ALICE, ordinary()), (ALICE, oncall())])?;
    let [a, b] = pair.sites();
    let (a, b) = (a.caller("ALICE")?, b.caller("ALICE")?);
    let ordinary_session = session(&a.sign_in_waiting()?.expect(200)?)?;
    let name = elevate(&a, &[])?;
    assert_eq!(acts(&a, "")?, (name.clone(), None));
    // Until its watch has told it, the other acts as ever.
    wait::until_true("the other replica knows it", || {
        Ok(acts(&b, "")? == (name.clone(), None))
    })?;
    b.send("DELETE", &format!("/sessions/{name}"), &[])?.expect(200)?;
    for replica in [&b, &a] {
        let over = (ordinary_session.clone(), Some(over_as_view()));
        wait::until_true("it is over everywhere", || Ok(acts(replica, "")? == over))?;
    }
    Ok(())
}

fn server_without_a_gateway_elevates_none(world: &World) -> Outcome {
    let site = world.site_with(ServerOptions::new("elevation-none"))?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let refused = login(&site.caller("ALICE")?, "", &json!({"elevate": true}))?;
    let refused = refused.expect(403)?.refusal()?;
    assert!(refused.message.contains("has no gateway"), "{refused:?}");
    let said = site.person("ALICE")?.tka(&["elevate"])?.expect(8)?;
    assert!(said.err.contains("has no gateway"), "{said:?}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}
