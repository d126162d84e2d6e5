//! `tka cluster-info`, `tka get cluster-info`

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::User;

#[test]
fn shows_how_to_reach_the_cluster() {
    let answer = json!({
        "server_url": "https://k8s.example.com:6443", "insecure_skip_tls_verify": false, "ca_data": "UEVN",
        "labels": {"env": "prod"}
    });
    for spelling in [&["cluster-info"][..], &["get", "cluster-info"]] {
        let fake = FakeServer::new(&[("GET /cluster-info", Answer::json(200, &answer))]);
        let outcome = User::new().run_with(&fake, spelling);
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcome.shown(&fake), @"
            status 0
            --- stdout
              server  https://k8s.example.com:6443
              TLS     verified with the cluster's authority
              CA      UEVN
              label   env=prod
            --- stderr
            ");
        }
    }
}

#[test]
fn forms_for_programs() {
    let answer = json!({
        "server_url": "https://k8s.example.com:6443", "insecure_skip_tls_verify": false, "ca_data": "UEVN",
        "labels": {"env": "prod"}
    });
    let said = |arguments: &[&str]| {
        let fake = FakeServer::new(&[("GET /cluster-info", Answer::json(200, &answer))]);
        let outcome = User::new().run_with(&fake, arguments);
        assert_eq!(outcome.status, 0);
        outcome.stdout
    };
    let json: serde_json::Value = serde_json::from_str(&said(&["cluster-info", "-o", "json"])).unwrap();
    assert_eq!(json, answer);
    assert!(said(&["get", "cluster-info", "-o", "yaml"]).contains("labels:\n  env: prod\n"));
    assert_eq!(
        said(&["cluster-info", "-q", "-o", "name"]),
        "https://k8s.example.com:6443\n"
    );
    assert_eq!(said(&["cluster-info", "-q"]), "");
}
