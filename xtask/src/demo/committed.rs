//! A teammate with nothing but kubectl and a file that anyone may read.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::json;
use testbed::{CAPABILITY, Testbed};

use super::{
    person::Person,
    stage::{Stage, Told},
    story::{session_of_carol, wait_for_the_end},
};

/// How long a stream may outlive its session, and some for kubectl to end.
const SOON: Duration = Duration::from_secs(2);

/// Tells how `carol`, who has a rule for a while, works through the gateway.
pub(crate) fn tell(stage: &mut Stage, testbed: &Testbed, alice: &Person, carol: &Person) {
    let Some(file) = stage.step("alice commits a kubeconfig with an address and no credential", || {
        committed(testbed, alice, carol)
    }) else {
        return;
    };
    stage.step("carol works with that file and kubectl, and nothing else", || {
        let whoami = carol.kubectl(&file, &["auth", "whoami"])?.success()?;
        let listed = carol
            .kubectl(&file, &["get", "namespaces", "--output=name"])?
            .success()?;
        Ok(((), format!("{}\n{}", whoami.shown(), listed.shown())))
    });
    stage.step("her rule is taken away, and her open watch ends", || {
        watch_ends(testbed, carol, &file)
    });
}

fn committed(testbed: &Testbed, alice: &Person, carol: &Person) -> Told<PathBuf> {
    // Use begins the session: no one types `tka`.
    let rule = json!({"role": "view", "period": "1h", "sign_in": "on_use"});
    let grants = json!([
        {"src": ["carol@example.com"], "rules": [rule]},
        {"src": ["alice@example.com"], "rules": [{"role": "view", "period": "1h"}]},
    ]);
    testbed.set_grants(CAPABILITY, grants)?;
    let printed = alice.tka(&["kubeconfig", "--static"])?.success()?;
    let file = carol.home().join("team.yaml");
    fs::write(&file, &printed.out)?;
    Ok((file, format!("{rule}\n{}", printed.shown())))
}

fn watch_ends(testbed: &Testbed, carol: &Person, file: &Path) -> Told<()> {
    let mut watch = carol.begin_kubectl(file, &["get", "namespaces", "--watch", "--output=name"])?;
    let mut lines = BufReader::new(watch.stdout.take().ok_or("kubectl has no output")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    testbed.set_grants(CAPABILITY, json!([]))?;
    let session = session_of_carol(testbed)?;
    if !session.is_empty() {
        wait_for_the_end(testbed, &session)?;
    }
    let ended = Instant::now();
    lines.read_to_string(&mut first)?;
    watch.wait()?;
    let took = ended.elapsed();
    if took > SOON {
        return Err(format!("the watch ended {took:?} after the session").into());
    }
    let refused = carol.kubectl(file, &["get", "namespaces"])?.refused("TKA")?;
    Ok((
        (),
        format!(
            "{}\nthe watch ended {} ms after the session",
            refused.shown(),
            took.as_millis()
        ),
    ))
}
