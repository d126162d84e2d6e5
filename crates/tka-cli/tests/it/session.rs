//! `tka get login`

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{User, login};

#[test]
fn shows_who_what_and_until_when() {
    for (spelling, status, provisioned) in [("login", 200, "yes"), ("signin", 202, "not yet")] {
        let fake = FakeServer::new(&[("GET /login", Answer::json(status, &login()))]);
        let outcome = User::new().run_with(&fake, &["get", spelling]);
        assert!(
            outcome
                .stdout
                .starts_with("  user         alice@example.com\n  role         view\n"),
            "{outcome:?}"
        );
        assert!(
            outcome.stdout.ends_with(&format!("  provisioned  {provisioned}\n")),
            "{outcome:?}"
        );
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
    }
}

#[test]
fn long_adds_where() {
    let fake = FakeServer::new(&[("GET /login", Answer::json(200, &login()))]);
    let user = User::new();
    user.has_kubeconfig(&fake);
    let outcome = user.run_with(&fake, &["get", "login", "-l"]);
    assert!(outcome.stdout.contains("server       http://127.0.0.1:"), "{outcome:?}");
    assert!(
        outcome.stdout.contains(&user.kubeconfig(&fake).display().to_string()),
        "{outcome:?}"
    );
}

#[test]
fn quiet_leaves_the_status() {
    let fake = FakeServer::new(&[
        ("GET /login", Answer::json(200, &login())),
        ("GET /login", Answer::json(401, &json!({"message": "not signed in"}))),
    ]);
    let user = User::new();
    let outcome = user.run_with(&fake, &["get", "login", "-q"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
        ("", "", 0)
    );
    let outcome = user.run_with(&fake, &["get", "login", "-q"]);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("", 3));
}

#[test]
fn forms_for_programs() {
    let fake = FakeServer::new(&vec![("GET /login", Answer::json(202, &login())); 3]);
    let user = User::new();
    let said = |form: &str| user.run_with(&fake, &["get", "login", "-o", form]).stdout;
    let server = format!("http://127.0.0.1:{}", fake.address.port());
    let mut expected = login();
    (expected["provisioned"], expected["server"]) = (json!(false), json!(server));
    expected["kubeconfig"] = json!(null);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&said("json")).unwrap(),
        expected
    );
    assert!(said("yaml").contains("role: view\n"));
    assert_eq!(said("name"), "alice@example.com\n");
}
