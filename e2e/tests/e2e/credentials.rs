//! Credentials: how long they live, what they ask of the rule each time, and kubeconfigs that hold none.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use e2e::faults::{Fault, Proxy, Request, Which};
use e2e::user::ALICE;
use e2e::{Caller, Kind, Outcome, World, rule};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::ServerOptions;

use crate::audit::{audited, lines};

crate::tests![
    kubeconfig_that_asks_for_credentials_holds_none,
    credential_lives_no_longer_than_the_server_is_told,
    credential_lives_no_longer_than_an_hour,
    rule_is_looked_for_at_each_credential,
];

fn kubeconfig_that_asks_for_credentials_holds_none(world: &World) -> Outcome {
    let (site, log) = audited(world, "exec-kubeconfig")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let path = "/kubeconfig?credential=exec";
    let json = alice.get(path)?.expect(200)?;
    let yaml = alice
        .send("GET", path, &[("Accept", "application/yaml")])?
        .expect(200)?;
    for answer in [&json, &yaml] {
        // What a JSON web token begins with.
        assert!(
            !answer.body.contains("eyJ") && !answer.body.contains("token"),
            "{}",
            answer.body
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let exec = &json.json()?["users"]["tka-user-alice"]["exec"];
    assert_eq!(
        (&exec["command"], &exec["args"][0]),
        (&json!("tka"), &json!("credential"))
    );
    let file = world.new_folder("exec-kubeconfig")?.join("config.yaml");
    std::fs::write(&file, &yaml.body)?;
    let read = world.testbed.kubectl_with(
        &file,
        &[
            "config",
            "view",
            "--raw",
            "--output=jsonpath={.users[0].user.exec.command}",
        ],
    )?;
    assert_eq!(read.success()?, "tka");
    let issued = lines(&log)?
        .into_iter()
        .filter(|record| record["decision"] == "credential_issued");
    assert_eq!(issued.count(), 0);
    // And where it may hold one it does.
    alice.token().map(drop)
}

/// For how many seconds a credential is valid, by what the API server wrote into it and by what is said of it.
fn lifetimes(alice: &Caller) -> Outcome<[i64; 2]> {
    let requested_at = Timestamp::now().as_second();
    let credential = alice.post("/credential")?.expect(200)?.json()?;
    let status = &credential["status"];
    let token = status["token"].as_str().ok_or("there is no token")?;
    alice.remember(token)?;
    let claims = token.split('.').nth(1).ok_or("it is no JSON web token")?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    let said: Timestamp = status["expirationTimestamp"].as_str().unwrap_or_default().parse()?;
    let in_token = claims["exp"].as_i64().ok_or("it does not expire")?;
    Ok([in_token - requested_at, said.as_second() - requested_at])
}

/// A moment passes between two readings of the clock.
fn about(lifetime: i64, expected: i64) -> bool {
    (expected - 2..=expected + 5).contains(&lifetime)
}

fn credential_lives_no_longer_than_the_server_is_told(world: &World) -> Outcome {
    let mut options = ServerOptions::new("short-credential");
    options.config = json!({"operator": {"maxCredentialPeriod": "20m"}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "8h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let found = lifetimes(&alice)?;
    assert!(found.iter().all(|found| about(*found, 20 * 60)), "{found:?}");
    Ok(())
}

fn credential_lives_no_longer_than_an_hour(world: &World) -> Outcome {
    let site = world.site("hour-credential")?;
    site.grant(&[(ALICE, rule("view", "8h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let found = lifetimes(&alice)?;
    assert!(found.iter().all(|found| about(*found, 60 * 60)), "{found:?}");
    Ok(())
}

fn rule_is_looked_for_at_each_credential(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let site = proxy.site(world, "each-credential")?;
    let rules = [
        rule("view", "1h"),
        json!({"role": "edit", "period": "1h", "name": "other", "priority": 1}),
    ];
    site.grant(&[(ALICE, rules[0].clone())])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let path = site.path_of_only(Kind::Signin)?;
    let by_name = json!({"session": path.rsplit('/').next()}).to_string();
    // As a person asks, and as the kubeconfig of one session does.
    let ask = |status: u16| -> Outcome {
        let json = [("Content-Type", "application/json")];
        for body in ["", &by_name] {
            let answer = alice.send_body("POST", "/api/v1alpha1/credential", &json, body.as_bytes())?;
            let answer = answer.expect(status)?;
            if status == 200 {
                alice.remember(answer.json()?["status"]["token"].as_str().unwrap_or_default())?;
            } else {
                answer.refusal()?;
            }
        }
        Ok(())
    };
    ask(200)?;
    // Without the right to end the session, so that the request itself is refused.
    let deletes = |request: &Request| request.is("delete", "tkasignins");
    let held = proxy.arm(Which::first(deletes).times(usize::MAX), Fault::Answer(503, None));
    site.grant(&[(ALICE, rules[1].clone())])?;
    ask(401)?;
    alice.get("/kubeconfig")?.expect(401)?.refusal()?;
    site.grant(&[])?;
    ask(403)?;
    alice.get("/kubeconfig")?.expect(403)?.refusal()?;
    assert_eq!(site.counts()?, [1, 1, 1], "the session is still there");
    drop(held);
    site.wait_empty()
}
