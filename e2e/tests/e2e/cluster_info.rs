//! `GET /cluster-info`, row by row of the contract.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use e2e::user::ALICE;
use e2e::{Outcome, World, rule};
use serde_json::json;

crate::tests![answers_200_in_the_shape_of_the_contract];

fn answers_200_in_the_shape_of_the_contract(world: &World) -> Outcome {
    let site = world.site("cluster-info")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let answer = site.caller("ALICE")?.get("/cluster-info")?.expect(200)?;
    let expected = json!({
        "server_url": world.testbed.api_server(),
        "insecure_skip_tls_verify": false,
        "ca_data": BASE64_STANDARD.encode(fs::read(world.testbed.ca_file())?),
        "labels": {"environment": "testbed"},
    });
    let mut told = answer.json()?;
    // What this server adds to it.
    let instance = told.as_object_mut().and_then(|fields| fields.remove("instance"));
    assert!(instance.is_some_and(|instance| instance.is_string()));
    assert_eq!(told, expected);
    Ok(())
}
