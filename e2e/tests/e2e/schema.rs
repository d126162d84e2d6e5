//! Requests that a machine makes of the served document, well-formed and not. No answer is a failure of the server's, and the
//! document describes each.

use std::sync::{Mutex, PoisonError};

use e2e::schemathesis::Schemathesis;
use e2e::user::BOB;
use e2e::{Outcome, World};
use jiff::Timestamp;
use serde_json::json;
use testbed::ServerOptions;

crate::tests![
    every_answer_is_one_that_the_document_describes,
    answers_to_random_requests_are_as_documented,
];

fn every_answer_is_one_that_the_document_describes(world: &World) -> Outcome {
    run(world, "schema", 20_261_124)
}

fn answers_to_random_requests_are_as_documented(world: &World) -> Outcome {
    let seed = Timestamp::now().subsec_nanosecond().unsigned_abs();
    eprintln!("schemathesis: the seed of this run is {seed}");
    run(world, "schema-random", seed).map_err(|error| format!("with --seed {seed}: {error}").into())
}

/// One at a time: each keeps a processor busy.
fn run(world: &World, name: &str, seed: u32) -> Outcome {
    static ONE: Mutex<()> = Mutex::new(());
    let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let schemathesis = Schemathesis::prepare()?;
    let mut options = ServerOptions::new(name);
    // The next request may be sent on a connection at the moment at which the server closes it because it is idle. Such a request
    // has no answer, for which a proxy says 502.
    let patient = json!({"readHeaderTimeout": "2m", "rateLimit": {"requestsPerSecond": 100_000, "burst": 100_000}});
    options.config = json!({"server": patient});
    let site = world.site_with(options)?;
    let rules = json!([
        {"role": "view", "period": "1h"},
        {"role": "edit", "period": "8h", "name": "oncall", "priority": 1, "require_reason": true},
    ]);
    let grants = json!([{"src": [BOB], "rules": rules}]);
    world.testbed.set_grants(site.server.capability(), grants)?;
    let url = format!("{}/openapi.json", site.server.url());
    let folder = world.new_folder("schemathesis")?;
    let output = schemathesis
        .run(&url, &world.testbed.node("BOB")?.proxy(), &folder, seed)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let found = said.split_once("FAILURES").map_or(&*said, |(_, found)| found);
        return Err(format!("{found}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let counted = said.lines().find(|line| line.contains("generated")).unwrap_or_default();
    eprintln!("schemathesis: {}", counted.trim());
    assert!(said.contains("Tested: 18"), "not all endpoints were tested: {said}");
    Ok(())
}
