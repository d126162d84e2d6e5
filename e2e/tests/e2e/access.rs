//! What a credential is good for, and when it stops being.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::user::{ALICE, BOB};
use e2e::{Outcome, Person, World, is_refused, rule, wait};

crate::tests![
    viewer_reads_and_does_not_write,
    cluster_admin_writes,
    credential_is_refused_at_once_after_logout,
    new_session_does_not_revive_an_old_credential,
];

/// How long the API server may go on taking a token for good that it has found good: ten seconds, and some for a look.
const REMEMBERED: Duration = Duration::from_secs(12);

/// What `kubectl auth can-i` says.
fn can(person: &Person, kubeconfig: &Path, verb: &str, resource: &str) -> Outcome<bool> {
    let said = person.kubectl(kubeconfig, &["auth", "can-i", verb, resource, "--all-namespaces"])?;
    Ok(said.out.trim() == "yes")
}

fn viewer_reads_and_does_not_write(world: &World) -> Outcome {
    let site = world.site("viewer")?;
    site.grant(&[(BOB, rule("view", "1h"))])?;
    let bob = site.person("BOB")?;
    let kubeconfig = bob.login()?;
    bob.kubectl(&kubeconfig, &["get", "configmaps", "--all-namespaces"])?
        .expect(0)?;
    let said = bob
        .kubectl(&kubeconfig, &["create", "configmap", "bobs", "--namespace=viewer"])?
        .expect(1)?;
    assert!(
        said.err.contains("Forbidden") || said.err.contains("forbidden"),
        "{said:?}"
    );
    // Exactly the role: `view` has no secrets, and nothing that is not in a namespace.
    for (verb, resource, allowed) in [
        ("get", "pods", true),
        ("watch", "deployments.apps", true),
        ("get", "secrets", false),
        ("list", "nodes", false),
        ("delete", "pods", false),
        ("create", "serviceaccounts/token", false),
        ("get", "tkasignins.tka.specht-labs.de", false),
        ("*", "*", false),
    ] {
        assert_eq!(can(&bob, &kubeconfig, verb, resource)?, allowed, "{verb} {resource}");
    }
    Ok(())
}

fn cluster_admin_writes(world: &World) -> Outcome {
    let site = world.site("administrator")?;
    site.grant(&[(ALICE, rule("cluster-admin", "1h"))])?;
    let alice = site.person("ALICE")?;
    let kubeconfig = alice.login()?;
    assert!(can(&alice, &kubeconfig, "*", "*")?);
    let created = alice.kubectl(
        &kubeconfig,
        &["create", "configmap", "hers", "--namespace=administrator"],
    )?;
    created.expect(0)?;
    Ok(())
}

fn credential_is_refused_at_once_after_logout(world: &World) -> Outcome {
    let site = world.site("after-logout")?;
    site.grant(&[(ALICE, rule("cluster-admin", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let token = alice.token()?;
    let status = || world.cluster.status(&token, "GET", "/api/v1/secrets");
    assert_eq!(status()?, 200);
    assert_eq!(site.counts()?, [1, 1, 1]);

    alice.sign_out()?;
    // The account is gone, so 401; the API server may remember for a while that the token was good, and then it is 403.
    let after = status()?;
    assert!(is_refused(after), "{after}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn new_session_does_not_revive_an_old_credential(world: &World) -> Outcome {
    let site = world.site("again")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let status = |token: &str| world.cluster.status(token, "GET", "/api/v1/pods");
    alice.sign_in()?;
    let (used, unused) = (alice.token()?, alice.token()?);
    assert_eq!(status(&used)?, 200);
    alice.sign_out()?;
    let signed_out = Instant::now();
    alice.sign_in()?;
    assert_eq!(status(&alice.token()?)?, 200);
    assert_eq!(
        status(&unused)?,
        401,
        "the account has the name of the old one, and is another"
    );
    wait::until_true("the API server forgets the token that it saw", || {
        Ok(status(&used)? == 401)
    })?;
    wait::within(REMEMBERED, "a token is forgotten", signed_out.elapsed())
}
