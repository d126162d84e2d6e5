//! Against receivers over TCP that fail in every way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a receiver does with a connection.
#[derive(Clone, Debug)]
enum ReceiverBehavior {
    /// Reads the request and answers that.
    Answers(String),
    /// Closes it in the middle of the request, with what is unread of it.
    Resets,
    /// Answers nothing.
    Hangs,
    /// Reads the request and answers the first, then the second for ever.
    Endless(&'static str, &'static str),
}

/// A request that came.
#[derive(Debug)]
struct ReceivedRequest {
    head: String,
    body: String,
}

// === impl ReceivedRequest ===

impl ReceivedRequest {
    fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    fn assert_signed(&self) {
        let keys = signature::Keys::parse(KEY).unwrap();
        let timestamp = self.header("webhook-timestamp").parse().unwrap();
        let signed = keys.sign(&self.header("webhook-id"), timestamp, self.body.as_bytes());
        assert_eq!(self.header("webhook-signature"), signed, "{self:?}");
    }
}

fn reads(stream: &mut impl Read) -> ReceivedRequest {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).unwrap_or_default();
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let came = ReceivedRequest {
                head: head.into(),
                body: body.into(),
            };
            if read == 0 || came.header("content-length").parse() == Ok(came.body.len()) {
                return came;
            }
        } else if read == 0 {
            return ReceivedRequest {
                head: text,
                body: String::new(),
            };
        }
    }
}

fn serves(stream: &mut (impl Read + Write), does: &ReceiverBehavior, came: &Sender<ReceivedRequest>) {
    match does {
        ReceiverBehavior::Resets => drop(stream.read(&mut [0; 10])),
        ReceiverBehavior::Hangs => thread::sleep(Duration::from_secs(30)),
        ReceiverBehavior::Answers(answer) => {
            let _ = came.send(reads(stream));
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.flush();
        }
        ReceiverBehavior::Endless(first, more) => {
            let _ = came.send(reads(stream));
            let mut written = stream.write_all(first.as_bytes());
            while written.is_ok() {
                written = stream.write_all(more.repeat(100).as_bytes());
            }
        }
    }
}

/// Serves each connection in turn as `does` says, and all that follow as the last.
fn receiver(
    listener: TcpListener,
    does: Vec<ReceiverBehavior>,
    tls: Option<Arc<ServerConfig>>,
) -> Receiver<ReceivedRequest> {
    let (sender, came) = channel();
    thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let does = does.get(at).or(does.last()).unwrap().clone();
            let (sender, tls) = (sender.clone(), tls.clone());
            thread::spawn(move || match tls {
                None => {
                    serves(&mut stream, &does, &sender);
                    if !matches!(does, ReceiverBehavior::Resets) {
                        let _ = stream.shutdown(Shutdown::Write);
                    }
                }
                Some(tls) => {
                    let connection = ServerConnection::new(tls).unwrap();
                    serves(&mut StreamOwned::new(connection, stream), &does, &sender);
                }
            });
        }
    });
    came
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn answers(answer: &str) -> ReceiverBehavior {
    ReceiverBehavior::Answers(answer.to_owned())
}

fn record() -> Record {
    serde_json::from_value(json!({
        "version": "audit.tka.specht-labs.de/v1", "time": "2026-01-02T15:04:05Z", "decision": "revoked", "outcome": "ended",
        "who": {"user": {"id": 7, "login_name": "bob@example.com"}}, "why": "the rule is gone",
    }))
    .unwrap()
}

/// What tells one webhook.
struct WebhookFixture {
    notifier: Notifier,
    delivery: Delivery,
    metrics: WebhookMetrics,
    folder: TempDir,
}

/// A webhook of that name at `url`, with `more` settings. A try may take two seconds.
fn told(url: &str, more: &[(&str, Value)]) -> WebhookFixture {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let mut hook = json!({"name": "a", "url": url, "keyFile": key});
    for (name, value) in more {
        hook[*name] = value.clone();
    }
    let settings = serde_json::from_value(json!({"webhooks": [hook]})).unwrap();
    let metrics = Metrics::default();
    let clock: Clock = Arc::new(jiff::Timestamp::now);
    let (notifier, delivery) = start_with(&settings, "tka", &clock, &metrics, Duration::from_secs(2));
    notifier.set_cluster("prod");
    WebhookFixture {
        notifier,
        delivery,
        metrics: metrics.notifications.of("a"),
        folder,
    }
}

// === impl WebhookFixture ===

impl WebhookFixture {
    async fn until(&self, what: &str, is: impl Fn(&WebhookMetrics) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is(&self.metrics) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}, {:?}",
                self.metrics,
                self.notifier.note()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn counts(&self) -> [u64; 3] {
        [
            self.metrics.delivered.get(),
            self.metrics.failures.get(),
            self.metrics.dead.get(),
        ]
    }
}

/// Waits for a request in a thread that may block.
async fn next(came: Receiver<ReceivedRequest>) -> (ReceivedRequest, Receiver<ReceivedRequest>) {
    let waits = move || (came.recv_timeout(Duration::from_secs(20)).unwrap(), came);
    tokio::task::spawn_blocking(waits).await.unwrap()
}

