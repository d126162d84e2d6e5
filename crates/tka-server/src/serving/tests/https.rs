//! HTTPS with a certificate from files, which change as the kubelet changes them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

const ADDRESS: &str = "127.0.0.2";
const DAY: i64 = 24 * 60 * 60;

/// A certificate that ends in so many days, and its key.
struct Pair {
    certificate: String,
    key: String,
    authority: CertificateDer<'static>,
}

fn pair(name: &str, days: i64) -> Pair {
    let now = Timestamp::now().as_second();
    let time = |seconds: i64| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = time(now - 90 * DAY).into();
    params.not_after = time(now + days * DAY).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        authority: certificate.der().clone(),
    }
}

/// A Secret in a folder, as the kubelet mounts it.
struct Mounted(PathBuf);

impl Mounted {
    fn at(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
        }
        Self(folder.to_owned())
    }

    /// Replaces both files in one step.
    fn replace(&self, certificate: &str, key: &str) {
        let name = format!("..{}", Timestamp::now().as_nanosecond());
        let data = self.0.join(&name);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("tls.crt"), certificate).unwrap();
        fs::write(data.join("tls.key"), key).unwrap();
        symlink(name, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
    }

    fn files(&self) -> Source {
        Source::Files(Box::new(Files::new(self.0.join("tls.crt"), self.0.join("tls.key"))))
    }
}

fn start() -> (Double, Mounted) {
    let mut mounted = None;
    let double = Double::start_with(true, |socket| {
        let secret = Mounted::at(&socket.with_file_name("tls"));
        let source = secret.files();
        mounted = Some(secret);
        source
    });
    assert!(double.folder.path().exists());
    (double, mounted.unwrap())
}

impl Double {
    async fn until_standing(&mut self, what: impl Fn(&CertificateState) -> bool) -> CertificateState {
        let stands = |standing: &Option<CertificateState>| standing.as_ref().is_some_and(&what);
        let waited = tokio::time::timeout(LIMIT, self.standing.wait_for(stands)).await;
        waited.expect("it comes to that in time").unwrap().clone().unwrap()
    }

    /// A connection that believes only the certificate of `pair`, and speaks one of `protocols`.
    async fn dial(
        &self,
        pair: &Pair,
        name: &'static str,
        protocols: &[&[u8]],
    ) -> io::Result<TlsStream<tokio::net::TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(pair.authority.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = tokio::net::TcpStream::connect((ADDRESS, self.port)).await?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name.try_into().unwrap(), stream).await
    }
}

fn spoken(stream: &TlsStream<tokio::net::TcpStream>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}

fn request() -> hyper::Request<Empty<Bytes>> {
    hyper::Request::get(format!("https://{OLD}/"))
        .body(Empty::new())
        .unwrap()
}

async fn over_http2(double: &Double, pair: &Pair) -> http2::SendRequest<Empty<Bytes>> {
    let stream = double.dial(pair, OLD, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(spoken(&stream), Some(&b"h2"[..]));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn served(answer: hyper::Response<hyper::body::Incoming>) {
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_files_are_served_and_connections_go_on() {
    let (mut double, secret) = start();
    let (first, second) = (pair(OLD, 10), pair(OLD, 20));
    secret.replace(&first.certificate, &first.key);
    double.say(OLD, &[ADDRESS]);
    double.until_served_as(OLD, &[ADDRESS]).await;

    let mut http2 = over_http2(&double, &first).await;
    let stream = double.dial(&first, OLD, &[b"http/1.1"]).await.unwrap();
    assert_eq!(spoken(&stream), Some(&b"http/1.1"[..]));
    let (mut http1, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    served(http2.send_request(request()).await.unwrap()).await;
    served(http1.send_request(request()).await.unwrap()).await;

    let before = double.until_standing(|_| true).await;
    secret.replace(&second.certificate, &second.key);
    let after = double.until_standing(|standing| standing.ends > before.ends).await;
    assert_eq!(after.trouble, None);
    served(http2.send_request(request()).await.unwrap()).await;
    served(http1.send_request(request()).await.unwrap()).await;
    served(
        over_http2(&double, &second)
            .await
            .send_request(request())
            .await
            .unwrap(),
    )
    .await;
    assert!(
        double.dial(&first, OLD, &[b"h2"]).await.is_err(),
        "the first is served no more"
    );
    double.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_change_nothing_and_are_told() {
    let (mut double, secret) = start();
    let good = pair(OLD, 10);
    secret.replace("", "");
    double.say(OLD, &[ADDRESS]);
    let why = double.until_failed(|why| why.contains("no certificate")).await;
    assert!(
        double.connect(ADDRESS).is_err(),
        "nothing listens without a certificate: {why}"
    );
    secret.replace(&good.certificate, &good.key);
    double.until_served_as(OLD, &[ADDRESS]).await;

    let (other, ended) = (pair(OLD, 10), pair(OLD, -1));
    for (certificate, key, why) in [
        (&good.certificate, &other.key, "cannot be used together"),
        (&ended.certificate, &ended.key, "ended at"),
        (&good.certificate, &"no key".to_owned(), "not PEM"),
    ] {
        secret.replace(certificate, key);
        let told = |standing: &CertificateState| standing.trouble.as_ref().is_some_and(|trouble| trouble.contains(why));
        let standing = double.until_standing(told).await;
        assert!(
            standing.check(Timestamp::now()).is_ok(),
            "what is served is good: {standing:?}"
        );
        served(over_http2(&double, &good).await.send_request(request()).await.unwrap()).await;
    }
    fs::remove_file(secret.0.join("..data")).unwrap();
    let gone = |standing: &CertificateState| {
        standing
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.contains("cannot read"))
    };
    let standing = double.until_standing(gone).await;
    assert!(!format!("{standing:?}").contains("PRIVATE KEY"));
    assert!(double.serving.borrow().is_ok());
    secret.replace(&good.certificate, &good.key);
    double.until_standing(|standing| standing.trouble.is_none()).await;
    double.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mismatched_certificate_is_served_and_told() {
    let (mut double, secret) = start();
    let of_old = pair(OLD, 10);
    secret.replace(&of_old.certificate, &of_old.key);
    double.say(OLD, &[ADDRESS]);
    double.until_served_as(OLD, &[ADDRESS]).await;
    assert_eq!(double.until_standing(|_| true).await.trouble, None);
    double.say(NEW, &[ADDRESS]);
    let standing = double.until_standing(|standing| standing.trouble.is_some()).await;
    assert!(standing.trouble.unwrap().contains(NEW));
    double.until_served_as(NEW, &[ADDRESS]).await;
    // An administrator may call it by that name (`server.allowedHosts`).
    assert!(double.dial(&of_old, OLD, &[]).await.is_ok());
    double.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_never_says_what_it_wants_is_let_go() {
    let (mut double, secret) = start();
    let good = pair(OLD, 10);
    secret.replace(&good.certificate, &good.key);
    double.say(OLD, &[ADDRESS]);
    double.until_served_as(OLD, &[ADDRESS]).await;
    let mut silent = double.dial(&good, OLD, &[b"h2"]).await.unwrap();
    let mut nothing = [0; 64];
    let read = tokio::time::timeout(LIMIT, async {
        while matches!(silent.read(&mut nothing).await, Ok(1..)) {}
    });
    read.await.expect("the server ends it");
    double.end().await;
}
