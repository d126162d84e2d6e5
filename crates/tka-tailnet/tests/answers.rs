//! What tailscaled answers, understood: against answers recorded from a real one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are outside of test functions"
)]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::Value;
use support::{Double, Step, answer, ok, recorded};
use tka_tailnet::{BackendState, Error, LocalApi, NodeId, Status, UserId, WhoIs};

const CAPABILITY: &str = "specht-labs.de/cap/tka";

async fn whois(answer: Vec<u8>) -> Result<WhoIs, Error> {
    let double = Double::start(move |_| ok(&answer));
    LocalApi::new(double.socket())
        .whois("100.64.0.2:1".parse().unwrap())
        .await
}

async fn status(answer: Vec<u8>) -> Result<Status, Error> {
    let double = Double::start(move |_| ok(&answer));
    LocalApi::new(double.socket()).status().await
}

fn addresses(texts: [&str; 2]) -> [IpAddr; 2] {
    texts.map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn a_user_is_known_with_device_and_capability() {
    let whois = whois(recorded("whois_user.json")).await.unwrap();

    assert_eq!(whois.user_profile.id, UserId(1));
    assert_eq!(whois.user_profile.login_name, "alice@example.com");
    assert_eq!(whois.node.id, NodeId(2));
    assert_eq!(whois.node.stable_id.as_str(), "2");
    assert_eq!(whois.node.name, "alice.tailnet.test");
    assert_eq!(whois.node.computed_name.as_deref(), Some("alice"));
    assert_eq!(whois.node.addresses, addresses(["100.64.0.2", "fd7a:115c:a1e0::2"]));
    assert!(whois.node.key.starts_with("nodekey:"));
    assert_eq!(whois.node.key_expiry, None);
    assert!(!whois.node.is_tagged());

    let [rule] = whois.capability(CAPABILITY) else {
        panic!("one value: {whois:?}")
    };
    let rule: Value = serde_json::from_str(rule.get()).unwrap();
    assert_eq!(
        rule,
        serde_json::json!({"role": "cluster-admin", "period": "15m", "priority": 100})
    );
    assert!(whois.capability("example.com/cap/other").is_empty());
    assert!(!whois.has_capability("example.com/cap/other"));
}

#[tokio::test]
async fn a_tagged_node_has_no_user() {
    let whois = whois(recorded("whois_tagged.json")).await.unwrap();

    assert!(whois.node.is_tagged());
    assert_eq!(whois.node.tags, ["tag:ci"]);
    assert_eq!(whois.user_profile.login_name, "tagged-devices");
    assert_eq!(whois.capability(CAPABILITY).len(), 1);
    assert!(whois.has_capability("example.com/cap/empty"));
    assert!(whois.capability("example.com/cap/empty").is_empty());
}

#[tokio::test]
async fn the_end_of_a_key_is_known() {
    let whois = whois(recorded("whois_key_expiry.json")).await.unwrap();
    assert_eq!(whois.node.key_expiry, Some("2027-10-01T12:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn null_is_empty() {
    let mut answer: Value = serde_json::from_slice(&recorded("whois_user.json")).unwrap();
    answer["CapMap"] = Value::Null;
    answer["Node"]["Addresses"] = Value::Null;
    answer["Node"]["Tags"] = Value::Null;
    answer["Node"]["ComputedName"] = Value::Null;
    answer["Node"]["KeyExpiry"] = "0001-01-01T00:00:00Z".into();
    answer["UserProfile"]["DisplayName"] = Value::Null;
    let bare = whois(answer.to_string().into_bytes()).await.unwrap();
    assert!(bare.cap_map.is_empty() && bare.node.addresses.is_empty() && !bare.node.is_tagged());
    assert_eq!(bare.node.key_expiry, None);

    answer["CapMap"] = serde_json::json!({CAPABILITY: null});
    let without_values = whois(answer.to_string().into_bytes()).await.unwrap();
    assert!(without_values.has_capability(CAPABILITY) && without_values.capability(CAPABILITY).is_empty());
}

#[tokio::test]
async fn unknown_address_is_no_caller() {
    for part in ["Node", "UserProfile"] {
        let mut answer: Value = serde_json::from_slice(&recorded("whois_user.json")).unwrap();
        answer[part] = Value::Null;
        let error = whois(answer.to_string().into_bytes()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
    let mut answer: Value = serde_json::from_slice(&recorded("whois_user.json")).unwrap();
    answer["Node"]["StableID"] = "".into();
    let error = whois(answer.to_string().into_bytes()).await.unwrap_err();
    assert!(error.to_string().contains("without a stable ID"), "{error}");
}

#[tokio::test]
async fn status_on_the_tailnet() {
    let status = status(recorded("status_running.json")).await.unwrap();

    assert_eq!(status.backend_state, BackendState::Running);
    assert!(!status.tun);
    assert_eq!(status.version, "1.102.2");
    assert!(status.cert_domains.is_empty() && status.health.is_empty());
    assert_eq!(
        status.current_tailnet.as_ref().unwrap().magic_dns_suffix,
        "tailnet.test"
    );

    let node = status.require_running().unwrap();
    assert_eq!(node.id.as_ref().unwrap().as_str(), "1");
    assert_eq!(node.dns_name, "tka.tailnet.test");
    assert_eq!(node.tailscale_ips, addresses(["100.64.0.1", "fd7a:115c:a1e0::1"]));
    assert_eq!(node.tags, ["tag:tka"]);
    assert!(node.online);
    assert_eq!(node.key_expiry, None);
}

#[tokio::test]
async fn peers_are_told_by_their_ids() {
    let double = Double::start(move |_| ok(recorded("status_peers.json")));
    let mut status = LocalApi::new(double.socket()).status_with_peers().await.unwrap();
    assert!(double.requests()[0].starts_with("GET /localapi/v0/status?peers=true "));
    status.require_running().unwrap();
    status.peers.sort_by(|a, b| a.dns_name.cmp(&b.dns_name));
    let [alice, ci] = &status.peers[..] else {
        panic!("there are two")
    };
    assert_eq!(alice.dns_name, "alice.tailnet.test");
    assert_eq!(alice.tailscale_ips.len(), 2);
    assert!(alice.user_id.is_some() && alice.tags.is_empty() && alice.online && !alice.expired);
    assert_eq!(ci.tags, ["tag:ci"]);
    assert_ne!(alice.id, ci.id);
}

#[tokio::test]
async fn a_peer_without_an_id_is_not_taken_for_another() {
    let answer = br#"{"TUN": true, "BackendState": "Running", "Peer": {"nodekey:1": {"ID": ""}}}"#;
    let error = status(answer.to_vec()).await.unwrap_err();
    assert!(error.to_string().contains("without a stable ID"), "{error}");
}

#[tokio::test]
async fn a_large_tailnet_is_no_error() {
    let peers: Vec<_> = (0..2_000)
        .map(|n| {
            format!(
                r#""nodekey:{n}": {{"ID": "n{n}", "HostName": "{}"}}"#,
                "x".repeat(1_000)
            )
        })
        .collect();
    let answer = format!(
        r#"{{"TUN": true, "BackendState": "Running", "Peer": {{{}}}}}"#,
        peers.join(", ")
    );
    let double = Double::start(move |_| ok(&answer));
    let tailscaled = LocalApi::new(double.socket());
    assert_eq!(tailscaled.status_with_peers().await.unwrap().peers.len(), 2_000);
    assert!(matches!(tailscaled.status().await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn status_off_the_tailnet_says_what_to_do() {
    for (file, state, advice) in [
        ("status_stopped.json", BackendState::Stopped, "tailscale up"),
        ("status_needs_login.json", BackendState::NeedsLogin, "sign it in"),
    ] {
        let status = status(recorded(file)).await.unwrap();
        assert_eq!(status.backend_state, state);
        assert_eq!(status.health, ["Tailscale is stopped."]);
        let error = status.require_running().unwrap_err();
        for part in [advice, "Tailscale is stopped."] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(matches!(error, Error::NotRunning { state: told, .. } if told == state));
    }
}

#[tokio::test]
async fn node_that_never_signed_in_has_no_user() {
    let status = status(recorded("status_needs_login.json")).await.unwrap();
    let node = status.self_node.unwrap();
    assert_eq!(node.id, None);
    assert!(node.dns_name.is_empty() && node.tailscale_ips.is_empty() && !node.online);
    assert_eq!(status.current_tailnet, None);
}

#[tokio::test]
async fn unknown_states_are_not_running() {
    let status = status(br#"{"TUN": true, "BackendState": "Dreaming"}"#.to_vec())
        .await
        .unwrap();
    assert!(status.tun);
    let error = status.require_running().unwrap_err();
    assert!(error.to_string().contains("state \"Dreaming\""), "{error}");
}

#[tokio::test]
async fn a_state_is_not_guessed() {
    for missing in [r#"{"TUN": true}"#, r#"{"BackendState": "Running"}"#, "{}", "null", ""] {
        let error = status(missing.into()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{missing}: {error}");
    }
    let selfless = status(br#"{"TUN": true, "BackendState": "Running", "Self": null}"#.to_vec())
        .await
        .unwrap();
    assert!(matches!(selfless.require_running(), Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn certificates_keep_their_key() {
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n";
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\ncHVibGlj\n-----END CERTIFICATE-----\n";
    let double = Double::start(|_| ok(format!("{KEY}{CERTIFICATE}")));
    let pair = LocalApi::new(double.socket())
        .certificate("tka.tail.ts.net", None)
        .await
        .unwrap();
    assert_eq!(pair.private_key.expose_secret(), KEY);
    assert_eq!(pair.certificate_chain, CERTIFICATE);
    assert!(!format!("{pair:?}").contains("c2VjcmV0"));
}

#[tokio::test]
async fn questions_are_what_tailscaled_expects() {
    let double = Double::start(|_| vec![Step::Write(answer("404 Not Found", "", "no match for IP:port"))]);
    let tailscaled = LocalApi::new(double.socket());
    for (caller, address) in [
        ("100.64.0.2:443", "100.64.0.2%3A443"),
        ("[fd7a:115c:a1e0::2]:443", "%5Bfd7a%3A115c%3Aa1e0%3A%3A2%5D%3A443"),
        ("[::ffff:100.64.0.2]:443", "100.64.0.2%3A443"),
        ("[fe80::1%7]:443", "%5Bfe80%3A%3A1%5D%3A443"),
    ] {
        let caller: SocketAddr = caller.parse().unwrap();
        assert!(matches!(
            tailscaled.whois(caller).await,
            Err(Error::NotFound { addr }) if addr.port() == 443
        ));
        let head = double.requests().pop().unwrap();
        let line = format!("GET /localapi/v0/whois?addr={address}&proto=tcp HTTP/1.1\r\n");
        assert!(head.starts_with(&line), "{head}");
        assert!(
            head.to_lowercase().contains("\r\nhost: local-tailscaled.sock\r\n"),
            "{head}"
        );
    }
    let _ = tailscaled.status().await;
    assert!(
        double
            .requests()
            .pop()
            .unwrap()
            .starts_with("GET /localapi/v0/status?peers=false ")
    );
    let _ = tailscaled.certificate("../status?", None).await;
    assert!(
        double
            .requests()
            .pop()
            .unwrap()
            .starts_with("GET /localapi/v0/cert/..%2Fstatus%3F?type=pair ")
    );
    let _ = tailscaled.certificate("a.ts.net", Some(Duration::from_mins(90))).await;
    let head = double.requests().pop().unwrap();
    assert!(
        head.starts_with("GET /localapi/v0/cert/a.ts.net?type=pair&min_validity=5400s "),
        "{head}"
    );
}
