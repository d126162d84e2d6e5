//! README's section "Use it", line by line.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::commands::console;
use e2e::user::ALICE;
use e2e::{Outcome, World, wait};
use serde_json::{Value, json};

use crate::release::Release;

crate::tests![readme_is_what_works];

/// The section.
const HEADING: &str = "Use it";
/// The server's name there.
const SERVER: &str = "https://tka.example.ts.net";

fn readme_is_what_works(world: &World) -> Outcome {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let (administrator, person): (Vec<_>, Vec<_>) = console(&readme, HEADING)
        .into_iter()
        .partition(|command| command.starts_with("helm "));
    assert!(
        administrator.len() == 1 && person.len() >= 3,
        "{administrator:?} {person:?}"
    );
    nodes_have_the_image(world, &readme)?;
    let release = Release::new(world, "readme")?;

    // What is the testbed's alone: its control server, its images, a port without certificates, and names that nothing else has.
    let file = testbeds_own(&release)?;
    let install = administrator[0].replace("--namespace tka ", "--namespace readme ") + " --values " + &file;
    run(&release, &format!("set -eu; {install}"))?;
    assert!(
        release
            .kubectl(&["get", "pod", "tka-0", "--output=jsonpath={.status.conditions}"])?
            .contains("Ready")
    );

    let grant = grant(&readme)?;
    assert_eq!(grant["dst"], json!(["tag:tka"]));
    let rules = grant["app"]
        .as_object()
        .and_then(|app| app.values().next())
        .ok_or("no rules")?;
    let grants = json!([{ "src": [ALICE], "rules": rules }]);
    world.testbed.set_grants(&release.capability(), grants)?;

    let url = release.urls(1)?.remove(0);
    let script = person.join("\n");
    assert!(script.contains(SERVER));
    let script = script.replace(SERVER, &url);
    let said = wait::until("the lines work", || {
        match run(&release, &format!("set -eu; unset KUBECONFIG\n{script}")) {
            // tailscaled hears of a policy a moment later.
            Err(error) if error.to_string().contains("no rule of the tailnet policy") => Ok(None),
            said => said.map(Some),
        }
    })?;
    assert!(said.contains("tka-0"), "{said}");
    assert!(release.sessions()?.is_empty());
    Ok(())
}

/// The image comes onto a node as the table says; the archive is that of the tests.
fn nodes_have_the_image(world: &World, readme: &str) -> Outcome {
    let row = readme.lines().find(|line| line.starts_with("| a node |"));
    let command = row
        .and_then(|row| row.split('`').nth(1))
        .ok_or("no command for a node")?;
    let archives = format!("{}/target/images/measure/", root().display());
    let command = command.replace("target/images/", &archives);
    let on_node = |command: &str| {
        Command::new(world.testbed.node_exec())
            .args(command.split(' '))
            .output()
    };
    let imported = on_node(&command)?;
    // What the import says of the name has been changed for reading.
    let listed = on_node("ctr --namespace k8s.io images list --quiet")?;
    let names = String::from_utf8_lossy(&listed.stdout);
    assert!(
        imported.status.success() && names.contains("localhost/tka-server:"),
        "{command}: {imported:?} {listed:?}"
    );
    Ok(())
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The grant that the section has.
fn grant(readme: &str) -> Outcome<Value> {
    let section = readme.split_once(&format!("## {HEADING}\n")).ok_or("no section")?.1;
    let block = section.split_once("```json\n").ok_or("no grant")?.1;
    let block = block.split_once("```").ok_or("no end of the grant")?.0;
    Ok(serde_json::from_str(block)?)
}

/// Values of the testbed, without those that the section gives.
fn testbeds_own(release: &Release<'_>) -> Outcome<String> {
    let file = release.values()?;
    let mut values: Value = serde_json::from_slice(&fs::read(&file)?)?;
    for (of, key) in [
        ("/tailscale", "authKey"),
        ("/clusterInfo", "apiEndpoint"),
        ("/image", "repository"),
        ("", "roles"),
    ] {
        let of = values.pointer_mut(of).and_then(Value::as_object_mut);
        of.ok_or("not an object")?
            .remove(key)
            .ok_or("a value that the section replaces")?;
    }
    fs::write(&file, values.to_string())?;
    Ok(file)
}

/// Runs a script at the root of the checkout, on Alice's device, with the administrator's kubeconfig.
fn run(release: &Release<'_>, script: &str) -> Outcome<String> {
    let testbed = &release.world.testbed;
    let home = release.world.new_folder("readme-home")?;
    let output = Command::new("/bin/bash")
        .args(["-c", script])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", testbed.bin().display()))
        .env("HOME", &home)
        .env("XDG_RUNTIME_DIR", &home)
        .env("KUBECONFIG", testbed.kubeconfig())
        .env("HTTP_PROXY", testbed.node("ALICE")?.proxy())
        .env("TS_AUTHKEY", testbed.auth_key("tag:tka")?)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()?;
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    if output.status.success() {
        return Ok(out);
    }
    Err(format!("{script}\n{err}{out}").into())
}
