//! A stand-in for tailscaled: its LocalAPI, for many more devices than a machine can have tailscaleds. It is for measuring alone. No program of TKA's
//! is linked with it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, future};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::Outcome;
use crate::people::People;

/// What `ipn.Notify` says first: the state is `Running`.
const RUNNING: &str = "{\"Version\":\"1.102.0\",\"State\":6}\n";
/// What it says when something of the tailnet changed.
const CHANGED: &str = "{\"Version\":\"1.102.0\",\"SelfChange\":{}}\n";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A tailscaled that is none. It ends with this.
#[derive(Debug)]
pub struct StandIn {
    folder: TempDir,
    tailnet: Arc<Tailnet>,
}

/// The tailnet that it tells of.
#[derive(Debug)]
struct Tailnet {
    people: People,
    capability: String,
    rules: RwLock<Vec<Value>>,
    changes: watch::Sender<u64>,
    asked: AtomicU64,
}

// === impl StandIn ===

impl StandIn {
    /// Tells of `people`, each of which has `rules` through `capability`. A runtime must be entered.
    pub fn start(people: People, capability: &str, rules: Vec<Value>) -> Outcome<Self> {
        // Short, because the paths of sockets are.
        let folder = tempfile::Builder::new().prefix("tka-si-").tempdir()?;
        let tailnet = Arc::new(Tailnet {
            people,
            capability: capability.to_owned(),
            rules: RwLock::new(rules),
            changes: watch::Sender::new(0),
            asked: AtomicU64::new(0),
        });
        let stand_in = Self { folder, tailnet };
        tokio::spawn(serve(bind(&stand_in.socket())?, Arc::clone(&stand_in.tailnet)));
        Ok(stand_in)
    }

    /// The socket, for a server's `tailscale.socket`.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// From now on every caller has these rules, and the server is told that something changed.
    pub fn set_rules(&self, rules: Vec<Value>) {
        *self.tailnet.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.tailnet.changes.send_modify(|change| *change += 1);
    }

    /// How often it was asked who is at an address.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.tailnet.asked.load(Ordering::Relaxed)
    }
}

fn bind(socket: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(socket)
}

async fn serve(listener: UnixListener, tailnet: Arc<Tailnet>) {
    // It ends with the runtime; a connection that cannot be taken is the server's to notice.
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            continue;
        };
        let tailnet = Arc::clone(&tailnet);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let answer = tailnet.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(connection), answer)
                .await;
        });
    }
}

// === impl Tailnet ===

impl Tailnet {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        match request.uri().path() {
            "/localapi/v0/whois" => self.whois(query),
            "/localapi/v0/status" => json(&self.people.status(!query.contains("peers=false"))),
            "/localapi/v0/watch-ipn-bus" => Response::new(self.bus()),
            _ => refused(StatusCode::NOT_FOUND),
        }
    }

    fn whois(&self, query: &str) -> Response<Body> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let device = address(query).and_then(|address| self.people.device(address.ip()));
        let Some(device) = device else {
            return refused(StatusCode::NOT_FOUND);
        };
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        json(&self.people.whois(device, &self.capability, &rules))
    }

    /// Tells the state, and then of every change.
    fn bus(&self) -> Body {
        let changes = self.changes.subscribe();
        let then: BoxStream<'static, &'static str> = stream::unfold(changes, |mut changes| async move {
            changes.changed().await.ok()?;
            Some((CHANGED, changes))
        })
        .boxed();
        let told = stream::once(future::ready(RUNNING)).chain(then);
        let frames = told.map(|line| Ok(Frame::data(Bytes::from_static(line.as_bytes()))));
        StreamBody::new(frames).boxed_unsync()
    }
}

fn json(value: &Value) -> Response<Body> {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync())
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"no match for IP:port\n")).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// The address in the query of a WhoIs, in which colons and brackets are escaped.
fn address(query: &str) -> Option<SocketAddr> {
    let text = query.split('&').find_map(|pair| pair.strip_prefix("addr="))?;
    let text = text.replace("%3A", ":").replace("%5B", "[").replace("%5D", "]");
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tka_tailnet::{BackendState, Error, LocalApi};

    use super::*;

    #[tokio::test]
    async fn client_of_tailscaled_takes_it_for_one() {
        let people = People {
            devices: 300,
            devices_per_user: 1,
        };
        let stand_in = StandIn::start(people, "example.com/cap/tka", vec![json!({"role": "view"})]).unwrap();
        let tailscaled = LocalApi::new(stand_in.socket());
        let status = tailscaled.status_with_peers().await.unwrap();
        assert_eq!((status.tun, status.peers.len()), (false, 300));
        status.require_running().unwrap();
        for address in [People::loopback(299), People::on_tailnet(299)] {
            let caller = tailscaled.whois(SocketAddr::new(address, 4711)).await.unwrap();
            assert_eq!(caller.user_profile.login_name, "user-299@example.com");
            assert_eq!(caller.capability("example.com/cap/tka").len(), 1);
        }
        let stranger = tailscaled.whois(SocketAddr::new(People::loopback(300), 1)).await;
        assert!(matches!(stranger, Err(Error::NotFound { .. })), "{stranger:?}");
        assert_eq!(stand_in.asked(), 3);
    }

    #[tokio::test]
    async fn change_of_the_rules_is_told() {
        let people = People {
            devices: 1,
            devices_per_user: 1,
        };
        let stand_in = StandIn::start(people, "example.com/cap/tka", vec![json!({"role": "view"})]).unwrap();
        let tailscaled = LocalApi::new(stand_in.socket());
        let mut told = tailscaled.watch().await.unwrap();
        let first = told.next().await.unwrap().unwrap();
        assert_eq!(first.state, Some(BackendState::Running));
        stand_in.set_rules(Vec::new());
        let next = tokio::time::timeout(Duration::from_secs(5), told.next()).await;
        assert!(next.unwrap().unwrap().unwrap().netmap_changed);
        let caller = tailscaled.whois(SocketAddr::new(People::loopback(0), 1)).await.unwrap();
        assert!(caller.capability("example.com/cap/tka").is_empty());
    }
}
