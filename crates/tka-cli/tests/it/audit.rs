//! `tka audit`

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::replicas::{knows, run, tailnet};
use crate::tka::User;

const GET: &str = "GET /oversight/audit";

fn record(second: u32, decision: &str) -> Value {
    json!({
        "version": "audit.tka.specht-labs.de/v1", "time": format!("1901-01-02T15:04:{second:02}.5Z"), "decision": decision, "outcome": "granted",
        "who": {"user": {"id": 7, "login_name": "alice@example.com"}},
        "device": {"stable_id": "n1", "name": "laptop"},
        "session": {"name": "tka-alice-x", "namespace": "tka", "until": "1901-01-02T16:04:05Z", "rule": {"role": "view", "period": "1h0m0s"}},
    })
}

fn searched(replica: &str) -> Value {
    json!({"replica": replica, "since": "1901-01-01T00:00:00Z", "complete": true, "not_searched": [], "skipped_lines": 0})
}

fn page(replica: &str, items: &[Value]) -> Answer {
    Answer::json(200, &json!({"items": items, "searched": searched(replica)}))
}

#[test]
fn records_are_shown_and_whose_they_are() {
    let items = [record(9, "signed_out"), record(5, "signed_in")];
    let shown = |arguments: &[&str]| {
        let fake = FakeServer::new(&[(GET, page("tka.example.ts.net", &items))]);
        let outcome = User::new().run_with(&fake, &[&["audit"], arguments].concat());
        fake.requests();
        outcome.shown(&fake)
    };
    insta::with_settings!({filters => [(r"\d+ d", "AGES")]}, {
        insta::assert_snapshot!(shown(&[]), @"
        status 0
        --- stdout
        TIME                                   DECISION    USER               DEVICE  SESSION      ABOUT
        AGES ago (1901-01-02 15:04:09 UTC)  signed_out  alice@example.com  laptop  tka-alice-x  view
        AGES ago (1901-01-02 15:04:05 UTC)  signed_in   alice@example.com  laptop  tka-alice-x  view
        --- stderr
        → searched the records of tka.example.ts.net, which reach back to 1901-01-01T00:00:00Z
        ");
    });
    insta::assert_snapshot!(shown(&["--limit", "1", "-o", "json"]), @r#"
    status 0
    --- stdout
    {
      "items": [
        {
          "replica": "tka.example.ts.net",
          "record": {
            "decision": "signed_out",
            "device": {
              "name": "laptop",
              "stable_id": "n1"
            },
            "outcome": "granted",
            "session": {
              "name": "tka-alice-x",
              "namespace": "tka",
              "rule": {
                "period": "1h0m0s",
                "role": "view"
              },
              "until": "1901-01-02T16:04:05Z"
            },
            "time": "1901-01-02T15:04:09.5Z",
            "version": "audit.tka.specht-labs.de/v1",
            "who": {
              "user": {
                "id": 7,
                "login_name": "alice@example.com"
              }
            }
          }
        }
      ],
      "searched": [
        {
          "server": "http://127.0.0.1:PORT",
          "replica": "tka.example.ts.net",
          "since": "1901-01-01T00:00:00Z",
          "complete": true,
          "not_searched": [],
          "skipped_lines": 0
        }
      ],
      "has_more": false
    }
    --- stderr
    → searched the records of tka.example.ts.net, which reach back to 1901-01-01T00:00:00Z
    "#);
    insta::assert_snapshot!(shown(&["-o", "name"]), @"
    status 0
    --- stdout
    tka-alice-x
    --- stderr
    → searched the records of tka.example.ts.net, which reach back to 1901-01-01T00:00:00Z
    ");
}

#[test]
fn what_is_asked_for_is_sent_page_by_page() {
    let mut first = json!({"items": [record(9, "signed_in")], "next": "1-2-3", "searched": searched("tka")});
    first["searched"]["skipped_lines"] = json!(2);
    let script = [
        (GET, Answer::json(200, &first)),
        (GET, page("tka", &[record(8, "signed_in")])),
    ];
    let fake = FakeServer::new(&script);
    let arguments = [
        "audit",
        "--user",
        "a@b",
        "--device",
        "laptop",
        "--session",
        "tka-a",
        "--decision",
        "signed_in",
        "--since",
        "1900-01-01T00:00:00Z",
        "--limit",
        "5",
    ];
    let outcome = User::new().run_with(&fake, &arguments);
    let lines: Vec<String> = fake.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let query = "?user=a%40b&device=laptop&session=tka%2Da&decision=signed%5Fin&since=1900%2D01%2D01T00%3A00%3A00Z";
    let query = query.replace("%2D", "-");
    let path = format!("GET /api/v1alpha1/oversight/audit{query}");
    assert_eq!(
        lines,
        [format!("{path}&limit=5"), format!("{path}&limit=4&before=1-2-3")]
    );
    assert!(outcome.stderr.contains("no record: 2"), "{outcome:?}");
}

#[test]
fn server_that_leads_no_further_is_left() {
    let again = json!({"items": [], "next": "1-2-3", "searched": searched("tka")});
    let fake = FakeServer::new(&[(GET, Answer::json(200, &again)), (GET, Answer::json(200, &again))]);
    let outcome = User::new().run_with(&fake, &["audit"]);
    fake.requests();
    assert_eq!(outcome.status, 10, "{outcome:?}");
    assert!(outcome.stderr.contains("did not come to its end"), "{outcome:?}");
}

#[test]
fn refusals_say_what_to_do() {
    for (status, message, exit, says) in [
        (404, "no such path", 4, "oversight of audit records"),
        (
            404,
            "audit records are written to standard output, and cannot be searched there",
            10,
            "set audit.path",
        ),
        (
            400,
            "records cannot be searched by that",
            2,
            "records cannot be searched",
        ),
        (503, "the audit records cannot be read just now", 10, "just now"),
    ] {
        let advice = json!(["ask an administrator of TKA to set audit.path"]);
        let body = json!({"message": message, "advice": advice});
        let fake = FakeServer::new(&[(GET, Answer::json(status, &body))]);
        let outcome = User::new().run_with(&fake, &["audit"]);
        fake.requests();
        assert_eq!(outcome.status, exit, "{outcome:?}");
        assert!(
            outcome.stderr.contains(says) && outcome.stdout.is_empty(),
            "{outcome:?}"
        );
    }
}

#[test]
fn all_replicas_are_asked_and_merged() {
    let own = [record(9, "signed_out"), record(5, "signed_in")];
    let (named, other) = (
        FakeServer::new(&[(GET, page("tka-0", &own))]),
        FakeServer::new(&[(GET, page("tka-1", &[record(7, "credential_issued")]))]),
    );
    let user = knows(&named, &other);
    let (outcome, _) = run(&user, &named, &tailnet(&["tag:tka"]), &["audit", "-o", "json"]);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let items = found["items"].as_array().unwrap();
    let of = |item: &Value| (item["replica"].clone(), item["record"]["decision"].clone());
    let expected = [
        ("tka-0", "signed_out"),
        ("tka-1", "credential_issued"),
        ("tka-0", "signed_in"),
    ];
    assert_eq!(
        items.iter().map(of).collect::<Vec<_>>(),
        expected.map(|(replica, decision)| (json!(replica), json!(decision)))
    );
    assert_eq!(items[1]["record"], record(7, "credential_issued"), "as it is");
    assert_eq!((outcome.status, found["searched"].as_array().unwrap().len()), (0, 2));
    assert!(outcome.stderr.contains("records of tka-0") && outcome.stderr.contains("records of tka-1"));
    for fake in [&named, &other] {
        fake.requests();
    }
}

#[test]
fn replica_that_does_not_answer_is_named() {
    let own = || page("tka-0", &[record(9, "signed_out")]);
    let refusal = || Answer::json(404, &json!({"message": "no such path"}));
    for (tags, answers) in [
        (&["tag:tka"][..], vec![(GET, Answer::Truncated)]),
        (&["tag:tka"], vec![(GET, refusal())]),
        // What the tailnet does not show as a replica is not asked.
        (&["tag:ci"], vec![]),
    ] {
        let (named, other) = (FakeServer::new(&[(GET, own())]), FakeServer::new(&answers));
        let user = knows(&named, &other);
        let (outcome, _) = run(&user, &named, &tailnet(tags), &["audit"]);
        assert_eq!(outcome.status, 10, "{outcome:?}");
        assert!(outcome.stdout.contains("signed_out"), "{outcome:?}");
        let server = format!("http://localhost:{}", other.address.port());
        let says = outcome.stderr.replace('\n', " ");
        assert!(
            says.contains(&format!("the records of {server} were not searched")),
            "{outcome:?}"
        );
        for fake in [&named, &other] {
            fake.requests();
        }
    }
}

#[test]
fn wrong_times_and_limits_are_refused() {
    for wrong in [&["--since", "yesterday"][..], &["--limit", "0"], &["--until", ""]] {
        assert_eq!(User::new().run(&[&["audit"], wrong].concat()).status, 2, "{wrong:?}");
    }
}
