//! Upgrades and back, with sessions that go on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use e2e::user::ALICE;
use e2e::{Outcome, Person, World, rule, wait};
use serde_json::{Value, json};
use testbed::{BEFORE_SERVER, ServerOptions};

use crate::release::Release;
use crate::silence::Silence;

crate::tests![
    replicas_roll_one_after_the_other_and_back,
    session_outlives_the_upgrade_from_a_chart_without_a_server,
];

/// The same program under another tag: that pods change and sessions do not is about the pods, and a second build would say no more.
const OLDER: &str = "older";
/// How long no replica may answer, at two of them.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
const WAITING: [&str; 2] = ["--wait", "--timeout=150s"];

fn replicas_roll_one_after_the_other_and_back(world: &World) -> Outcome {
    let release = Release::new(world, "upgrade")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    tag_older(world)?;
    let two = "--set=replicas=2";
    release.install(&[&[two, "--set=image.tag=older"], &WAITING[..]].concat())?;
    release.grant_alice()?;
    let urls = release.urls(2)?;
    let node = world.testbed.node("ALICE")?;
    let alice = release.alice(&urls[0])?;
    let token = crate::server::token(world, &alice)?;
    let person = Arc::new(Person::at(world, &node, &urls[0])?);
    person.login()?;
    assert_eq!(release.images()?, [OLDER, OLDER]);
    release.replicas_are_spread_and_leave_one_by_one()?;

    let mut silences = Vec::new();
    let today = env!("CARGO_PKG_VERSION");
    let upgrade = || release.install(&[&[two], &WAITING[..]].concat()).map(drop);
    let roll_back = || {
        release
            .helm(&[&["rollback", "tka", "1"], &WAITING[..]].concat())
            .map(drop)
    };
    let steps: [(&str, &dyn Fn() -> Outcome, &str); 2] =
        [("upgrade", &upgrade, today), ("rollback", &roll_back, OLDER)];
    for (what, step, image) in steps {
        let silence = Silence::begin(&node, &urls, &person)?;
        step()?;
        assert_eq!(release.images()?, [image, image], "after the {what}");
        // Every replica answers again.
        for url in &urls {
            let alice = release.alice(url)?;
            wait::until_true("the replica knows the session", || {
                Ok(alice.get("/login").is_ok_and(|answer| answer.status == 200))
            })?;
        }
        silences.push((what, silence.longest()?));
        assert_eq!(release.sessions()?.len(), 1, "after the {what}");
        assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    }
    for (what, silence) in silences {
        let both = format!("silence of both replicas in the {what}");
        wait::within(LONGEST_SILENCE, &both, silence.replicas)?;
        let typed = format!("the longest time without an answer to `tka` in the {what}");
        wait::within(LONGEST_SILENCE, &typed, silence.tka)?;
    }
    release.uninstall_as_documented()?;
    assert_ne!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    release.is_gone()
}

fn session_outlives_the_upgrade_from_a_chart_without_a_server(world: &World) -> Outcome {
    let name = "before";
    let server = world.testbed.server(ServerOptions {
        chart: Some(chart_of(&world.new_folder("chart-before")?, BEFORE_SERVER)?),
        ..ServerOptions::new(name)
    })?;
    let grants = json!([{ "src": [ALICE], "rules": [rule("cluster-admin", "1h")] }]);
    world.testbed.set_grants(server.capability(), grants)?;
    let release = Release::within(world, name)?;
    assert_eq!(release.capability(), server.capability());
    let token = crate::server::token(world, &release.alice(&server.url())?)?;

    // Its server beside the cluster and the one in the pod are two replicas meanwhile.
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&WAITING)?;
    server.stop()?;
    assert_eq!(release.sessions()?.len(), 1);
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    let alice = release.alice(&release.urls(1)?[0])?;
    wait::until_true("the pod lets Alice sign out", || {
        Ok(alice.post("/logout").is_ok_and(|answer| answer.status == 200))
    })?;
    wait::until_true("the credential is worth nothing", || {
        Ok(world.cluster.status(&token, "GET", "/api/v1/pods")? != 200)
    })?;
    assert!(release.sessions()?.is_empty());
    release.uninstall_as_documented()?;
    release.is_gone()?;
    Ok(server.remove()?)
}

/// Gives the server's image another tag on the node.
fn tag_older(world: &World) -> Outcome {
    let [image, older] = [env!("CARGO_PKG_VERSION"), OLDER].map(|tag| format!("localhost/tka-server:{tag}"));
    let output = Command::new(world.testbed.node_exec())
        .args(["ctr", "images", "tag", "--force", &image, &older])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ctr images tag: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The chart of a commit, in `folder`.
fn chart_of(folder: &Path, commit: &str) -> Outcome<PathBuf> {
    if testbed::unpack_commit(commit, &["charts/tka"], folder)? {
        return Ok(folder.join("charts/tka"));
    }
    Err(format!("the chart of {commit} is not to be had; clone the whole history (`git fetch --unshallow`)").into())
}

impl Release<'_> {
    /// The tags of the images that its pods run.
    fn images(&self) -> Outcome<Vec<String>> {
        let path = r#"--output=jsonpath={range .items[*]}{.spec.containers[0].image}{"\n"}{end}"#;
        let images = self.kubectl(&["get", "pods", path])?;
        let tags = images.lines().filter_map(|image| image.rsplit_once(':'));
        Ok(tags.map(|(_, tag)| tag.to_owned()).collect())
    }

    fn replicas_are_spread_and_leave_one_by_one(&self) -> Outcome {
        let budget: Value =
            serde_json::from_str(&self.kubectl(&["get", "poddisruptionbudget", "tka", "--output=json"])?)?;
        let allowed = || {
            let budget = self.kubectl(&[
                "get",
                "poddisruptionbudget",
                "tka",
                "--output=jsonpath={.status.disruptionsAllowed}",
            ]);
            Ok(budget? == "1")
        };
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        wait::until_true("the budget lets one replica go", allowed)?;
        let pod: Value = serde_json::from_str(&self.kubectl(&["get", "pod", "tka-0", "--output=json"])?)?;
        assert_eq!(
            pod["spec"]["topologySpreadConstraints"][0]["topologyKey"],
            "kubernetes.io/hostname"
        );
        Ok(())
    }
}
