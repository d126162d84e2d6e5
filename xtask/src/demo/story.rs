//! The story.

use std::{error::Error, path::PathBuf};

use serde_json::json;
use testbed::{CAPABILITY, Testbed};

use super::{
    committed, oncall,
    person::Person,
    pod,
    stage::{Stage, Told},
};

/// What belongs to sessions, whatever it is.
const LEFT: [&str; 4] = [
    "get",
    "tkasignins,serviceaccounts,clusterrolebindings",
    "--all-namespaces",
    "--selector=app.kubernetes.io/managed-by=tka",
];
/// How long the session that ends by itself lasts. A longer one is tried where the machine is too busy to use the shorter one in time.
const SHORT: [&str; 3] = ["3s", "15s", "75s"];

/// Tells it.
pub(crate) fn tell(stage: &mut Stage, testbed: &Testbed) {
    let person = |name| Person::at(testbed, &testbed.node(name)?);
    let people =
        || -> Result<_, Box<dyn Error>> { Ok([person("ALICE")?, person("BOB")?, person("CAROL")?, person("ALICE2")?]) };
    let Some([alice, bob, carol, namesake]) = stage.step("four people sit down at their devices", || {
        Ok((
            people()?,
            "alice, an administrator; bob, a viewer; carol; and alice of another company".into(),
        ))
    }) else {
        return;
    };
    let stolen = administrator(stage, &alice);
    viewer(stage, &bob);
    stage.step("a caller without a rule is refused, and told what to do", || {
        let said = carol
            .tka(&["login"])?
            .refused("no rule of the tailnet policy reaches you")?;
        Ok(((), said.shown()))
    });
    stage.step("the same name from another domain is someone else", || {
        someone_else(&namesake)
    });
    stage.step("who is in can be seen", || {
        Ok(((), testbed.kubectl(&["get", "signin", "--namespace=tka-dev"])?))
    });
    sign_out(stage, &alice, stolen);
    short_session(stage, testbed, &carol);
    committed::tell(stage, testbed, &alice, &carol);
    if testbed.has_node() {
        pod::tell(stage, testbed);
    }
    oncall::tell(stage, testbed);
    stage.step("the others sign out, and nothing is left", || {
        for person in [&bob, &namesake] {
            person.tka(&["logout", "--quiet"])?.success()?;
        }
        nothing_left(testbed)
    });
}

/// Signs in as an administrator and works. Returns a copy of the kubeconfig.
fn administrator(stage: &mut Stage, alice: &Person) -> Option<PathBuf> {
    let kubeconfig = stage.step("an administrator signs in", || {
        let (kubeconfig, said) = alice.login()?;
        Ok((kubeconfig, said.shown()))
    })?;
    stage.step("she works", || {
        let said = alice
            .kubectl(&kubeconfig, &["create", "namespace", "shop"])?
            .success()?;
        Ok(((), said.shown()))
    });
    stage.step("a thief copies her kubeconfig", || {
        Ok((alice.steal(&kubeconfig)?, String::new()))
    })
}

fn viewer(stage: &mut Stage, bob: &Person) {
    let Some(kubeconfig) = stage.step("a viewer signs in", || {
        let (kubeconfig, said) = bob.login()?;
        Ok((kubeconfig, said.shown()))
    }) else {
        return;
    };
    stage.step("he may read", || {
        let said = bob
            .kubectl(&kubeconfig, &["get", "namespaces", "--output=name"])?
            .success()?;
        Ok(((), said.shown()))
    });
    stage.step("he may not write", || {
        let said = bob
            .kubectl(&kubeconfig, &["create", "namespace", "his"])?
            .refused("Forbidden")?;
        Ok(((), said.shown()))
    });
}

fn someone_else(namesake: &Person) -> Told<()> {
    let (kubeconfig, login) = namesake.login()?;
    namesake
        .kubectl(&kubeconfig, &["auth", "can-i", "get", "pods"])?
        .success()?;
    let refused = namesake
        .kubectl(&kubeconfig, &["create", "namespace", "hers"])?
        .refused("Forbidden")?;
    Ok(((), format!("{}\n{}", login.shown(), refused.shown())))
}

/// Signs out, and tries the copy that was made before.
fn sign_out(stage: &mut Stage, alice: &Person, stolen: Option<PathBuf>) {
    stage.step("the administrator signs out", || {
        let said = alice.tka(&["logout"])?.success()?;
        Ok(((), said.shown()))
    });
    let Some(stolen) = stolen else { return };
    stage.step("the copy of her kubeconfig is worth nothing", || {
        let said = alice.kubectl(&stolen, &["get", "namespaces"])?;
        if said.status == Some(0) {
            return Err(format!("it still works\n{}", said.shown()).into());
        }
        Ok(((), said.shown()))
    });
}

fn short_session(stage: &mut Stage, testbed: &Testbed, carol: &Person) {
    let grant = |period: &str| {
        let rule = json!({"role": "view", "period": period});
        let grants = json!([{"src": ["carol@example.com"], "rules": [&rule]}]);
        testbed.set_grants(CAPABILITY, grants).map(|()| rule)
    };
    stage.step("the tailnet policy gives carol a rule for three seconds", || {
        Ok(((), grant(SHORT[0])?.to_string()))
    });
    let use_it = || {
        let (kubeconfig, login) = carol.login()?;
        let used = carol
            .kubectl(&kubeconfig, &["get", "namespaces", "--output=name"])?
            .success()?;
        let session = session_of_carol(testbed)?;
        if session.is_empty() {
            return Err("it was over before it could be seen".into());
        }
        Ok(((kubeconfig, session), format!("{}\n{}", login.shown(), used.shown())))
    };
    let Some((kubeconfig, session)) = stage.step("she signs in, and it works", || {
        let mut used = use_it();
        for longer in &SHORT[1..] {
            if used.is_err() {
                grant(longer)?;
                used = use_it();
            }
        }
        used
    }) else {
        return;
    };
    stage.step("her session ends by itself", || {
        wait_for_the_end(testbed, &session)?;
        let said = carol.kubectl(&kubeconfig, &["get", "namespaces"])?;
        if said.status == Some(0) {
            return Err(format!("the credential still works\n{}", said.shown()).into());
        }
        Ok(((), said.shown()))
    });
}

/// The name of carol's session; empty without one.
pub(super) fn session_of_carol(testbed: &Testbed) -> testbed::Result<String> {
    let name = r#"--output=jsonpath={.items[?(@.spec.username=="carol@example.com")].metadata.name}"#;
    testbed.kubectl(&["get", "signin", "--namespace=tka-dev", name])
}

/// Returns when the end of a session is seen in the cluster.
pub(super) fn wait_for_the_end(testbed: &Testbed, session: &str) -> testbed::Result<String> {
    testbed.kubectl(&[
        "wait",
        "--for=delete",
        "--namespace=tka-dev",
        "--timeout=90s",
        "signin",
        session,
    ])
}

fn nothing_left(testbed: &Testbed) -> Told<()> {
    let left = testbed.kubectl(&LEFT)?;
    if left.trim().is_empty() {
        return Ok((
            (),
            "no TkaSignin, no ServiceAccount, no ClusterRoleBinding of any session".into(),
        ));
    }
    Err(format!("this is left:\n{left}").into())
}
