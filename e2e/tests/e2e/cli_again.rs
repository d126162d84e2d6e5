//! A session that is over when kubectl asks for it: where it says how to sign in, and where it signs in itself.

use std::fs;
use std::path::PathBuf;

use e2e::user::ALICE;
use e2e::{Outcome, Person, World, rule};
use serde_json::json;

crate::tests![kubectl_signs_in_again_on_a_terminal_if_configured];

fn kubectl_signs_in_again_on_a_terminal_if_configured(world: &World) -> Outcome {
    let site = world.site("cli-again")?;
    let mut first = rule("edit", "1h");
    first["priority"] = json!(100);
    let mut oncall = rule("view", "1h");
    oncall["name"] = json!("oncall");
    site.grant(&[(ALICE, first), (ALICE, oncall)])?;
    let alice = site.person("ALICE")?;
    let said = alice.tka(&["login", "--quiet", "--rule", "oncall"])?.expect(0)?;
    let kubeconfig = PathBuf::from(said.out.trim().trim_start_matches("export KUBECONFIG="));
    alice.remember(&kubeconfig)?;
    let before = sessions(&alice)?;

    // Ended elsewhere, and nothing is kept: as after a night.
    site.caller("ALICE")?
        .send("DELETE", &format!("/sessions/{before}"), &[])?
        .expect(200)?;
    fs::remove_dir_all(alice.runtime().join("tka"))?;
    let get = ["get", "pods", "--all-namespaces", "--output", "name"];
    let said = alice.kubectl(&kubeconfig, &get)?.expect(1)?;
    assert!(said.err.contains("--rule oncall`"), "{said:?}");
    assert_eq!(site.counts()?, [0, 0, 0]);

    let before_it = |chosen: &str| -> Outcome<String> {
        let mut kubectl = alice.kubectl_command(&kubeconfig, &["auth", "whoami"]);
        kubectl.env("TKA_CREDENTIAL_LOGIN", chosen);
        Ok(rexpect::session::spawn_command(kubectl, Some(60_000))?.exp_eof()?)
    };
    let shown = before_it("false")?;
    assert!(shown.contains("sign in with"), "{shown}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    let shown = before_it("true")?;
    alice.remember(&kubeconfig)?;
    assert!(
        shown.contains("signed in as alice@example.com") && shown.contains(&before),
        "{shown}"
    );
    assert_eq!((sessions(&alice)?, site.counts()?), (before, [1, 1, 1]));
    // It is the rule that was chosen, and others have it from now on.
    alice.kubectl(&kubeconfig, &get)?.expect(0)?;
    alice
        .kubectl(&kubeconfig, &["create", "configmap", "again"])?
        .expect(1)?;
    Ok(())
}

/// The names of the sessions that there are.
fn sessions(person: &Person) -> Outcome<String> {
    Ok(person
        .tka(&["sessions", "-o", "name"])?
        .expect(0)?
        .out
        .trim()
        .to_owned())
}
