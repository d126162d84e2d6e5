//! `GET /kubeconfig`, row by row of the contract.

use std::fs;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use e2e::user::ALICE;
use e2e::wire::Kubeconfig;
use e2e::{Outcome, World, rule};
use jiff::Timestamp;
use serde_json::{Value, json};

crate::tests![
    json_is_keyed_by_name_as_the_original_decodes_it,
    yaml_of_each_media_type_is_a_file_that_kubectl_reads,
    credential_ends_with_its_session,
];

fn json_is_keyed_by_name_as_the_original_decodes_it(world: &World) -> Outcome {
    let site = world.site("kubeconfig-json")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    for accept in ["application/json", "*/*", "text/html"] {
        let answer = alice.send("GET", "/kubeconfig", &[("Accept", accept)])?.expect(200)?;
        let kubeconfig: Kubeconfig = answer.decode()?;
        let token = kubeconfig.token().ok_or("no token")?;
        world.tokens.add(token)?;

        assert_eq!(answer.header("content-type"), Some("application/json"), "{accept}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let authority = BASE64_STANDARD.encode(fs::read(world.testbed.ca_file())?);
        let cluster = json!({"server": world.testbed.api_server(), "certificate-authority-data": authority});
        let expected = json!({
            "kind": "Config",
            "apiVersion": "v1",
            "clusters": {"tka-cluster": cluster},
            "users": {"tka-user-alice": {"token": token}},
            "contexts": {"tka-context-alice": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
            "current-context": "tka-context-alice",
        });
        assert_eq!(answer.json()?, expected);
    }
    Ok(())
}

fn yaml_of_each_media_type_is_a_file_that_kubectl_reads(world: &World) -> Outcome {
    let site = world.site("kubeconfig-yaml")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let file = world.new_folder("kubeconfig")?.join("config.yaml");
    for media_type in ["application/yaml", "text/yaml", "application/x-yaml"] {
        let answer = alice.kubeconfig_file(media_type)?;
        assert_eq!(answer.header("content-type"), Some(media_type));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        fs::write(&file, answer.body)?;
        let kubectl = |args: &[&str]| world.testbed.kubectl_with(&file, args)?.success();
        assert_eq!(kubectl(&["config", "current-context"])?.trim(), "tka-context-alice");
        let whoami = kubectl(&["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"])?;
        assert!(
            whoami.starts_with("system:serviceaccount:kubeconfig-yaml:tka-alice-"),
            "{whoami}"
        );
        kubectl(&["get", "configmaps", "--all-namespaces"])?;
    }
    Ok(())
}

fn credential_ends_with_its_session(world: &World) -> Outcome {
    let site = world.site("credential-end")?;
    site.grant(&[(ALICE, rule("view", "15m"))])?;
    let alice = site.caller("ALICE")?;
    let until = alice.sign_in()?.until;
    let token = alice.token()?;
    let claims = token.split('.').nth(1).ok_or("not a JSON web token")?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    let expires = Timestamp::from_second(claims["exp"].as_i64().ok_or("it does not expire")?)?;
    // Whole seconds here and there, and one that passes between two readings of the clock.
    let late = expires.as_second() - until.as_second();
    assert!(
        (-2..=2).contains(&late),
        "the session ends at {until}, its credential at {expires}"
    );
    Ok(())
}
