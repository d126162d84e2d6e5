//! Each way to fail, provoked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are outside of test functions"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use support::{Double, Step, answer, ok, recorded, refused, socket_in};
use tempfile::TempDir;
use tka_tailnet::{Error, Limits, LocalApi};
use tokio::net::UnixListener;

const SHORT: Limits = Limits {
    call: Duration::from_millis(300),
    certificate: Duration::from_millis(300),
    answer_bytes: 1000,
    notification_bytes: 1000,
};

fn caller() -> SocketAddr {
    "100.64.0.2:1".parse().unwrap()
}

#[tokio::test]
async fn no_tailscaled() {
    let folder = TempDir::new().unwrap();
    let path = socket_in(folder.path());

    let error = LocalApi::new(&path).whois(caller()).await.unwrap_err();
    assert!(
        matches!(&error, Error::NoTailscaled { path: told, .. } if *told == path),
        "{error:?}"
    );
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");

    drop(UnixListener::bind(&path).unwrap());
    let error = LocalApi::new(&path).status().await.unwrap_err();
    assert!(matches!(error, Error::NoTailscaled { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");

    let error = LocalApi::new(folder.path().join("x".repeat(200)))
        .status()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoTailscaled { .. }), "{error:?}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let cases = [
        ("401 Unauthorized", "auth required"),
        ("403 Forbidden", "whois access denied"),
        ("404 Not Found", "no match for IP:port"),
        ("429 Too Many Requests", "slow down"),
        ("500 Internal Server Error", "boom"),
        ("302 Found", ""),
    ];
    for (status, said) in cases {
        let double = Double::start(move |_| refused(status, said));
        let tailscaled = LocalApi::new(double.socket());
        let error = tailscaled.whois(caller()).await.unwrap_err();
        match (&status[..3], &error) {
            ("401" | "403", Error::Forbidden { said: told, .. }) => assert_eq!(told, said),
            ("401" | "403", other) => panic!("{status} became {other:?}"),
            ("404", Error::NotFound { addr }) => assert_eq!(*addr, caller()),
            ("429", Error::RateLimited { retry_after: None, .. }) => {}
            (number, Error::Refused { status, said: told, .. }) => {
                assert_eq!(status.to_string(), number);
                assert_eq!(told, said);
            }
            _ => panic!("{status} became {error:?}"),
        }
        assert_eq!(double.requests().len(), 1, "an answer is an answer: {status}");
    }
}

#[tokio::test]
async fn not_found_is_only_for_callers() {
    let double = Double::start(|_| refused("404 Not Found", "404 page not found"));
    let error = LocalApi::new(double.socket()).status().await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_authority_asks_for_patience() {
    let double = Double::start(|_| {
        vec![Step::Write(answer(
            "429 Too Many Requests",
            "Retry-After: 3600\r\n",
            "rateLimited",
        ))]
    });
    let error = LocalApi::new(double.socket())
        .certificate("a.ts.net", None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait == Duration::from_hours(1)),
        "{error:?}"
    );
    assert!(error.to_string().contains("in 3600 s"), "{error}");
}

#[tokio::test]
async fn messages_are_short_and_printable() {
    let long = "\x1b[2J\nlong ".repeat(20_000);
    let json = serde_json::to_string(&long).unwrap();
    let refusing = Double::start(move |_| refused("500 Internal Server Error", &long));
    let lying = Double::start({
        let answer = format!(r#"{{"TUN": {json}}}"#);
        move |_| ok(&answer)
    });
    let dreaming = Double::start(move |_| ok(format!(r#"{{"TUN": false, "BackendState": {json}}}"#)));
    for double in [refusing, lying, dreaming] {
        let status = LocalApi::new(double.socket()).status().await;
        let error = status
            .and_then(|status| status.require_running().map(drop))
            .unwrap_err();
        let message = error.to_string();
        assert!(message.len() < 600 && !message.contains(char::is_control), "{message}");
        assert!(message.contains("long"), "{message}");
    }
}

#[tokio::test]
async fn silence_and_slowness_time_out() {
    let silent = Double::start(|_| vec![Step::Wait(Duration::from_mins(1))]);
    let slow = Double::start(|_| {
        let mut steps = vec![Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec())];
        for _ in 0..100 {
            steps.push(Step::Wait(Duration::from_millis(50)));
            steps.push(Step::Write(b" ".to_vec()));
        }
        steps
    });
    for double in [silent, slow] {
        let began = Instant::now();
        let error = LocalApi::with_limits(double.socket(), SHORT)
            .status()
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::TimedOut { limit, .. } if limit == SHORT.call),
            "{error:?}"
        );
        assert!(error.to_string().contains("within 0.3 s"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_tailscaled_too_busy_to_accept_is_waited_for() {
    let folder = Arc::new(TempDir::new().unwrap());
    let path = socket_in(folder.path());
    let listener = listener_without_queue(&path);
    let mut waiting = Vec::new();
    while let Ok(Ok(connection)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::UnixStream::connect(&path)).await
    {
        waiting.push(connection);
    }

    let error = LocalApi::with_limits(&path, SHORT).status().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");

    let tailscaled = LocalApi::new(&path);
    let (answer, _double) = tokio::join!(tailscaled.status(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Double::serve(folder, listener, |_| ok(recorded("status_running.json")))
    });
    answer.unwrap();
    drop(waiting);
}

fn listener_without_queue(path: &std::path::Path) -> UnixListener {
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(path).unwrap();
    socket.listen(0).unwrap()
}

#[tokio::test]
async fn too_large() {
    let announced = Double::start(|_| {
        vec![
            Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n".to_vec()),
            Step::Wait(Duration::from_mins(1)),
        ]
    });
    let unannounced = Double::start(|_| {
        let mut steps = vec![Step::Write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        )];
        steps.extend((0..10_000).map(|_| Step::Write(b"3\r\n   \r\n".to_vec())));
        steps
    });
    for double in [announced, unannounced] {
        let error = LocalApi::with_limits(double.socket(), SHORT)
            .whois(caller())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 1000, .. }), "{error:?}");
    }
    let just_fits = Double::start(|_| ok([b'1'; 1000]));
    let error = LocalApi::with_limits(just_fits.socket(), SHORT)
        .whois(caller())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn cut_off_in_the_answer() {
    let in_the_body = Double::start(|_| {
        vec![
            Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Node\":".to_vec()),
            Step::Close,
        ]
    });
    let in_a_chunk = Double::start(|_| {
        vec![
            Step::Write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{".to_vec()),
            Step::Close,
        ]
    });
    for double in [in_the_body, in_a_chunk] {
        let error = LocalApi::new(double.socket()).whois(caller()).await.unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
        assert_eq!(double.requests().len(), 1);
    }
}

#[tokio::test]
async fn cut_off_before_the_answer() {
    let in_the_head = Double::start(|_| vec![Step::Write(b"HTTP/1.1 200 O".to_vec()), Step::Close]);
    let at_once = Double::start(|_| vec![Step::Close]);
    for double in [in_the_head, at_once] {
        let error = LocalApi::new(double.socket()).whois(caller()).await.unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
        assert_eq!(double.requests().len(), 2, "asked once more, and no more than once");
    }
}

#[tokio::test]
async fn something_else_listens() {
    let not_http = Double::start(|_| vec![Step::Write(b"220 mail.example.com ESMTP\r\n".to_vec()), Step::Close]);
    let bad_chunk = Double::start(|_| {
        vec![
            Step::Write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_vec()),
            Step::Close,
        ]
    });
    let page = Double::start(|_| ok("<html>hello</html>"));
    for double in [not_http, bad_chunk, page] {
        let error = LocalApi::new(double.socket()).whois(caller()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
        assert_eq!(double.requests().len(), 1);
    }
}

#[tokio::test]
async fn connections_are_kept() {
    let double = Double::start(|_| ok(recorded("status_running.json")));
    let tailscaled = LocalApi::new(double.socket());
    for _ in 0..20 {
        tailscaled.clone().status().await.unwrap();
    }
    assert_eq!((double.requests().len(), double.connections()), (20, 1));
}

#[tokio::test]
async fn a_restart_between_two_calls_is_not_noticed() {
    let mut double = Double::start(|_| ok(recorded("status_running.json")));
    let tailscaled = LocalApi::new(double.socket());
    for _ in 0..20 {
        let calls = join_all((0..5).map(|_| tailscaled.status())).await;
        assert!(calls.iter().all(Result::is_ok), "{calls:?}");
        double = double.restart(|_| ok(recorded("status_running.json")));
    }
    tailscaled.status().await.unwrap();
}

/// The worst moment: connections look alive, take the request, and then are closed without an answer, each of them.
#[tokio::test]
async fn closed_idle_connections_are_not_noticed() {
    let double = Double::start(|_| {
        vec![
            Step::CloseUnlessNew,
            Step::Wait(Duration::from_millis(20)),
            Step::Write(answer("200 OK", "", recorded("status_running.json"))),
        ]
    });
    let tailscaled = LocalApi::new(double.socket());
    let calls = join_all((0..5).map(|_| tailscaled.status())).await;
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    assert_eq!(double.connections(), 5);

    tailscaled.status().await.unwrap();
    assert_eq!((double.requests().len(), double.connections()), (7, 6));

    // Watching opens a connection of its own, so that it meets none of them.
    drop(tailscaled.watch().await.unwrap());
    assert_eq!((double.requests().len(), double.connections()), (8, 7));
}

#[tokio::test]
async fn a_question_too_long_to_ask() {
    let double = Double::start(|_| ok(""));
    let error = LocalApi::new(double.socket())
        .certificate(&"x".repeat(70_000), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidQuestion { .. }), "{error:?}");
    assert!(double.requests().is_empty());
}