#[tokio::test]
async fn what_is_told_is_an_event_that_is_signed() {
    let (listener, port) = listener();
    let came = receiver(listener, vec![answers(OK)], None);
    let told = told(&format!("http://127.0.0.1:{port}/hook?x=y"), &[]);
    told.notifier.tell(&record());
    // It is not asked for.
    told.notifier.tell(&Record {
        decision: Decision::Carried,
        ..record()
    });
    let (came, rest) = next(came).await;
    assert!(came.head.starts_with("POST /hook?x=y HTTP/1.1\r\n"), "{came:?}");
    assert_eq!(
        came.header("content-type"),
        "application/cloudevents+json; charset=utf-8"
    );
    assert_eq!(
        came.header("user-agent"),
        concat!("tka-server/", env!("CARGO_PKG_VERSION"))
    );
    let age = jiff::Timestamp::now().as_second() - came.header("webhook-timestamp").parse::<i64>().unwrap();
    assert!((0..30).contains(&age), "{age}");
    came.assert_signed();
    let event: Value = serde_json::from_str(&came.body).unwrap();
    assert_eq!(
        (&event["id"], &event["source"]),
        (
            &json!(came.header("webhook-id")),
            &json!("/clusters/prod/namespaces/tka")
        )
    );
    assert_eq!(
        (&event["type"], &event["data"]["why"]),
        (&json!("de.specht-labs.tka.revoked"), &json!("the rule is gone"))
    );
    told.until("it is delivered", |metrics| metrics.delivered.get() == 1)
        .await;
    assert_eq!((told.counts(), told.metrics.waiting.get()), ([1, 0, 0], 0));
    assert_eq!(told.notifier.note().unwrap(), "");
    assert!(rest.try_recv().is_err(), "it came once");
}

/// A receiver that does what is wrong once, and then takes it.
async fn fails_once(does: ReceiverBehavior, said: &str, least: Duration) {
    let (listener, port) = listener();
    let came = receiver(listener, vec![does.clone(), answers(OK)], None);
    let told = told(&format!("http://127.0.0.1:{port}/s3cret"), &[]);
    let began = Instant::now();
    told.notifier.tell(&record());
    told.until("it failed", |metrics| metrics.failures.get() == 1).await;
    let note = told.notifier.note().unwrap();
    assert!(
        note.contains("1 wait") && note.contains(said) && !note.contains("s3cret"),
        "{does:?}: {note}"
    );
    told.until("it is delivered", |metrics| metrics.delivered.get() == 1)
        .await;
    assert!(began.elapsed() >= least, "{does:?}: {:?}", began.elapsed());
    assert_eq!(told.counts(), [1, 1, 0], "{does:?}");
    let all: Vec<_> = came.try_iter().filter(|came| !came.body.is_empty()).collect();
    all.iter().for_each(ReceivedRequest::assert_signed);
    let ids: std::collections::BTreeSet<_> = all.iter().map(|came| came.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "{does:?}: the ID is that of the message");
}

