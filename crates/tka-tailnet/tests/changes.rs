//! Notifications of changes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are outside of test functions"
)]

mod support;

use std::time::Duration;

use futures::StreamExt as _;
use support::{Double, Step, ok, recorded, refused};
use tka_tailnet::{BackendState, Error, Limits, LocalApi, Notification};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

const NETMAP: Notification = Notification {
    state: None,
    netmap_changed: true,
    message: None,
};

fn state(state: BackendState) -> Notification {
    Notification {
        state: Some(state),
        ..Notification::default()
    }
}

fn chunk(text: impl AsRef<[u8]>) -> Step {
    let text = text.as_ref();
    let mut bytes = format!("{:x}\r\n", text.len()).into_bytes();
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(b"\r\n");
    Step::Write(bytes)
}

/// A stream of these chunks, that ends then.
async fn watch(chunks: Vec<Vec<u8>>) -> Vec<Result<Notification, Error>> {
    let double = Double::start(move |_| {
        let mut steps = vec![Step::Write(HEAD.to_vec())];
        steps.extend(chunks.iter().map(chunk));
        steps.extend([chunk(""), Step::Close]);
        steps
    });
    let limits = Limits {
        notification_bytes: 10_000,
        ..Limits::default()
    };
    let notifications = LocalApi::with_limits(double.socket(), limits).watch().await.unwrap();
    notifications.collect().await
}

async fn lines(lines: &[&str]) -> Vec<Result<Notification, Error>> {
    watch(lines.iter().map(|line| format!("{line}\n").into_bytes()).collect()).await
}

fn split_end(mut notifications: Vec<Result<Notification, Error>>) -> (Vec<Notification>, Error) {
    let end = notifications.pop().unwrap().unwrap_err();
    (notifications.into_iter().map(Result::unwrap).collect(), end)
}

#[tokio::test]
async fn a_recorded_stream() {
    let whole = recorded("watch.jsonl");
    for size in [1, 7, 1000, 100_000] {
        let (told, end) = split_end(watch(whole.chunks(size).map(<[u8]>::to_vec).collect()).await);
        assert_eq!(
            told,
            [
                state(BackendState::Running),
                NETMAP, // user profiles
                NETMAP, // the whole map
                NETMAP, // dave joins,
                NETMAP, // and gets an address,
                NETMAP, // and another; that he is online or not tells nothing
                state(BackendState::Stopped),
                state(BackendState::Starting),
                state(BackendState::Running),
            ]
        );
        assert!(matches!(end, Error::Interrupted { .. }), "{end:?}");
    }
}

#[tokio::test]
async fn what_changes_the_netmap() {
    for line in [
        r#"{"NetMap": {"Peers": []}}"#,
        r#"{"SelfChange": {"ID": 1}}"#,
        r#"{"PeersChanged": [{"ID": 2}]}"#,
        r#"{"PeersRemoved": [2]}"#,
        r#"{"UserProfiles": {"1": {}}}"#,
        r#"{"PeerChangedPatch": [{"NodeID": 2, "Online": true}, {"NodeID": 3, "KeyExpiry": "2026-01-01T00:00:00Z"}]}"#,
    ] {
        let (told, _) = split_end(lines(&[line]).await);
        assert_eq!(told, [NETMAP], "{line}");
    }
    for line in [
        "{}",
        r#"{"NetMap": null, "State": null, "PeerChangedPatch": null, "Version": "1"}"#,
        r#"{"PeerChangedPatch": [{"NodeID": 2, "Online": true, "LastSeen": "x", "DERPRegion": 1, "Endpoints": []}]}"#,
        r#"{"Engine": {"RBytes": 1}, "Prefs": {}, "Health": {"Warnings": null}}"#,
    ] {
        let (told, _) = split_end(lines(&[line]).await);
        assert_eq!(told, [], "{line}");
    }
}

