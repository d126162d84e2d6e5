//! Broken surroundings: what is wrong is said where people look, and the server never restarts for it.

use e2e::{Outcome, World, wait};
use serde_json::Value;

use crate::chart::Release;

crate::tests![
    wrong_auth_key_is_told_and_the_server_waits,
    missing_secret_is_told_and_nothing_restarts,
];

fn wrong_auth_key_is_told_and_the_server_waits(world: &World) -> Outcome {
    let release = Release::new(world, "wrong-key")?;
    release.set_auth_key("not-a-key")?;
    release.install(&[])?;
    wait::until_true("an Event names what to do", || {
        let events = release.kubectl(&["get", "events", "--field-selector=type=Warning"])?;
        Ok(events.contains("NeedsLogin") && events.contains("TS_AUTHKEY"))
    })?;
    release.server_never_restarted()
}

fn missing_secret_is_told_and_nothing_restarts(world: &World) -> Outcome {
    let release = Release::new(world, "no-secret")?;
    release.install(&[])?;
    wait::until_true("the log of tailscale names the file", || {
        let log = release.kubectl(&["logs", "tka-0", "--container=tailscale", "--previous=false"]);
        Ok(log.is_ok_and(|log| log.contains("/var/run/secrets/tailscale")))
    })?;
    release.server_never_restarted()
}

impl Release<'_> {
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
