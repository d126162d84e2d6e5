//! Against real programs. Ignored unless asked for (`cargo test -p tka-tailnet --test real -- --ignored`), because they
//! have to be there: `TKA_TAILSCALED` names a tailscaled, `TKA_TESTBED_SOCKET_…` the sockets of a running testbed. A test
//! that is asked for and lacks them fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are outside of test functions"
)]

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use tempfile::TempDir;
use tka_tailnet::{BackendState, Error, LocalApi, Node, Notification};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const CAPABILITY: &str = "specht-labs.de/cap/tka";
const UNKNOWN: &str = "127.0.0.1:9";

fn required(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")).into()
}

fn unknown() -> SocketAddr {
    UNKNOWN.parse().unwrap()
}

async fn start_tailscaled(folder: &Path, socket: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let tailscaled = Command::new(required("TKA_TAILSCALED"))
        .args(["--tun=userspace-networking", "--port=0", "--no-logs-no-support"])
        .arg(format!("--statedir={}", folder.display()))
        .arg(format!("--socket={}", socket.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let began = Instant::now();
    loop {
        match LocalApi::new(socket).status().await {
            Ok(status) if status.backend_state == BackendState::NeedsLogin => return tailscaled,
            other => assert!(began.elapsed() < Duration::from_secs(30), "{other:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs a tailscaled"]
async fn a_tailscaled_on_no_tailnet_that_restarts() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("sock");
    let tailscaled = LocalApi::new(&socket);
    assert!(matches!(tailscaled.status().await, Err(Error::NoTailscaled { .. })));

    let mut process = start_tailscaled(folder.path(), &socket).await;
    let status = tailscaled.status().await.unwrap();
    assert!(!status.tun && !status.version.is_empty());
    assert!(matches!(
        status.require_running(),
        Err(Error::NotRunning {
            state: BackendState::NeedsLogin,
            ..
        })
    ));
    let whois = tailscaled.whois(unknown()).await;
    assert!(matches!(whois, Err(Error::NotFound { .. })), "{whois:?}");
    let certificate = tailscaled.certificate("a.ts.net", None).await;
    assert!(matches!(certificate, Err(Error::Refused { .. })), "{certificate:?}");

    let mut notifications = tailscaled.watch().await.unwrap();
    let first = notifications.next().await.unwrap().unwrap();
    assert_eq!(
        first,
        Notification {
            state: Some(BackendState::NeedsLogin),
            ..Notification::default()
        }
    );

    let many = join_all((0..200).map(|_| tailscaled.status())).await;
    assert!(
        many.iter().all(Result::is_ok),
        "{:?}",
        many.into_iter().find(Result::is_err)
    );

    process.kill().await.unwrap();
    let end = loop {
        if let Err(error) = notifications.next().await.unwrap() {
            break error;
        }
    };
    assert!(matches!(end, Error::Interrupted { .. }), "{end:?}");

    let _process = start_tailscaled(folder.path(), &socket).await;
    tailscaled
        .status()
        .await
        .expect("connections from before the restart do not matter");
}

#[tokio::test]
#[ignore = "needs a testbed"]
async fn nodes_of_a_tailnet() {
    let server = LocalApi::new(required("TKA_TESTBED_SOCKET_TKA"));
    let status = server.status().await.unwrap();
    let node = status.require_running().unwrap();
    assert!(!status.tun && node.online);
    assert_eq!(node.tags, ["tag:tka"]);
    assert!(
        node.dns_name
            .ends_with(&status.current_tailnet.as_ref().unwrap().magic_dns_suffix)
    );

    for (name, login_name) in [
        ("ALICE", "alice@example.com"),
        ("ALICE2", "alice@other.example"),
        ("BOB", "bob@example.com"),
    ] {
        for addr in addresses_of(name).await {
            let whois = server.whois(addr).await.unwrap();
            assert!(!whois.node.is_tagged());
            assert_eq!(whois.user_profile.login_name, login_name);
            assert!(has_address(&whois.node, addr));
            assert_eq!(whois.capability(CAPABILITY).len(), 1, "{name}");
        }
    }
    for addr in addresses_of("CAROL").await {
        let carol = server.whois(addr).await.unwrap();
        assert!(!carol.has_capability(CAPABILITY));
    }
    for addr in addresses_of("CI").await {
        let ci = server.whois(addr).await.unwrap();
        assert_eq!(ci.node.tags, ["tag:ci"]);
        assert_eq!(ci.capability(CAPABILITY).len(), 1);
    }
    assert!(matches!(server.whois(unknown()).await, Err(Error::NotFound { .. })));

    let first = server.watch().await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(first.state, Some(BackendState::Running));
}

async fn addresses_of(node: &str) -> Vec<SocketAddr> {
    let socket = required(&format!("TKA_TESTBED_SOCKET_{node}"));
    let status = LocalApi::new(socket).status().await.unwrap();
    let addresses = &status.require_running().unwrap().tailscale_ips;
    assert!(!addresses.is_empty());
    addresses.iter().map(|&ip| SocketAddr::new(ip, 1)).collect()
}

fn has_address(node: &Node, addr: SocketAddr) -> bool {
    node.addresses.contains(&addr.ip())
}
