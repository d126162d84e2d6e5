//! Whatever is answered: an error at worst.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are outside of test functions"
)]

mod support;

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;
use support::{Double, Step, answer, ok, recorded};
use tka_tailnet::{Error, LocalApi};
use tokio::runtime::{Builder, Runtime};

/// A tailscaled that answers every question with the same bytes.
struct Parrot {
    runtime: Runtime,
    phrase: Arc<Mutex<Vec<u8>>>,
    double: Double,
}

/// The outcome of every endpoint, in the order whois, status, certificate, the first notification.
type Outcomes = [Result<(), Error>; 4];

impl Parrot {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let phrase = Arc::<Mutex<Vec<u8>>>::default();
        let spoken = Arc::clone(&phrase);
        let double = runtime
            .block_on(async { Double::start(move |_| vec![Step::Write(spoken.lock().unwrap().clone()), Step::Close]) });
        Self {
            runtime,
            phrase,
            double,
        }
    }

    fn hear(&self, phrase: Vec<u8>) -> Outcomes {
        *self.phrase.lock().unwrap() = phrase;
        self.runtime.block_on(async {
            let tailscaled = LocalApi::new(self.double.socket());
            [
                tailscaled.whois("100.64.0.2:1".parse().unwrap()).await.map(drop),
                tailscaled.status().await.map(drop),
                tailscaled.certificate("a.ts.net", None).await.map(drop),
                match tailscaled.watch().await {
                    Ok(mut notifications) => notifications.next().await.unwrap().map(drop),
                    Err(error) => Err(error),
                },
            ]
        })
    }
}

fn property<S: Strategy>(strategy: &S, test: impl Fn(&Parrot, S::Value) -> TestCaseResult) {
    let parrot = Parrot::new();
    let mut runner = proptest::test_runner::TestRunner::default();
    runner.run(strategy, |value| test(&parrot, value)).unwrap();
}

fn is_understood_or_malformed(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Ok(()) | Err(Error::Malformed { .. }))
}

fn json() -> impl Strategy<Value = Value> {
    let names =
        "(ID|StableID|Node|UserProfile|CapMap|Self|State|TUN|BackendState|KeyExpiry|PeerChangedPatch|[a-z]{0,3})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[0-9a-f:./TZ-]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every value within `value`.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            places(value, &format!("{at}/{name}"), found);
        }),
        Value::Array(values) => (0..)
            .zip(values)
            .for_each(|(i, value)| places(value, &format!("{at}/{i}"), found)),
        _ => {}
    }
}

/// A recorded answer with something else at one place.
fn changed(file: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let original: Value = serde_json::from_slice(&recorded(file)).unwrap();
    let mut all = Vec::new();
    places(&original, "", &mut all);
    (prop::sample::select(all), json()).prop_map(move |(place, value)| {
        let mut answer = original.clone();
        *answer.pointer_mut(&place).unwrap() = value;
        answer.to_string().into_bytes()
    })
}

#[test]
fn any_bytes_instead_of_http() {
    property(&any::<Vec<u8>>(), |parrot, bytes| {
        for outcome in parrot.hear(bytes) {
            let is_bad = matches!(outcome, Err(Error::Malformed { .. } | Error::Interrupted { .. }));
            prop_assert!(is_bad, "{:?}", outcome);
        }
        Ok(())
    });
}

#[test]
fn any_head() {
    let head = "HTTP/1.[01] [1-5][0-9]{2} .{0,20}\r\n(([a-zA-Z-]{1,12}|Content-Length|Transfer-Encoding): ([0-9]{0,21}|chunked|.{0,9})\r\n){0,4}\r\n.{0,99}";
    property(&head, |parrot, text| {
        let _ = parrot.hear(text.into_bytes());
        Ok(())
    });
}

#[test]
fn any_bytes_in_an_answer() {
    property(&any::<Vec<u8>>(), |parrot, body| {
        let [whois, status, certificate, _] = parrot.hear(answer("200 OK", "", body));
        for outcome in [whois, status, certificate] {
            prop_assert!(matches!(outcome, Err(Error::Malformed { .. })), "{:?}", outcome);
        }
        Ok(())
    });
}

#[test]
fn any_json_in_an_answer() {
    property(&json(), |parrot, value| {
        let [whois, status, certificate, notification] = parrot.hear(answer("200 OK", "", format!("{value}\n")));
        prop_assert!(is_understood_or_malformed(&whois), "{:?}", whois);
        prop_assert!(is_understood_or_malformed(&status), "{:?}", status);
        prop_assert!(matches!(certificate, Err(Error::Malformed { .. })), "{:?}", certificate);
        // A notification that tells nothing is passed over, and then the stream ends.
        prop_assert!(
            is_understood_or_malformed(&notification) || matches!(notification, Err(Error::Interrupted { .. })),
            "{:?}",
            notification
        );
        Ok(())
    });
}

#[test]
fn answers_with_something_else_in_them() {
    property(&changed("whois_tagged.json"), |parrot, body| {
        let [whois, ..] = parrot.hear(answer("200 OK", "", body));
        prop_assert!(is_understood_or_malformed(&whois), "{:?}", whois);
        Ok(())
    });
    property(&changed("status_running.json"), |parrot, body| {
        let [_, status, ..] = parrot.hear(answer("200 OK", "", body));
        prop_assert!(is_understood_or_malformed(&status), "{:?}", status);
        Ok(())
    });
}

#[tokio::test]
async fn depth_does_not_overflow() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let original = String::from_utf8(recorded("whois_user.json")).unwrap();
    let in_a_capability = original.replacen("\"period\": \"15m\"", &format!("\"period\": {deep}"), 1);
    let elsewhere = original.replacen("\"HomeDERP\": 999", &format!("\"HomeDERP\": {deep}"), 1);
    let in_an_id = original.replacen("\"StableID\": \"2\"", &format!("\"StableID\": {deep}"), 1);
    for (answer, understood) in [(in_a_capability, true), (elsewhere, true), (in_an_id, false)] {
        assert!(answer.len() > 400_000);
        let double = Double::start(move |_| ok(&answer));
        let whois = LocalApi::new(double.socket())
            .whois("100.64.0.2:1".parse().unwrap())
            .await;
        assert_eq!(whois.is_ok(), understood);
        if let Ok(whois) = whois {
            for value in whois.cap_map.values().flatten() {
                let _ = serde_json::from_str::<Value>(value.get());
            }
        }
    }
}
