//! What is asked of tailscaled, and what becomes of its answers, with a stand-in for it.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;

const NAME: &str = "tka.tailnet.test";
const DAY: i64 = 24 * 60 * 60;

/// A tailscaled that gives what it was told to give, and remembers what it was asked.
struct Double {
    _folder: TempDir,
    given: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    now: Arc<Mutex<Timestamp>>,
    certificates: Certificates,
    standing: watch::Receiver<Option<CertificateState>>,
}

impl Double {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("sock");
        let (given, asked) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(answer(listener, Arc::clone(&given), Arc::clone(&asked)));
        let now = Arc::new(Mutex::new(Timestamp::from_second(1_800_000_000).unwrap()));
        let clock = Arc::clone(&now);
        let (sender, standing) = watch::channel(None);
        let source = Source::Tailnet(Box::new(LocalApi::new(&socket)));
        Self {
            _folder: folder,
            given,
            asked,
            certificates: Certificates::new(source, Arc::new(move || *clock.lock().unwrap()), sender),
            now,
            standing,
        }
    }

    /// From now on a certificate for `name` is given that begins today and ends in so many days.
    fn give(&self, name: &str, days: i64) {
        let now = *self.now.lock().unwrap();
        let time = |time: Timestamp| std::time::SystemTime::from(time).into();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = time(now);
        params.not_after = time(now + SignedDuration::from_secs(days * DAY));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        *self.given.lock().unwrap() = key.serialize_pem() + &certificate;
    }

    fn pass(&self, days: i64) {
        let mut now = self.now.lock().unwrap();
        *now += SignedDuration::from_secs(days * DAY);
    }

    /// How many seconds it is until the next look, with a clock that need not be waited for. What is asked takes its time before and after.
    async fn wait(&mut self) -> u64 {
        tokio::time::pause();
        let began = Instant::now();
        self.certificates.due().await;
        let waited = began.elapsed().as_secs_f64().round();
        tokio::time::resume();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hours")]
        let seconds = waited as u64;
        seconds
    }

    fn asked(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn standing(&self) -> CertificateState {
        self.standing.borrow().clone().unwrap()
    }

    fn check(&self) -> Result<Option<String>, String> {
        let now = *self.now.lock().unwrap();
        self.standing().check(now)
    }
}

async fn answer(listener: UnixListener, given: Arc<Mutex<String>>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && connection.read_buf(&mut head).await.unwrap() > 0 {}
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push(target);
        let body = given.lock().unwrap().clone();
        let status = if body.is_empty() { "500 no" } else { "200 OK" };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn renewed_certificate_replaces_the_one_before_in_place() {
    let mut double = Double::new();
    double.give(NAME, 90);
    double.certificates.ensure(NAME, Some(NAME)).await.unwrap();
    assert!(double.asked().ends_with("/cert/tka.tailnet.test?type=pair"));
    let (served, first) = (double.certificates.served().unwrap(), double.standing().ends);
    let before = served.get_inner();

    double.pass(61);
    double.give(NAME, 90);
    assert!(double.certificates.look_again().await);
    assert!(
        double.asked().ends_with("?type=pair"),
        "tailscaled renews by itself now"
    );
    assert!(double.standing().ends > first);
    assert!(!Arc::ptr_eq(&before, &served.get_inner()), "listeners have it already");
}

#[tokio::test]
async fn failed_renewal_makes_the_server_unready() {
    let mut double = Double::new();
    double.give(NAME, 90);
    double.certificates.ensure(NAME, Some(NAME)).await.unwrap();
    let served = double.certificates.served().unwrap();
    let before = served.get_inner();
    double.pass(80);
    double.given.lock().unwrap().clear();
    assert!(double.certificates.look_again().await);
    assert!(
        double.asked().ends_with("?type=pair&min_validity=1296000s"),
        "{}",
        double.asked()
    );
    let note = double.check().unwrap().expect("a note");
    assert!(note.contains("no certificate for tka.tailnet.test"), "{note}");
    double.pass(11);
    let why = double.check().unwrap_err();
    assert!(why.contains("no certificate for tka.tailnet.test"), "{why}");
    assert!(Arc::ptr_eq(&before, &served.get_inner()), "nothing better is there");

    double.give(NAME, 90);
    double.certificates.look_again().await;
    assert_eq!(double.check(), Ok(None));
}

#[tokio::test]
async fn authority_that_does_not_answer_is_asked_ever_later() {
    let mut double = Double::new();
    double.give(NAME, 90);
    double.certificates.ensure(NAME, Some(NAME)).await.unwrap();
    double.pass(90);
    double.given.lock().unwrap().clear();
    let mut waits = vec![];
    for _ in 0..14 {
        double.certificates.look_again().await;
        waits.push(double.wait().await);
    }
    assert_eq!(waits[..6], [10, 10, 10, 10, 16, 32]);
    assert_eq!(waits[13], 3600);
}

#[tokio::test]
async fn certificate_that_clients_would_refuse_is_not_served() {
    let mut double = Double::new();
    double.give("other.tailnet.test", 90);
    let error = double.certificates.ensure(NAME, Some(NAME)).await.unwrap_err();
    assert!(matches!(error, CertificateError::OtherName(name) if name == NAME));
    double.give(NAME, 0);
    let error = double.certificates.ensure(NAME, Some(NAME)).await.unwrap_err();
    assert!(matches!(error, CertificateError::Ended(_)));
    assert!(double.certificates.served().is_none() && !double.certificates.look_again().await);
    let error = double.certificates.ensure(NAME, None).await.unwrap_err();
    assert!(error.to_string().contains("tls.certFile"), "{error}");
}

#[tokio::test]
async fn next_look_is_waited_for() {
    let mut double = Double::new();
    let never = tokio::time::timeout(std::time::Duration::ZERO, double.certificates.due());
    assert!(never.await.is_err(), "there is nothing to renew");
    double.give(NAME, 90);
    double.certificates.ensure(NAME, Some(NAME)).await.unwrap();
    let wait = double.wait().await;
    assert_eq!(wait, 6 * 3600);
}
