//! A node that comes back with another address or name, with a stand-in for tailscaled and loopback addresses for those of the tailnet.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tka_tailnet::LocalApi;

use axum::routing::get;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;

const OLD: &str = "old.tailnet.test";
const NEW: &str = "new.tailnet.test";
const LIMIT: Duration = Duration::from_mins(1);

/// The answers of tailscaled when it is asked for the certificate of a name, as key and certificate in PEM.
type Certificates = Arc<Mutex<BTreeMap<String, String>>>;

mod https;

struct Double {
    folder: TempDir,
    certificates: Certificates,
    authorities: BTreeMap<&'static str, CertificateDer<'static>>,
    made: BTreeMap<&'static str, String>,
    port: u16,
    said: watch::Sender<Option<Status>>,
    node: watch::Receiver<Node>,
    serving: watch::Receiver<Serving>,
    standing: watch::Receiver<Option<CertificateState>>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Double {
    fn start(https: bool) -> Self {
        Self::start_with(https, |socket| Source::Tailnet(Box::new(LocalApi::new(socket))))
    }

    fn start_with(https: bool, source: impl FnOnce(&std::path::Path) -> Source) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let certificates = Certificates::default();
        let socket = folder.path().join("tailscaled.sock");
        tokio::spawn(tailscaled(
            UnixListener::bind(&socket).unwrap(),
            Arc::clone(&certificates),
        ));
        let (mut authorities, mut made) = (BTreeMap::new(), BTreeMap::new());
        for name in [OLD, NEW] {
            let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            authorities.insert(name, pair.cert.der().clone());
            made.insert(name, pair.signing_key.serialize_pem() + &pair.cert.pem());
        }
        let port = free_port();
        let (said, of_node) = watch::channel(None);
        let (node, known) = watch::channel(Node::default());
        let (serving, is_serving) = watch::channel(Err("still starting".to_owned()));
        let (standing, is_standing) = watch::channel(None);
        let server = TailnetServer {
            certificates: source(&socket),
            served: Served { port, https },
            router: Router::new().route("/", get(|| std::future::ready("served"))),
            limits: config::Server::default(),
            node,
            serving,
            standing,
            clock: Arc::new(jiff::Timestamp::now),
        };
        let stop = CancellationToken::new();
        Self {
            folder,
            certificates,
            authorities,
            made,
            port,
            said,
            node: known,
            serving: is_serving,
            standing: is_standing,
            server: tokio::spawn(server.run(of_node, stop.clone())),
            stop,
        }
    }

    fn say(&self, name: &str, addresses: &[&str]) {
        let status = json!({
            "Version": "1.102.2", "TUN": true, "BackendState": "Running", "CertDomains": [name], "Health": null, "Peer": null,
            "Self": {"ID": "n1", "HostName": "tka", "DNSName": format!("{name}."), "Online": true, "TailscaleIPs": addresses}
        });
        self.said.send_replace(Some(serde_json::from_value(status).unwrap()));
    }

    /// tailscaled has a certificate for `name` from now on.
    fn certify(&self, name: &str) {
        let mut certificates = self.certificates.lock().unwrap();
        certificates.insert(name.to_owned(), self.made[name].clone());
    }

    async fn until(&mut self, what: impl Fn(&Serving) -> bool) -> Serving {
        let waited = tokio::time::timeout(LIMIT, self.serving.wait_for(what)).await;
        waited.expect("it comes to that in time").unwrap().clone()
    }

    async fn until_failed(&mut self, of: impl Fn(&str) -> bool) -> String {
        let failed = self.until(|serving| serving.as_ref().is_err_and(|why| of(why)));
        failed.await.unwrap_err()
    }

    async fn until_served_as(&mut self, name: &str, addresses: &[&str]) {
        let [url, https] = ["http", "https"].map(|scheme| format!("{scheme}://{name}:{}", self.port));
        let known = self.node.wait_for(|node| node.url == url || node.url == https);
        let renamed = tokio::time::timeout(LIMIT, known).await;
        drop(renamed.expect("the node is renamed in time").unwrap());
        self.until(Result::is_ok).await.unwrap();
        for address in addresses {
            assert!(self.connect(address).is_ok(), "{address}");
        }
    }

    fn connect(&self, address: &str) -> io::Result<TcpStream> {
        TcpStream::connect((address, self.port))
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.server).await.unwrap().unwrap();
    }
}

/// Answers what is asked for a certificate; each connection is for one question.
async fn tailscaled(listener: UnixListener, certificates: Certificates) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if connection.read_buf(&mut head).await.unwrap() == 0 {
                break;
            }
        }
        let head = String::from_utf8(head).unwrap();
        let (_, path) = head.split_once("/cert/").unwrap();
        let name = path.split('?').next().unwrap().to_owned();
        let found = certificates.lock().unwrap().get(&name).cloned();
        let (status, body) = found.map_or(("500 Internal Server Error", "not yet".into()), |pair| ("200 OK", pair));
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A port that is free on all addresses of these tests.
fn free_port() -> u16 {
    let port = || -> io::Result<u16> {
        let first = TcpListener::bind("127.0.0.2:0")?;
        let port = first.local_addr()?.port();
        let _others = [
            TcpListener::bind(("127.0.0.3", port))?,
            TcpListener::bind(("127.0.0.4", port))?,
        ];
        Ok(port)
    };
    (0..100).find_map(|_| port().ok()).unwrap()
}

