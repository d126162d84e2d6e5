//! Broken surroundings: what is wrong is said where people look, and the server never restarts for it.

use std::process::{Command, Stdio};

use e2e::{Outcome, World, wait};
use serde_json::Value;

use crate::release::Release;

crate::tests![
    wrong_auth_key_is_told_and_the_server_waits,
    missing_secret_and_missing_role_are_told,
    control_server_that_does_not_answer_is_told,
    missing_authority_is_told_and_the_server_waits,
    state_that_may_not_be_read_is_told_and_the_server_starts,
];

/// Nothing listens there.
const NO_CONTROL_SERVER: &str = "--set=tailscale.controlUrl=https://10.99.0.1:9";

fn wrong_auth_key_is_told_and_the_server_waits(world: &World) -> Outcome {
    let release = Release::new(world, "wrong-key")?;
    release.set_auth_key("not-a-key")?;
    let notes = release.install(&[])?;
    // What the control server says of the key, and what to do.
    let words = ["NeedsLogin", "The last login error was", "TS_AUTHKEY"];
    release.tells(&words)?;
    release.notes_lead_to(&notes, &words)?;
    release.server_never_restarted()
}

fn missing_secret_and_missing_role_are_told(world: &World) -> Outcome {
    let release = Release::new(world, "no-secret")?;
    release.install(&["--set=roles={view,viewer}"])?;
    // The path has the name of the Secret and its key.
    release.tells(&["no tailscaled listens", "/var/run/secrets/tailscale/"])?;
    release.tells(&["this cluster has no ClusterRole viewer", "kubectl get clusterroles"])?;
    let events = release.warnings()?;
    assert!(events.contains("MissingRoles"), "{events}");
    release.server_never_restarted()
}

fn control_server_that_does_not_answer_is_told(world: &World) -> Outcome {
    let release = Release::new(world, "no-control")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&[NO_CONTROL_SERVER])?;
    release.tells(&["NeedsLogin", "https://10.99.0.1:9/key", "connection refused"])?;
    release.server_never_restarted()
}

fn missing_authority_is_told_and_the_server_waits(world: &World) -> Outcome {
    let release = Release::new(world, "no-authority")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&["--set=tailscale.caCert.configMap.name=missing"])?;
    release.tells(&[
        "no tailscaled listens",
        "does ConfigMap missing exist in this namespace",
    ])?;
    release.server_never_restarted()
}

/// containerboot ends at once then. The server starts all the same.
fn state_that_may_not_be_read_is_told_and_the_server_starts(world: &World) -> Outcome {
    let release = Release::new(world, "no-rights")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&[])?;
    release.kubectl(&["delete", "rolebinding", "tka:tailscale"])?;
    release.kubectl(&["delete", "pod", "tka-0", "--grace-period=1"])?;
    release.tells(&["no tailscaled listens", "missing get permission on secret", "tka-0"])?;
    release.server_never_restarted()
}

impl Release<'_> {
    /// Returns when a Warning Event on the pod, the server's log and `tka-server ready` say all of `words`.
    fn tells(&self, words: &[&str]) -> Outcome {
        let has_all = |said: &str| words.iter().all(|word| said.contains(word));
        wait::until_true(&format!("an Event says {words:?}"), || Ok(has_all(&self.warnings()?)))?;
        wait::until_true(&format!("the log says {words:?}"), || {
            Ok(has_all(&self.kubectl(&["logs", "tka-0", "--container=server"])?))
        })?;
        wait::until_true(&format!("`tka-server ready` says {words:?}"), || {
            let ready = ["/usr/bin/tka-server", "ready", "--config=/etc/tka/config.yaml"];
            let exec = [&["exec", "tka-0", "--container=server", "--"], &ready[..]].concat();
            // It fails, and says so on standard error.
            Ok(self.kubectl(&exec).is_err_and(|error| has_all(&error.to_string())))
        })
    }

    /// Every command of the installation's `notes` works, but for the one that fails where the server is not ready. The Events, the server's log and that
    /// one say all of `words`.
    fn notes_lead_to(&self, notes: &str, words: &[&str]) -> Outcome {
        let testbed = &self.world.testbed;
        let commands: Vec<_> = notes
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("kubectl "))
            .collect();
        let mut telling = 0;
        for command in &commands {
            let output = Command::new("/bin/sh")
                .args(["-c", command])
                .env("PATH", format!("{}:/usr/bin:/bin", testbed.bin().display()))
                .env("KUBECONFIG", testbed.kubeconfig())
                .stdin(Stdio::null())
                .output()?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(
                output.status.success() || command.contains("tka-server ready"),
                "{command}: {said}"
            );
            telling += usize::from(words.iter().all(|word| said.contains(word)));
        }
        assert!(
            commands.len() >= 7 && telling >= 3,
            "{telling} commands say {words:?}:\n{notes}"
        );
        Ok(())
    }

    /// What the notes of the installation say to look at.
    fn warnings(&self) -> Outcome<String> {
        self.kubectl(&["get", "events", "--field-selector=type=Warning", "--output=json"])
    }

    /// The server's container runs since it was first started, whatever its sidecar does.
    fn server_never_restarted(&self) -> Outcome {
        let server = wait::until("the server runs", || {
            let pod: Value = serde_json::from_str(&self.kubectl(&["get", "pod", "tka-0", "--output=json"])?)?;
            let server = pod["status"]["containerStatuses"][0].clone();
            Ok(server["state"]["running"].is_object().then_some(server))
        })?;
        assert_eq!(server["restartCount"], 0, "{server}");
        Ok(())
    }
}
