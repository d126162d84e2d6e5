//! The gateway: a kubeconfig with an address and nothing else.

use std::fs;

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, login, signed_in};

const ADDRESS: &str = "http://tka.example.ts.net:8080/k8s";

/// A sign-in through the gateway at `address`.
fn through(address: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let mut answer = login();
    answer["session"] = json!({"name": SESSION});
    answer["kubeconfig"] = json!({
        "kind": "Config", "apiVersion": "v1",
        "clusters": {"tka-cluster": {"server": address}},
        "users": {"tka-user-alice": {}},
        "contexts": {"tka-context-alice": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
        "current-context": "tka-context-alice"
    });
    change(&mut answer["kubeconfig"]);
    Answer::json(200, &answer)
}

fn cluster_info(gateway: &Value) -> (&'static str, Answer) {
    let info = json!({"server_url": "https://k8s.example.com:6443", "ca_data": "", "labels": {}, "gateway": gateway});
    ("GET /cluster-info", Answer::json(200, &info))
}

fn rules(access: Option<&str>) -> (&'static str, Answer) {
    let rule = json!({"name": "oncall", "role": "view", "priority": 1, "namespaces": ["shop"], "period": "8h",
        "require_reason": false, "default": true, "access": access});
    ("GET /rules", Answer::json(200, &json!({"items": [rule]})))
}

/// Signs in by one answer, and returns the kubeconfig.
fn written(answer: Answer, user: &User, arguments: &[&str]) -> (Outcome, String) {
    let fake = FakeServer::new(&[("POST /login", answer)]);
    let outcome = user.run_with(&fake, &[&["login"], arguments].concat());
    let port = fake.address.port().to_string();
    let text = fs::read_to_string(user.kubeconfig(&fake)).unwrap_or_default();
    (outcome, text.replace(&port, "PORT"))
}

#[test]
fn kubeconfig_holds_the_address_and_nothing_else() {
    let (outcome, text) = written(through(ADDRESS, |_| ()), &User::new(), &[]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    insta::assert_snapshot!(text);
}

/// The person's device is the credential, so that another server would take kubectl for them.
#[test]
fn no_server_sends_kubectl_elsewhere() {
    for elsewhere in [
        "http://evil.example.com",
        "https://tka.example.ts.net",
        "http://127.0.0.2",
    ] {
        let sent = through(&format!("{elsewhere}/k8s/rule/oncall"), |_| ());
        let (outcome, text) = written(sent, &User::new(), &[]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(
            text.contains("server: 'http://127.0.0.1:PORT/k8s/rule/oncall'") && !text.contains("token"),
            "{text}"
        );
    }
}

/// A rule that was changed meanwhile has another way, which is known before anything ends.
#[test]
fn way_that_a_rule_has_no_more_ends_no_session() {
    let user = User::new();
    let sessions = json!({"items": [{
        "name": SESSION, "username": "alice@example.com", "device": "laptop", "this_device": true, "role": "view", "rule": "oncall",
        "namespaces": ["shop"], "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    }]});
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("GET /sessions", Answer::json(200, &sessions)),
        rules(Some("gateway")),
        (
            &*format!("DELETE /sessions/{SESSION}"),
            Answer::json(200, &sessions["items"][0]),
        ),
        ("POST /login", through(ADDRESS, |_| ())),
    ]);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let outcome = user.run_with(&fake, &["reauthenticate"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(
        fake.requests()[4].line.ends_with("/login?via=default"),
        "{:?}",
        fake.requests()
    );
}

#[test]
fn what_is_no_address_of_a_gateway_is_refused() {
    let cluster = |change: fn(&mut Value)| through(ADDRESS, |sent| change(&mut sent["clusters"]["tka-cluster"]));
    for answer in [
        through("http://tka.example.ts.net:8080/", |_| ()),
        through("http://tka.example.ts.net:8080/k8s/api/v1", |_| ()),
        through(ADDRESS, |sent| {
            sent["users"]["tka-user-alice"] = json!({"token": "secret"});
        }),
        cluster(|cluster| cluster["insecure-skip-tls-verify"] = json!(true)),
        cluster(|cluster| cluster["proxy-url"] = json!("http://evil")),
    ] {
        let (outcome, text) = written(answer, &User::new(), &[]);
        assert_eq!((outcome.status, text.as_str()), (1, ""), "{outcome:?}");
    }
}

#[test]
fn way_that_was_not_chosen_is_not_taken() {
    let (outcome, text) = written(through(ADDRESS, |_| ()), &User::new(), &["--via", "direct"]);
    assert_eq!((outcome.status, text.as_str()), (1, ""), "{outcome:?}");
    let script = [
        cluster_info(&json!({"url": ADDRESS, "default": false})),
        ("POST /login", Answer::json(200, &signed_in())),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let outcome = user.run_with(&fake, &["login", "--via", "gateway"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("does not lead through the gateway"),
        "{outcome:?}"
    );
    assert!(!user.kubeconfig(&fake).exists());
}

#[test]
fn each_way_is_asked_for() {
    for (options, query) in [
        (&[][..], "?via=default"),
        (&["--via=direct"], "?via=direct"),
        (&["--token"], "?via=direct"),
    ] {
        let fake = FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]);
        let outcome = User::new().run_with(&fake, &[&["login"], options].concat());
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert_eq!(fake.requests()[0].line, format!("POST /api/v1alpha1/login{query}"));
    }
}

#[test]
fn server_without_a_gateway_begins_nothing() {
    for arguments in [&["login", "--via=gateway"][..], &["exec", "--via=gateway", "true"]] {
        let fake = FakeServer::new(&[cluster_info(&Value::Null)]);
        let outcome = User::new().run_with(&fake, arguments);
        assert_eq!((outcome.status, fake.requests().len()), (8, 1), "{outcome:?}");
    }
}

#[test]
fn rule_that_gives_no_token_says_what_to_do() {
    let refusal = json!({
        "message": "the rule for the role view gives access through the gateway alone, and no token",
        "advice": ["sign in with `tka login`, without `--token` and `--via direct`: it writes the gateway's address into the kubeconfig"]
    });
    let fake = FakeServer::new(&[("POST /login", Answer::json(403, &refusal))]);
    insta::assert_snapshot!(User::new().run_with(&fake, &["login", "--token"]).shown(&fake));
}

#[test]
fn ways_of_one_session_share_its_context_and_namespace() {
    let user = User::new();
    let sessions = json!({"items": [{
        "name": SESSION, "username": "alice@example.com", "device": "laptop", "this_device": true, "role": "view", "namespaces": [],
        "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    }]});
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /login", through(ADDRESS, |_| ())),
        ("GET /sessions", Answer::json(200, &sessions)),
        ("POST /login", Answer::json(200, &signed_in())),
    ]);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let path = user.kubeconfig(&fake);
    let direct = fs::read_to_string(&path).unwrap();
    let chosen = direct.replace(
        "user: 'tka-user-alice'\n",
        "user: 'tka-user-alice'\n    namespace: 'shop'\n",
    );
    assert_ne!(chosen, direct);
    fs::write(&path, &chosen).unwrap();
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let through = fs::read_to_string(&path).unwrap();
    assert!(
        through.contains("namespace: 'shop'") && through.contains("name: 'tka-context-alice'"),
        "{through}"
    );
    assert!(
        !through.contains("tka-cluster") && !through.contains("exec"),
        "{through}"
    );
    let shown = user.run_with(&fake, &["status", "-o", "json"]).stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&shown).unwrap()["items"][0]["via"],
        "gateway"
    );
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let again = fs::read_to_string(&path).unwrap();
    assert!(
        again.contains("namespace: 'shop'") && again.contains("name: 'tka-cluster'"),
        "{again}"
    );
    assert_eq!(again.matches("- name:").count(), 3, "{again}");
}

#[test]
fn file_for_a_team_is_printed_and_nothing_is_written() {
    let gateway = json!({"url": ADDRESS, "default": false});
    let fake = FakeServer::new(&[
        cluster_info(&gateway),
        rules(None),
        cluster_info(&gateway),
        rules(Some("direct")),
    ]);
    let user = User::new();
    let outcome = user.run_with(&fake, &["kubeconfig", "--static", "--rule", "oncall"]);
    insta::assert_snapshot!(outcome.shown(&fake));
    let outcome = user.run_with(&fake, &["get", "kubeconfig", "--static"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(
        outcome.stderr.contains("gives no access through the gateway"),
        "{outcome:?}"
    );
    assert_eq!(user.files(), Vec::<String>::new());
    for wrong in [
        &["--static", "--merge"][..],
        &["--static", "--token"],
        &["--static", "--via=direct"],
        &["--rule", "x"],
    ] {
        assert_eq!(
            user.run_with(&fake, &[&["kubeconfig"], wrong].concat()).status,
            2,
            "{wrong:?}"
        );
    }
}

#[test]
fn failure_of_a_printed_file_is_no_line_for_a_shell() {
    let fake = FakeServer::new(&[cluster_info(&Value::Null), cluster_info(&Value::Null)]);
    for arguments in [&["kubeconfig", "--static"][..], &["get", "kubeconfig", "--static"]] {
        let outcome = User::new().run_with(&fake, arguments);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (8, ""), "{outcome:?}");
    }
}
