//! `tka rules`

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::User;

pub(crate) fn rules() -> Value {
    json!({"items": [
        {"role": "cluster-admin", "name": "oncall", "namespaces": [], "period": "8h0m0s", "priority": 100,
         "require_reason": true, "max_sessions": 1, "default": true},
        {"role": "edit", "namespaces": ["shop", "web"], "period": "1h30m0s", "priority": 50, "require_reason": false,
         "default": false, "problem": "this cluster has no ClusterRole edit"},
    ]})
}

fn shown(arguments: &[&str]) -> String {
    let fake = FakeServer::new(&[("GET /rules", Answer::json(200, &rules()))]);
    let outcome = User::new().run_with(&fake, &[&["rules"], arguments].concat());
    fake.requests();
    outcome.shown(&fake)
}

#[test]
fn in_every_form() {
    insta::assert_snapshot!("rules_human", shown(&[]));
    insta::assert_snapshot!("rules_ascii", shown(&["--theme", "ascii"]));
    insta::assert_snapshot!("rules_json", shown(&["-o", "json"]));
    insta::assert_snapshot!("rules_yaml", shown(&["-o", "yaml"]));
    insta::assert_snapshot!("rules_name", shown(&["-o", "name"]));
    assert_eq!(shown(&["--quiet"]), shown(&["-o", "name"]));
}

#[test]
fn a_refusal_says_why() {
    let account = json!({"message": "no rule of the tailnet policy reaches you", "advice": ["ask for a grant"]});
    let fake = FakeServer::new(&[("GET /rules", Answer::json(403, &account))]);
    insta::assert_snapshot!(User::new().run_with(&fake, &["rules"]).shown(&fake), @"
    status 4
    --- stdout
    --- stderr
    ✗ http://127.0.0.1:PORT refuses to show your rules
      why  no rule of the tailnet policy reaches you
      do   ask for a grant
    ");
}

#[test]
fn the_originals_server_has_none() {
    let answer = Answer::Http {
        status: 404,
        headers: vec!["Content-Type: text/plain".into()],
        body: "404 page not found".into(),
    };
    let fake = FakeServer::new(&[("GET /rules", answer)]);
    insta::assert_snapshot!(User::new().run_with(&fake, &["rules"]).shown(&fake), @"
    status 8
    --- stdout
    --- stderr
    ✗ the server at http://127.0.0.1:PORT cannot show your rules
      why  it has no such endpoint: it may be the original TKA server, an older version, or another service
      do   these commands work with it: `tka login`, `tka get login`, `tka kubeconfig`, `tka cluster-info`, `tka logout`
           run `tka doctor` to see which service answers there
    ");
}
