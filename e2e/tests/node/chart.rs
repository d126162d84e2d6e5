//! The chart on a real node: a second release, and removal.

use e2e::certified::Authority;
use e2e::secure::{Protocol, Secure};
use e2e::{Outcome, World};
use serde_json::{Value, json};

use crate::release::Release;
use crate::server::kubectl;

crate::tests![
    second_release_has_a_node_and_a_namespace_of_its_own,
    certificate_of_a_secret_is_served,
    uninstalled_release_leaves_nothing,
];

fn second_release_has_a_node_and_a_namespace_of_its_own(world: &World) -> Outcome {
    let release = Release::new(world, "second")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&["--wait", "--timeout=90s"])?;
    let [own, other] = [
        kubectl(world, &["get", "secret", "tka-0", "--output=json"])?,
        release.kubectl(&["get", "secret", "tka-0", "--output=json"])?,
    ]
    .map(|secret| serde_json::from_str::<Value>(&secret).map(|secret| secret["data"]["device_id"].clone()));
    assert_ne!(own?, other?, "two nodes");
    // What is the cluster's is named after both releases.
    let roles = world.testbed.kubectl(&["get", "clusterroles", "--output=name"])?;
    assert!(roles.lines().any(|role| role.contains("second")), "{roles}");
    Ok(())
}

fn certificate_of_a_secret_is_served(world: &World) -> Outcome {
    let release = Release::new(world, "tls")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    let (authority, host) = (Authority::new()?, "tls.tailnet.test");
    let pair = authority.issue(host, (-60, 24 * 60 * 60))?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": { "name": "certificate", "namespace": release.namespace },
        "stringData": { "tls.crt": pair.certificate, "tls.key": pair.key },
    });
    world.testbed.apply(&secret.to_string())?;
    release.install(&["--set=tls.secretName=certificate", "--wait", "--timeout=90s"])?;
    release.urls(1)?;
    // HTTPS on another port than 443, by a certificate that the tailnet did not issue.
    let alice = release.alice(&format!("https://{host}:80"))?;
    let mut served = Secure::over(alice.tunnel()?, host, authority.certificate(), Protocol::Http2)?;
    assert_eq!(served.status("/api/v1alpha1/rules")?, 403, "she has no rule");
    Ok(())
}

fn uninstalled_release_leaves_nothing(world: &World) -> Outcome {
    let release = Release::new(world, "gone")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&["--wait", "--timeout=90s"])?;
    release.uninstall_as_documented()?;
    release.is_gone()
}
