//! The health listener.

use std::process::Command;

use e2e::user::{ALICE, CAROL};
use e2e::{Answer, Caller, Outcome, World, rule, wait};
use testbed::{Owner, ServerOptions};

crate::tests![
    healthy_server_says_so_at_each_path,
    metrics_have_the_originals_names_and_no_user_names,
    server_is_not_ready_until_its_tailscaled_is_back,
    watch_that_is_forbidden_is_told_until_it_is_allowed,
];

fn get(health: &Caller, path: &str) -> Outcome<Answer> {
    health.send_body("GET", path, &[], &[])
}

fn healthy_server_says_so_at_each_path(world: &World) -> Outcome {
    let site = world.site("health")?;
    let health = site.health()?;
    for path in ["/livez", "/readyz", "/ready"] {
        get(&health, path)?.expect(200)?;
    }
    let ready = get(&health, "/readyz")?.body;
    assert!(
        ready.lines().all(|line| line.starts_with("[+]")) && ready.lines().count() >= 3,
        "{ready}"
    );
    for path in ["/", "/api/v1alpha1/login", "/swagger/"] {
        get(&health, path)?.expect(404)?;
    }
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        let answer = get(&health, path)?;
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(header), Some(value), "{path}");
        }
    }
    Ok(())
}

fn metrics_have_the_originals_names_and_no_user_names(world: &World) -> Outcome {
    let site = world.site("metrics")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let health = site.health()?;
    let metric = |path: &str, line: &str| Ok(get(&health, path)?.expect(200)?.body.lines().any(|found| found == line));
    let wait_for = |path: &str, line: &str| wait::until_true(&format!("{path} has {line}"), || metric(path, line));
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    alice.sign_in()?;
    site.caller("CAROL")?.post("/login")?.expect(403)?;
    site.stranger().post("/login")?.expect(500)?;

    wait_for(
        "/metrics",
        r#"tka_login_attempts_total{cluster_role="",outcome="error"} 1"#,
    )?;
    wait_for(
        "/metrics",
        r#"tka_login_attempts_total{cluster_role="view",outcome="success"} 2"#,
    )?;
    wait_for(
        "/metrics",
        r#"tka_login_attempts_total{cluster_role="",outcome="forbidden"} 1"#,
    )?;
    wait_for("/metrics", r#"tka_user_signins_total{cluster_role="view"} 2"#)?;
    for path in ["/metrics", "/metrics/controller"] {
        wait_for(path, r#"tka_active_user_sessions{cluster_role="view"} 1"#)?;
        let text = get(&health, path)?.body;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("tka_reconciler_duration_count "));
        assert!(count.is_some_and(|count| count != "0"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 0);
        let accept = [("accept", "application/openmetrics-text")];
        let openmetrics = health.send_body("GET", path, &accept, &[])?.expect(200)?.body;
        assert_eq!(openmetrics.matches("# EOF").count(), 1);
        assert!(openmetrics.ends_with("\n# EOF\n"));
        for word in ["username", "alice", ALICE, CAROL] {
            assert!(!text.contains(word), "{path} has {word}");
        }
    }
    alice.sign_out()?;
    wait::until_true("no session is counted", || {
        Ok(!metric(
            "/metrics",
            r#"tka_active_user_sessions{cluster_role="view"} 1"#,
        )?)
    })
}

fn watch_that_is_forbidden_is_told_until_it_is_allowed(world: &World) -> Outcome {
    let site = world.site("unwatched")?;
    let health = site.health()?;
    get(&health, "/readyz")?.expect(200)?;
    let kubectl = |words: &[&str]| {
        let in_namespace = format!("--namespace={}", site.server.namespace());
        world.testbed.kubectl(&[words, &[in_namespace.as_str()]].concat())
    };
    let binding = kubectl(&["get", "rolebindings", "--output=json"])?;
    kubectl(&["delete", "rolebindings", "--all"])?;
    let until = |status: u16, words: &[&str]| {
        wait::until_true(&format!("/readyz answers {status} with {words:?}"), || {
            let ready = get(&health, "/readyz")?;
            Ok(ready.status == status && words.iter().all(|word| ready.body.contains(word)))
        })
    };
    until(
        503,
        &[
            "[-]sessions failed: ",
            "is forbidden",
            "are the chart's Role for tkasignins and its RoleBinding",
        ],
    )?;
    let mut binding: serde_json::Value = serde_json::from_str(&binding)?;
    for item in binding["items"].as_array_mut().into_iter().flatten() {
        item["metadata"] = serde_json::json!({
            "name": item["metadata"]["name"], "namespace": item["metadata"]["namespace"], "labels": item["metadata"]["labels"],
        });
    }
    world.testbed.apply(&binding.to_string())?;
    until(200, &["[+]sessions ok"])
}

fn server_is_not_ready_until_its_tailscaled_is_back(world: &World) -> Outcome {
    let node = world.guest("tka-2", &Owner::tag("tag:tka"))?;
    let site = world.site_on(node, ServerOptions::new("second-node"))?;
    let node = site.node.as_ref().ok_or("it has no node")?;
    let health = site.health()?;
    let wait_ready = || wait::until_true("the server is ready", || Ok(get(&health, "/readyz")?.status == 200));
    get(&health, "/readyz")?.expect(200)?;

    world.testbed.kill("node-tka-2")?;
    get(&health, "/readyz")?.expect(503)?;
    // Until the last of its threads has gone, the port is open and no thread answers.
    wait::until_true("it is said that there is no tailscaled", || {
        let ready = get(&health, "/readyz")?.expect(503)?;
        Ok(ready.body.contains("[-]tailnet failed: no tailscaled listens"))
    })?;
    get(&health, "/livez")?.expect(200)?;
    let ask = || {
        let program = world.testbed.bin().join("tka-server");
        let file = site.server.config_file();
        Command::new(program).arg("ready").arg("--config").arg(file).output()
    };
    let asked = ask()?;
    let said = String::from_utf8(asked.stderr)?;
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(said.contains("[-]tailnet failed") && !said.contains("[+]"), "{said}");

    node.bring_back()?;
    wait_ready()?;
    let asked = ask()?;
    assert!(asked.status.success() && asked.stdout.starts_with(b"[+]"), "{asked:?}");
    world.testbed.tailscale(node, &["down"])?.success()?;
    let ready = get(&health, "/readyz")?.expect(503)?;
    assert!(ready.body.contains("tailscaled is in state Stopped"), "{}", ready.body);

    world.testbed.tailscale(node, &["up"])?.success()?;
    wait_ready()?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    wait::until_true("alice reaches it again", || Ok(alice.post("/login")?.status == 202))
}