#[tokio::test]
async fn receiver_that_fails_is_asked_again() {
    let half = Duration::from_millis(500);
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
    tokio::join!(
        fails_once(
            answers("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"),
            "answered 500",
            half
        ),
        fails_once(
            answers("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"),
            "answered 404",
            half
        ),
        fails_once(answers(busy), "answered 429", Duration::from_secs(2)),
        fails_once(ReceiverBehavior::Resets, "gave no answer", half),
        fails_once(ReceiverBehavior::Hangs, "it took too long", Duration::from_secs(2)),
        fails_once(answers(""), "gave no answer", half),
        fails_once(answers("SSH-2.0-OpenSSH_9.9\r\n"), "no HTTP", half),
        fails_once(
            ReceiverBehavior::Endless("HTTP/1.1 500 Oh\r\n\r\n", "more"),
            "answered 500",
            half
        ),
        fails_once(
            ReceiverBehavior::Endless("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
            "gave no answer",
            half
        ),
        fails_once(
            ReceiverBehavior::Endless("", "HTTP/1.1 100 Continue\r\n\r\n"),
            "gave no answer",
            half
        ),
    );
}

#[tokio::test]
async fn body_of_an_answer_that_never_ends_holds_up_nothing() {
    let (listener, port) = listener();
    let _came = receiver(
        listener,
        vec![ReceiverBehavior::Endless("HTTP/1.1 200 OK\r\n\r\n", "more")],
        None,
    );
    let told = told(&format!("http://127.0.0.1:{port}/"), &[]);
    for _ in 0..3 {
        told.notifier.tell(&record());
    }
    told.until("all are delivered", |metrics| metrics.delivered.get() == 3)
        .await;
    assert_eq!(told.counts(), [3, 0, 0]);
}

#[tokio::test]
async fn receiver_that_refuses_connections_is_asked_again() {
    let (listener, port) = listener();
    drop(listener);
    let told = told(&format!("http://127.0.0.1:{port}/"), &[]);
    told.notifier.tell(&record());
    told.until("it failed", |metrics| metrics.failures.get() == 1).await;
    assert!(
        told.notifier.note().unwrap().contains("Connection refused"),
        "{:?}",
        told.notifier.note()
    );
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (came, _) = next(receiver(listener, vec![answers(OK)], None)).await;
    came.assert_signed();
}

#[tokio::test]
async fn redirect_is_followed_nowhere() {
    let (elsewhere, other) = listener();
    let elsewhere = receiver(elsewhere, vec![answers(OK)], None);
    let (listener, port) = listener();
    let to = |code: u16| {
        answers(&format!(
            "HTTP/1.1 {code} Go\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n"
        ))
    };
    let _came = receiver(listener, vec![to(302), to(307), answers(OK)], None);
    let told = told(&format!("http://127.0.0.1:{port}/"), &[]);
    told.notifier.tell(&record());
    told.until("it is delivered", |metrics| metrics.delivered.get() == 1)
        .await;
    assert_eq!(told.counts(), [1, 2, 0]);
    assert!(elsewhere.try_recv().is_err());
}

#[tokio::test]
async fn untrusted_certificate_gets_nothing_until_it_is_trusted() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_no_client_auth();
    let tls = tls.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let (listener, port) = listener();
    let came = receiver(listener, vec![answers(OK)], Some(Arc::new(tls)));
    let url = format!("https://localhost:{port}/");
    let stranger = told(&url, &[]);
    stranger.notifier.tell(&record());
    stranger.until("it failed", |metrics| metrics.failures.get() == 1).await;
    let note = stranger.notifier.note().unwrap();
    assert!(note.contains("certificate"), "{note}");
    assert!(came.try_iter().all(|came| came.body.is_empty()), "nothing was sent");
    drop(stranger);

    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&ca, "no PEM").unwrap();
    let told = told(&url, &[("caFile", json!(ca.path()))]);
    told.notifier.tell(&record());
    told.until("it failed", |metrics| metrics.failures.get() == 1).await;
    assert!(told.notifier.note().unwrap().contains("no certificate authority"));
    // Files are read at each try.
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    told.until("it is delivered", |metrics| metrics.delivered.get() == 1)
        .await;
    came.try_iter().last().unwrap().assert_signed();
}

#[tokio::test]
async fn text_for_slack_goes_to_a_url_that_is_in_a_file_alone() {
    let (listener, port) = listener();
    let came = receiver(listener, vec![answers(OK)], None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let slack = [
        ("url", json!("")),
        ("urlFile", json!(file)),
        ("keyFile", json!("")),
        ("format", json!("slack")),
    ];
    let told = told("", &slack);
    told.notifier.tell(&record());
    told.until("it failed", |metrics| metrics.failures.get() == 1).await;
    assert!(told.notifier.note().unwrap().contains("cannot read"));
    std::fs::write(&file, format!("http://127.0.0.1:{port}/services/T0/B0/s3cret\n")).unwrap();
    let (came, _) = next(came).await;
    assert!(
        came.head.starts_with("POST /services/T0/B0/s3cret HTTP/1.1"),
        "{came:?}"
    );
    assert_eq!(
        (
            came.header("webhook-signature").as_str(),
            came.header("content-type").as_str()
        ),
        ("", "application/json; charset=utf-8")
    );
    let body: Value = serde_json::from_str(&came.body).unwrap();
    assert_eq!(
        body,
        json!({"text": "prod: a session of bob@example.com was revoked\nbecause: `the rule is gone`"})
    );
}

#[tokio::test]
async fn stop_sends_what_is_new_and_waits_for_no_dead_receiver() {
    let (listener, port) = listener();
    let came = receiver(listener, vec![answers(OK)], None);
    let good = told(&format!("http://127.0.0.1:{port}/"), &[]);
    for _ in 0..20 {
        good.notifier.tell(&record());
    }
    good.delivery.finish().await;
    assert_eq!((came.try_iter().count(), good.metrics.delivered.get()), (20, 20));

    let dead = told("http://127.0.0.1:1/", &[]);
    dead.notifier.tell(&record());
    dead.until("it failed", |metrics| metrics.failures.get() >= 1).await;
    let began = Instant::now();
    dead.delivery.finish().await;
    assert!(began.elapsed() < LAST, "{:?}", began.elapsed());
    assert_eq!((dead.metrics.delivered.get(), dead.metrics.dead.get()), (0, 1));
}

#[tokio::test]
async fn wrong_key_file_sends_nothing_unsigned() {
    let (listener, port) = listener();
    let came = receiver(listener, vec![answers(OK)], None);
    let told = told(&format!("http://127.0.0.1:{port}/"), &[]);
    let key = told.folder.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    told.notifier.tell(&record());
    told.until("it failed", |metrics| metrics.failures.get() == 1).await;
    let note = told.notifier.note().unwrap();
    assert!(note.contains("the keys in") && !note.contains("s3cret"), "{note}");
    assert!(came.try_recv().is_err());
    std::fs::write(&key, KEY).unwrap();
    next(came).await.0.assert_signed();
}