/// Sends a request on a connection that goes on afterwards.
fn ask(connection: &mut (impl Read + Write)) -> String {
    connection.write_all(b"GET / HTTP/1.1\r\nHost: tka\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    String::from_utf8(answer).unwrap()
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection that believes only the certificate of `name`.
fn tls(double: &Double, name: &'static str, address: &str) -> io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(double.authorities[name].clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = config.with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, double.connect(address)?);
    stream.sock.set_read_timeout(Some(LIMIT))?;
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap()
}

// cases.md 11.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_with_other_addresses_is_followed() {
    let mut double = Double::start(false);
    double.say(OLD, &["127.0.0.2", "127.0.0.3"]);
    double.until_served_as(OLD, &["127.0.0.2", "127.0.0.3"]).await;
    let mut kept = double.connect("127.0.0.2").unwrap();
    kept = blocking(move || (ask(&mut kept), kept).1).await;

    double.say(NEW, &["127.0.0.2", "127.0.0.4"]);
    double.until_served_as(NEW, &["127.0.0.2", "127.0.0.4"]).await;
    let answer = blocking(move || ask(&mut kept)).await;
    let goes_on = answer.starts_with("HTTP/1.1 200");
    assert!(goes_on, "a connection of an address that stays goes on: {answer}");
    let gone = tokio::time::timeout(LIMIT, async {
        while double.connect("127.0.0.3").is_ok() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("nothing listens on an address that is gone");
    double.end().await;
}

// cases.md 11.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_of_another_name_has_its_certificate() {
    let mut double = Double::start(true);
    double.say(OLD, &["127.0.0.2"]);
    double.until_failed(|why| why.contains(OLD)).await;
    let connected = double.connect("127.0.0.2");
    assert!(connected.is_err(), "nothing listens without a certificate");
    double.certify(OLD);
    double.until_served_as(OLD, &["127.0.0.2"]).await;
    let mut kept = tls(&double, OLD, "127.0.0.2").unwrap();
    assert!(tls(&double, NEW, "127.0.0.2").is_err());

    double.say(NEW, &["127.0.0.2"]);
    let why = double.until_failed(|why| why.contains("certificate")).await;
    assert!(why.contains(NEW), "not ready, and says why: {why}");
    double.certify(NEW);
    double.until_served_as(NEW, &["127.0.0.2"]).await;
    let mut fresh = tls(&double, NEW, "127.0.0.2").unwrap();
    blocking(move || (ask(&mut kept), ask(&mut fresh))).await;
    double.end().await;
}

// cases.md 11.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_that_cannot_be_had_yet_is_waited_for() {
    let mut double = Double::start(false);
    let taken = TcpListener::bind(("127.0.0.3", double.port)).unwrap();
    double.say(OLD, &["127.0.0.2", "127.0.0.3"]);
    let why = double.until_failed(|why| why != "still starting").await;
    assert!(why.contains("127.0.0.3"), "{why}");
    assert!(double.connect("127.0.0.2").is_ok(), "what can be had is served");
    drop(taken);
    double.until_served_as(OLD, &["127.0.0.2", "127.0.0.3"]).await;

    // An address that the interface does not have yet, and then it has another.
    double.say(OLD, &["192.0.2.1"]);
    let why = double.until(Result::is_err).await.unwrap_err();
    assert!(!why.is_empty());
    double.say(OLD, &["127.0.0.2"]);
    double.until_served_as(OLD, &["127.0.0.2"]).await;
    double.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_leaves_the_tailnet_for_a_while_is_served_on() {
    let mut double = Double::start(false);
    double.say(OLD, &["127.0.0.2"]);
    double.until_served_as(OLD, &["127.0.0.2"]).await;
    let stopped = json!({"TUN": true, "BackendState": "Stopped", "CertDomains": null, "Health": null, "Peer": null});
    double.said.send_replace(Some(serde_json::from_value(stopped).unwrap()));
    double.say(OLD, &["127.0.0.2"]);
    double.until_served_as(OLD, &["127.0.0.2"]).await;
    double.end().await;
}

fn wanted(address: &str) -> DesiredState {
    DesiredState {
        node: Node::default(),
        name: OLD.into(),
        addresses: BTreeSet::from([address.parse::<SocketAddr>().unwrap()]),
        domain: None,
    }
}

#[test]
fn what_fails_is_tried_ever_later_until_another_is_wanted() {
    let start = Instant::now();
    let mut plan = NextAttempt::default();
    assert_eq!(plan.now(start), None);
    plan.take(Some(wanted("127.0.0.2:1")), start);
    let mut now = start;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(plan.now(now), Some(wanted("127.0.0.2:1")));
        let wait = plan.tried(Err(ListenError::NoAddress), now).unwrap_err().1;
        assert_eq!(wait, Duration::from_secs(seconds));
        assert_eq!(plan.now(now), None);
        // A busy tailnet says the same again and again: no reason to ask an authority more often.
        plan.take(Some(wanted("127.0.0.2:1")), now);
        assert_eq!(plan.now(now), None);
        now += wait;
    }
    plan.take(None, now);
    plan.take(Some(wanted("127.0.0.3:1")), now);
    assert_eq!(plan.now(now), Some(wanted("127.0.0.3:1")));
    plan.tried(Ok(()), now).unwrap();
    assert_eq!(plan.now(now + LONGEST_RETRY), None);
}
