//! Who is who: people with the same local part, and one person on two devices.

use e2e::user::{ALICE, NAMESAKE};
use e2e::{Kind, Outcome, World, is_refused, rule};
use serde_json::{Value, json};
use testbed::{Owner, ServerOptions};

crate::tests![
    same_local_part_of_another_domain_is_someone_else,
    one_user_on_two_devices_has_two_sessions,
];

const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

fn same_local_part_of_another_domain_is_someone_else(world: &World) -> Outcome {
    // Neither of them may do what the other may, so that a mix-up shows in either direction.
    let roles = ["reads-secrets", "reads-nodes"];
    for (role, resource) in roles.iter().zip(["secrets", "nodes"]) {
        let verbs = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["list"]}]);
        world
            .cluster
            .create(CLUSTER_ROLES, &json!({"metadata": {"name": role}, "rules": verbs}))?;
    }
    let mut options = ServerOptions::new("namesakes");
    options.roles = roles.map(str::to_owned).to_vec();
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule(roles[0], "1h")), (NAMESAKE, rule(roles[1], "1h"))])?;
    let (alice, namesake) = (site.caller("ALICE")?, site.caller("ALICE2")?);

    let signed_in = alice.sign_in()?;
    assert_eq!((&*signed_in.username, &*signed_in.role), (ALICE, roles[0]));
    namesake.get("/login")?.expect(401)?;
    namesake.get("/kubeconfig")?.expect(401)?;
    let signed_in = namesake.sign_in()?;
    assert_eq!((&*signed_in.username, &*signed_in.role), (NAMESAKE, roles[1]));

    assert_eq!(site.counts()?, [2, 2, 2]);
    let status = |token: &str, resource| world.cluster.status(token, "GET", &format!("/api/v1/{resource}"));
    let (hers, other) = (alice.token()?, namesake.token()?);
    assert_eq!((status(&hers, "secrets")?, status(&hers, "nodes")?), (200, 403));
    assert_eq!((status(&other, "secrets")?, status(&other, "nodes")?), (403, 200));

    // All that is the namesake's, wherever she signed in: nothing of it is Alice's.
    namesake.post("/logout?all=true")?.expect(200)?;
    alice.get("/login")?.expect(200)?;
    assert_eq!(status(&hers, "secrets")?, 200);
    Ok(())
}

fn one_user_on_two_devices_has_two_sessions(world: &World) -> Outcome {
    let laptop = world.guest("alice-laptop", &Owner::user(ALICE))?;
    let site = world.site("two-devices")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let (desktop, laptop) = (site.caller("ALICE")?, site.caller_on(&laptop)?);
    desktop.sign_in()?;
    laptop.get("/login")?.expect(401)?;
    laptop.sign_in()?;

    let mut devices: Vec<String> = site.objects(Kind::Signin)?.iter().map(device).collect();
    devices.sort();
    assert_eq!(devices, ["alice-laptop.tailnet.test", "alice.tailnet.test"]);
    let (from_desktop, from_laptop) = (desktop.token()?, laptop.token()?);
    desktop.sign_out()?;
    assert!(is_refused(world.cluster.status(
        &from_desktop,
        "GET",
        "/api/v1/pods"
    )?));
    assert_eq!(world.cluster.status(&from_laptop, "GET", "/api/v1/pods")?, 200);
    laptop.get("/login")?.expect(200)?;
    laptop.sign_out()?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn device(signin: &Value) -> String {
    signin["spec"]["device"]["name"].as_str().unwrap_or_default().to_owned()
}
