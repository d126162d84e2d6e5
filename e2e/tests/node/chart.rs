//! The chart on a real node: a second release, and removal.

use e2e::{Outcome, World};
use serde_json::Value;

use crate::release::Release;
use crate::server::kubectl;

crate::tests![
    second_release_has_a_node_and_a_namespace_of_its_own,
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

fn uninstalled_release_leaves_nothing(world: &World) -> Outcome {
    let release = Release::new(world, "gone")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&["--wait", "--timeout=90s"])?;
    release.uninstall_as_documented()?;
    release.is_gone()
}
