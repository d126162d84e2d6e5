//! A higher role for a while, let in by somebody else, and seen by those who must see it.

use std::{fs, path::Path};

use serde_json::{Value, json};
use testbed::{Server, ServerOptions, Testbed, with_gateway};

use super::{
    person::{Person, Said},
    receiver::Receiver,
    stage::{Stage, Told},
};

/// What bob types to get the role.
const ASKS: [&str; 5] = ["elevate", "--rule", "oncall", "--reason", "pager 4711"];
/// The exit status of a command whose sign-in waits for others.
const WAITS: i32 = 9;
/// What was decided about bob's elevation, in its order.
const DECISIONS: [&str; 3] = ["approval_requested", "approved", "signed_out"];

/// The server, its receiver, and the people.
struct Scene {
    /// It ends with this.
    server: Server,
    receiver: Receiver,
    alice: Person,
    bob: Person,
    carol: Person,
}

/// Tells how bob gets the role `edit` from alice, by the kubeconfig that he has.
pub(super) fn tell(stage: &mut Stage, testbed: &Testbed) {
    let Some(scene) = stage.step("a server where bob may have the role edit if alice lets him", || {
        scene(testbed)
    }) else {
        return;
    };
    let Scene { alice, bob, carol, .. } = &scene;
    let Some(kubeconfig) = stage.step("bob signs in; his kubeconfig has an address, and no credential", || {
        let (kubeconfig, said) = bob.login()?;
        Ok((kubeconfig, said.shown()))
    }) else {
        return;
    };
    let writes = || bob.kubectl(&kubeconfig, &["create", "configmap", "fix-4711"]);
    stage.step("he may read only", || Ok(((), writes()?.refused("forbidden")?.shown())));
    let Some(session) = stage.step("there is an incident: he asks for the role, with a reason", || {
        asks(bob, alice)
    }) else {
        return;
    };
    stage.step("neither he nor carol can let him in", || {
        let approves = ["approvals", "approve", &session];
        let own = bob.tka(&approves)?.refused("this sign-in is your own")?;
        let other = carol.tka(&approves)?.refused("no sign-in for the session")?;
        Ok(((), format!("{}\n{}", own.shown(), other.shown())))
    });
    stage.step("alice sees what he wants, and lets him in", || {
        let list = alice.tka(&["approvals"])?.success()?;
        let approved = alice
            .tka(&["approvals", "approve", &session, "--comment", "go ahead"])?
            .success()?;
        Ok(((), format!("{}\n{}", list.shown(), approved.shown())))
    });
    stage.step("the same kubeconfig may write now", || {
        let elevated = bob.tka_with(&kubeconfig, &ASKS)?.success()?;
        let written = writes()?.success()?;
        Ok(((), format!("{}\n{}", elevated.shown(), written.shown())))
    });
    stage.step("he gives it back, and may read only", || {
        let ended = bob.tka(&["elevate", "--end"])?.success()?;
        let delete = ["delete", "configmap", "fix-4711"];
        let refused = bob.kubectl(&kubeconfig, &delete)?.refused("Forbidden")?;
        Ok(((), format!("{}\n{}", ended.shown(), refused.shown())))
    });
    stage.step("the team's pager was told", || {
        let types = scene.receiver.types_until("signed_out")?;
        in_order(&types)?;
        Ok(((), types.join("\n")))
    });
    stage.step("the audit records tell it in order", || audit(alice));
    stage.step("bob signs out, and nothing of him is left there", || {
        bob.tka(&["logout", "--quiet"])?.success()?;
        let namespace = format!("--namespace={}", scene.server.namespace());
        let left = testbed.kubectl(&["get", "tkasignins,serviceaccounts", &namespace, SESSIONS])?;
        if left.trim().is_empty() {
            return Ok(((), String::new()));
        }
        Err(format!("this is left:\n{left}").into())
    });
}

/// What belongs to sessions.
const SESSIONS: &str = "--selector=app.kubernetes.io/managed-by=tka";

fn scene(testbed: &Testbed) -> Told<Scene> {
    let receiver = Receiver::start()?;
    let folder = testbed.dir().join("oncall");
    // Records of an earlier story are none of this one.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut options = ServerOptions::new("oncall");
    options.roles = vec!["view".into(), "edit".into()];
    options.config = config(&folder, &receiver)?;
    let server = testbed.server(options)?;
    let grant = |who: &str, rule: &Value| json!({"src": [who], "rules": [rule]});
    let oncall =
        json!({"role": "edit", "name": "oncall", "period": "30m", "require_reason": true, "approval": {"count": 1}});
    let rules = json!([
        grant(
            "bob@example.com",
            &json!({"role": "view", "period": "8h", "priority": 1})
        ),
        grant("bob@example.com", &oncall),
    ]);
    let oversight = json!([
        grant("alice@example.com", &json!({"approve": ["oncall"], "audit": true})),
        grant("bob@example.com", &json!({"approve": ["oncall"]})),
    ]);
    testbed.set_grants(server.capability(), rules)?;
    testbed.set_grants(&format!("{}-oversight", server.capability()), oversight)?;
    let person = |name| Person::of_server(testbed, &testbed.node(name)?, &server);
    let (alice, bob, carol) = (person("ALICE")?, person("BOB")?, person("CAROL")?);
    let shown = format!("{oncall}\ntka-server serves {}", server.url());
    let scene = Scene {
        server,
        receiver,
        alice,
        bob,
        carol,
    };
    Ok((scene, shown))
}

/// The gateway is the way that is taken, records go to a file, and the receiver is told of decisions.
fn config(folder: &Path, receiver: &Receiver) -> Result<Value, Box<dyn std::error::Error>> {
    let key = folder.join("webhook.key");
    fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")?;
    let mut config = with_gateway();
    config["gateway"]["default"] = json!(true);
    config["audit"] = json!({"path": folder.join("audit.log")});
    let hook = json!({"name": "pager", "url": receiver.url(), "keyFile": key, "events": DECISIONS});
    config["notifications"] = json!({"webhooks": [hook]});
    Ok(config)
}

/// Has bob ask. Returns the name of the session that waits.
fn asks(bob: &Person, alice: &Person) -> Told<String> {
    let said = bob.tka(&[&ASKS[..], &["--no-wait"]].concat())?;
    if said.status != Some(WAITS) {
        return Err(format!("it does not wait\n{}", said.shown()).into());
    }
    let session = alice.tka(&["approvals", "--output", "name"])?.success()?;
    Ok((session.out.trim().to_owned(), said.shown()))
}

/// What alice finds of bob's in the audit records, the oldest first.
fn audit(alice: &Person) -> Told<()> {
    let args = ["audit", "--user", "bob@example.com", "--output", "json"];
    let Said { out, .. } = alice.tka(&args)?.success()?;
    let found: Value = serde_json::from_str(&out)?;
    let items = found["items"].as_array().ok_or("the audit has no items")?;
    let decisions = items
        .iter()
        .rev()
        .filter_map(|item| item["record"]["decision"].as_str());
    let decisions: Vec<_> = decisions.map(ToOwned::to_owned).collect();
    in_order(&decisions)?;
    let shown = alice.tka(&["audit", "--user", "bob@example.com"])?.success()?;
    Ok(((), shown.shown()))
}

/// Whether what was decided about bob is among `found`, in its order.
fn in_order(found: &[String]) -> Result<(), String> {
    let mut left = found.iter();
    for decision in DECISIONS {
        if !left.any(|one| one.ends_with(decision)) {
            return Err(format!("{decision} is not where it should be: {found:?}"));
        }
    }
    Ok(())
}