#[tokio::test]
async fn states_and_messages() {
    let (told, _) = split_end(
        lines(&[
            r#"{"State": 2}"#,
            r#"{"State": 99}"#,
            r#"{"State": 6, "SelfChange": {}}"#,
            r#"{"ErrMessage": "IPN bus consumer fell behind; closing watch"}"#,
        ])
        .await,
    );
    assert_eq!(
        told,
        [
            state(BackendState::NeedsLogin),
            state(BackendState::Other("99".to_owned())),
            Notification {
                state: Some(BackendState::Running),
                ..NETMAP
            },
            Notification {
                message: Some("IPN bus consumer fell behind; closing watch".to_owned()),
                ..Notification::default()
            },
        ]
    );
}

#[tokio::test]
async fn nothing_follows_an_error() {
    for bad in ["nonsense", "{\"State\": \"Running\"}", "[]", "{\"State\": 6"] {
        let told = lines(&[r#"{"State": 6}"#, bad, r#"{"State": 6}"#]).await;
        assert_eq!(told.len(), 2, "{bad}: {told:?}");
        assert!(matches!(told[1], Err(Error::Malformed { .. })), "{bad}: {told:?}");
    }
}

#[tokio::test]
async fn a_line_without_end() {
    let long = format!(r#"{{"Version": "{}"}}"#, "x".repeat(20_000));
    let told = lines(&[&long]).await;
    assert!(
        matches!(&told[..], [Err(Error::TooLarge { limit: 10_000, .. })]),
        "{told:?}"
    );

    let many = vec![b"{\"SelfChange\": {}}\n".repeat(2_000)];
    assert_eq!(watch(many).await.len(), 2_001, "only a single line is limited");

    let cut = watch(vec![br#"{"State": 6}"#.to_vec()]).await;
    assert!(matches!(&cut[..], [Err(Error::Interrupted { .. })]), "{cut:?}");
}

#[tokio::test]
async fn tailscaled_goes_away() {
    let double = Double::start(|_| {
        vec![
            Step::Write(HEAD.to_vec()),
            chunk("{\"State\": 6}\n"),
            Step::Wait(Duration::from_mins(1)),
        ]
    });
    let mut notifications = LocalApi::new(double.socket()).watch().await.unwrap();
    assert_eq!(
        notifications.next().await.unwrap().unwrap(),
        state(BackendState::Running)
    );
    drop(double);
    let end = notifications.next().await.unwrap().unwrap_err();
    assert!(matches!(end, Error::Interrupted { .. }), "{end:?}");
    assert!(notifications.next().await.is_none());
}

#[tokio::test]
async fn quiet_is_not_an_error() {
    let double = Double::start(|_| {
        vec![
            Step::Write(HEAD.to_vec()),
            Step::Wait(Duration::from_millis(500)),
            chunk("{\"State\": 6}\n"),
        ]
    });
    let limits = Limits {
        call: Duration::from_millis(100),
        ..Limits::default()
    };
    let mut notifications = LocalApi::with_limits(double.socket(), limits).watch().await.unwrap();
    assert_eq!(
        notifications.next().await.unwrap().unwrap(),
        state(BackendState::Running)
    );
}

#[tokio::test]
async fn no_stream_begins() {
    let refusing = Double::start(|_| refused("400 Bad Request", "NotifyRateLimit is incompatible"));
    let error = LocalApi::new(refusing.socket()).watch().await.err().unwrap();
    assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");

    let silent = Double::start(|_| vec![Step::Wait(Duration::from_mins(1))]);
    let limits = Limits {
        call: Duration::from_millis(100),
        ..Limits::default()
    };
    let error = LocalApi::with_limits(silent.socket(), limits)
        .watch()
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn watching_keeps_no_other_call_waiting() {
    let double = Double::start(|number| match number {
        0 => vec![Step::Write(HEAD.to_vec()), Step::Wait(Duration::from_mins(1))],
        _ => ok(recorded("status_running.json")),
    });
    let tailscaled = LocalApi::new(double.socket());
    let _notifications = tailscaled.watch().await.unwrap();
    for _ in 0..3 {
        tailscaled.status().await.unwrap();
    }
    assert_eq!(double.connections(), 2);
    assert!(double.requests()[0].starts_with("GET /localapi/v0/watch-ipn-bus?mask=32770 "));
}
