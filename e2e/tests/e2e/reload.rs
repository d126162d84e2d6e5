//! The configuration changes under a running server.

use std::fs;

use e2e::user::{ALICE, CI};
use e2e::{Answer, Caller, Kind, Outcome, Site, World, rule, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::ServerOptions;

crate::tests![
    labels_limits_and_rates_change_without_a_restart,
    bad_configuration_changes_nothing_until_it_is_good,
    machines_lose_sessions_when_disallowed,
    file_that_changes_under_a_mounted_config_map_is_read_again,
    role_off_the_list_is_refused_at_once,
];

/// The server's configuration with what `change` makes of it, put in its place by a rename.
fn change(site: &Site<'_>, change: impl FnOnce(&mut Value)) -> Outcome {
    let file = site.server.config_file();
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    change(&mut config);
    write(site, &config.to_string())
}

fn write(site: &Site<'_>, text: &str) -> Outcome {
    let file = site.server.config_file();
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, file)?)
}

fn label(alice: &Caller) -> Outcome<Value> {
    Ok(alice.get("/cluster-info")?.expect(200)?.json()?["labels"]["environment"].clone())
}

fn wait_label(alice: &Caller, wanted: &str) -> Outcome {
    wait::until_true("the label is the new one", || Ok(label(alice)? == wanted))
}

fn metric(site: &Site<'_>, line: &str) -> Outcome<bool> {
    let metrics = site.health()?.send_body("GET", "/metrics", &[], &[])?.expect(200)?;
    Ok(metrics.body.lines().any(|found| found == line))
}

fn labels_limits_and_rates_change_without_a_restart(world: &World) -> Outcome {
    let site = world.site("reloaded")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let process = site.server.pid()?;
    alice.sign_in_apart("first")?.expect(200)?;
    assert_eq!(label(&alice)?, "testbed");

    change(&site, |config| {
        config["clusterInfo"]["labels"]["environment"] = "changed".into();
        config["operator"]["maxSessionsPerDevice"] = 1.into();
        config["tailscale"]["capName"] = "example.com/cap/another".into();
    })?;
    wait_label(&alice, "changed")?;
    let refusal = alice.sign_in_apart("second")?.expect(403)?.refusal()?;
    assert!(refusal.message.contains("the limit of 1 session"), "{refusal:?}");
    assert_eq!(site.counts()?, [1, 1, 1], "the session that was there goes on");
    let log = fs::read_to_string(site.server.log())?;
    assert!(
        log.lines()
            .any(|line| line.contains("hold after a restart") && line.contains("tailscale.capName")),
        "{log}"
    );

    change(&site, |config| {
        config["operator"]["minPeriod"] = "2h".into();
        config["operator"]["maxSessionsPerDevice"] = 9.into();
    })?;
    wait::until_true("an hour is too short", || {
        Ok(alice.sign_in_apart("first")?.status == 400)
    })?;

    change(&site, |config| {
        config["operator"]["minPeriod"] = "1s".into();
        config["server"]["rateLimit"] = json!({"requestsPerSecond": 1, "burst": 5});
        config["clusterInfo"]["labels"]["environment"] = "slow".into();
    })?;
    let refused: Answer = wait::until("the server has had enough", || {
        let answers = (0..8).map(|_| alice.get("/login")).collect::<Outcome<Vec<_>>>()?;
        Ok(answers.into_iter().find(|answer| answer.status == 429))
    })?;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(site.server.pid()?, process);
    Ok(())
}

