//! Pages of the book that need a release: the tutorial with headscale, then an upgrade and another replica, as they stand there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::commands::console;
use e2e::user::ALICE;
use e2e::{Outcome, World, rule, wait};
use serde_json::{Value, json};

use crate::release::Release;
use crate::server::kubectl;

crate::tests![tutorial_upgrade_and_replicas_are_what_works];

const NAMESPACE: &str = "book";

fn tutorial_upgrade_and_replicas_are_what_works(world: &World) -> Outcome {
    let tutorial = page("tutorial/headscale.md")?;
    let mut commands = console(&tutorial, "3. Install the server").into_iter();
    let folder = world.new_folder("book-pages")?;
    let authority = r"--output=jsonpath={.data['ca\.crt']}";
    let authority = kubectl(world, &["get", "configmap", "tka-tailnet-ca", authority])?;
    fs::write(folder.join("ca.crt"), authority)?;
    let values = tutorial.split_once("```yaml\nroles:").ok_or("no values")?.1;
    let values = values.split_once("```").ok_or("no end of the values")?.0;
    fs::write(folder.join("values.yaml"), format!("roles:{values}"))?;

    let namespace = commands.next().ok_or("no commands")?;
    run(world, &folder, &namespace)?;
    let release = Release::within(world, NAMESPACE)?;
    // What is the testbed's alone: its images, its addresses, and names that nothing else has.
    let own = testbeds_own(&release)?;
    for command in commands {
        let command = match command.strip_prefix("helm ") {
            Some(_) => format!("{command} --values {own}"),
            None => command.replace("=KEY", &format!("={}", world.testbed.auth_key("tag:tka")?)),
        };
        run(world, &folder, &command)?;
    }
    let url = release.urls(1)?.remove(0);
    let grants = json!([{ "src": [ALICE], "rules": [rule("view", "1h")] }]);
    world.testbed.set_grants(&release.capability(), grants)?;
    let alice = release.alice(&url)?;
    wait::until_true("Alice signs in", || Ok(alice.sign_in_waiting()?.status == 200))?;

    for (path, heading) in [
        ("how-to/upgrade.md", "Upgrade"),
        ("how-to/replicas.md", "Run several replicas"),
    ] {
        // The title of a page is its heading.
        let commands = console(&format!("#{}", page(path)?), heading);
        assert_eq!(commands.len(), 1, "{path}: {commands:?}");
        run(world, &folder, &commands[0])?;
    }
    release.urls(2)?;
    let values = release.helm(&["get", "values", "tka", "--output=json"])?;
    let values: Value = serde_json::from_str(&values)?;
    assert_eq!(values["roles"], json!(["view"]), "what was set is kept");
    Ok(())
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn page(path: &str) -> Outcome<String> {
    Ok(fs::read_to_string(root().join("docs/book/src").join(path))?)
}

/// Values of the testbed, without those that the tutorial gives. Where both have an address or an image, the testbed's counts.
fn testbeds_own(release: &Release<'_>) -> Outcome<String> {
    let file = release.values()?;
    let mut values: Value = serde_json::from_slice(&fs::read(&file)?)?;
    for (of, key) in [
        ("", "roles"),
        ("", "port"),
        ("/tailscale", "authKey"),
        ("/tailscale", "caCert"),
    ] {
        let of = values.pointer_mut(of).and_then(Value::as_object_mut);
        let removed = of.ok_or("not an object")?.remove(key);
        removed.ok_or("a value that the tutorial gives")?;
    }
    fs::write(&file, values.to_string())?;
    Ok(file)
}

/// Runs a command of a page in a folder, with the names of this release, as the cluster's administrator.
fn run(world: &World, folder: &Path, command: &str) -> Outcome {
    let here = command.replace("namespace tka", &format!("namespace {NAMESPACE}"));
    let here = here.replace(" charts/tka ", &format!(" {} ", testbed::chart_dir().display()));
    let output = Command::new("/bin/bash")
        .args(["-euc", &here])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", world.testbed.bin().display()))
        .env("HOME", folder)
        .env("KUBECONFIG", world.testbed.kubeconfig())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Err(format!("{here}\n{err}{out}").into())
}