fn bad_configuration_changes_nothing_until_it_is_good(world: &World) -> Outcome {
    let site = world.site("badly-reloaded")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let process = site.server.pid()?;
    let good = fs::read_to_string(site.server.config_file())?;
    let is_good = |good: u8| metric(&site, &format!("tka_config_last_reload_successful {good}"));
    assert!(is_good(1)?);
    for bad in [
        good.replace("\"environment\"", "\"environment\": [], \"x\""),
        good.replace("minPeriod", "minPeriodd").replace("testbed\"", "other\""),
        good[..good.len() / 2].to_owned(),
        String::new(),
    ] {
        write(&site, &bad)?;
        wait::until_true("it is found to be bad", || is_good(0))?;
        assert_eq!(label(&alice)?, "testbed");
        site.health()?.send_body("GET", "/readyz", &[], &[])?.expect(200)?;
        write(&site, &good)?;
        wait::until_true("it is good again", || is_good(1))?;
    }
    let log = fs::read_to_string(site.server.log())?;
    assert!(log.contains("did you mean operator.minPeriod?"), "{log}");

    // A person asks for it too.
    let pid = process.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let reloads = |count: u32| {
        metric(
            &site,
            &format!(r#"tka_config_reloads_total{{outcome="success"}} {count}"#),
        )
    };
    assert!(reloads(4)?, "one for each that was good again");
    kill_process(pid.ok_or("it does not run")?, Signal::HUP)?;
    wait::until_true("it was read again", || reloads(5))?;
    assert_eq!(site.server.pid()?, process);
    Ok(())
}

fn machines_lose_sessions_when_disallowed(world: &World) -> Outcome {
    let mut options = ServerOptions::new("machines-off-reloaded");
    options.config = json!({"operator": {"machines": true}});
    let site = world.site_with(options)?;
    site.grant(&[(CI, rule("view", "1h"))])?;
    let machine = site.caller("CI")?;
    machine.sign_in()?;
    assert_eq!(site.objects(Kind::Signin)?.len(), 1);
    change(&site, |config| config["operator"]["machines"] = false.into())?;
    wait::until_true("it is refused", || Ok(machine.get("/login")?.status == 400))?;
    site.wait_empty()
}

/// As the kubelet does it: the file is a link through a link that is renamed.
fn file_that_changes_under_a_mounted_config_map_is_read_again(world: &World) -> Outcome {
    let site = world.site("mounted")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let file = site.server.config_file();
    let folder = file.parent().ok_or("it has no folder")?;
    let text = fs::read_to_string(&file)?;
    let publish = |version: &str| {
        fs::create_dir(folder.join(version))?;
        fs::write(
            folder.join(version).join("config.yaml"),
            text.replace("testbed\"", &format!("{version}\"")),
        )?;
        std::os::unix::fs::symlink(version, folder.join("..data_tmp"))?;
        fs::rename(folder.join("..data_tmp"), folder.join("..data"))
    };
    publish("..1")?;
    std::os::unix::fs::symlink("..data/config.yaml", folder.join("link"))?;
    fs::rename(folder.join("link"), &file)?;
    for version in ["..2", "..3"] {
        publish(version)?;
        wait_label(&alice, version)?;
    }
    Ok(())
}

/// What `helm upgrade --set 'roles={view}'` does, and no pod is restarted for.
fn role_off_the_list_is_refused_at_once(world: &World) -> Outcome {
    let site = world.site("roles-narrowed")?;
    site.grant(&[(ALICE, rule("edit", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let process = site.server.pid()?;
    alice.sign_in_apart("first")?.expect(200)?;

    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/tka:{}:tka",
        site.server.namespace()
    );
    let mut rules = world.cluster.get(&path)?.ok_or("no ClusterRole")?["rules"].clone();
    let mut all = rules.as_array_mut().into_iter().flatten();
    let bind = all.find(|rule| rule["verbs"] == json!(["bind"])).ok_or("no bind")?;
    bind["resourceNames"] = json!(["view"]);
    world.cluster.patch(&path, &json!({"rules": rules}))?;

    let is_refused = |label: &str| Ok(alice.sign_in_apart(label)?.status == 403);
    wait::until_true("the role is given no more", || is_refused("second"))?;
    assert_eq!(site.server.pid()?, process);
    assert_eq!(site.counts()?, [1, 1, 1], "what was given goes on to its end");
    site.server.stop()?;
    site.server.start()?;
    assert!(is_refused("third")?);
    assert_eq!(site.counts()?, [1, 1, 1], "as it does after a restart");
    Ok(())
}
