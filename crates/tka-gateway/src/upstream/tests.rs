use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::{CONNECTION, CONTENT_LENGTH, LOCATION, UPGRADE};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Upstream;
use super::keep_alive::READS;
use crate::body::{BoxBody, BoxError};

/// An API server that answers by the path, and counts connections.
struct ApiServer {
    upstream: Upstream,
    connections: Arc<AtomicUsize>,
}

async fn api_server(protocols: &'static [&'static [u8]]) -> ApiServer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let certificate = made.cert.der().clone();
    let mut server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Uri = format!("https://{}/base", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(
        listener,
        TlsAcceptor::from(Arc::new(server)),
        Arc::clone(&connections),
    ));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let upstream = Upstream::new(&url, &client, Some("localhost")).unwrap();
    ApiServer { upstream, connections }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, connections: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let stream = acceptor.accept(stream).await.unwrap();
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut server = http2::Builder::new(TokioExecutor::new());
                server.max_concurrent_streams(10);
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            } else {
                let server = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
                let _ = server.with_upgrades().await;
            }
        });
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
    let respond = Response::builder();
    let full = |text: &'static str| {
        Full::new(Bytes::from_static(text.as_bytes()))
            .map_err(Into::into)
            .boxed_unsync()
    };
    Ok(match request.uri().path() {
        // One word, and then silence, as a watch.
        "/base/watch" => {
            let words = stream::iter([Ok(Frame::data(Bytes::from_static(b"word")))]).chain(stream::pending());
            respond.body(StreamBody::new(words).boxed_unsync())?
        }
        "/base/endless" => {
            let block = || Ok(Frame::data(Bytes::from_static(&[7; 16384])));
            respond.body(StreamBody::new(stream::repeat_with(block)).boxed_unsync())?
        }
        "/base/chunks" => {
            let words =
                stream::iter(["some ", "words"]).map(|word| Ok(Frame::data(Bytes::from_static(word.as_bytes()))));
            respond.body(StreamBody::new(words).boxed_unsync())?
        }
        "/base/break" if request.version() == Version::HTTP_11 => return Err("no answer".into()),
        "/base/close" => respond.header(CONNECTION, "close").body(full("bye"))?,
        "/base/moved" => respond.status(302).header(LOCATION, "/base/secret").body(full(""))?,
        "/base/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                stream.write_all(b"first").await.unwrap();
                let mut said = [0; 4];
                stream.read_exact(&mut said).await.unwrap();
                stream.write_all(&said).await.unwrap();
            });
            respond
                .status(101)
                .header(CONNECTION, "Upgrade")
                .header(UPGRADE, "test")
                .body(full(""))?
        }
        "/base/denied" => respond.status(403).body(full("no"))?,
        _ => {
            let host = request
                .uri()
                .host()
                .or(request.headers().get("host").and_then(|host| host.to_str().ok()));
            let said = format!("{} {:?}", host.unwrap_or_default(), request.version());
            respond.body(Full::new(Bytes::from(said)).map_err(Into::into).boxed_unsync())?
        }
    })
}

fn get(path: &str) -> Request<BoxBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(path).header("host", "127.0.0.1").body(body).unwrap()
}

fn upgrade(path: &str) -> Request<BoxBody> {
    let mut request = get(path);
    request.headers_mut().insert(CONNECTION, "Upgrade".parse().unwrap());
    request.headers_mut().insert(UPGRADE, "test".parse().unwrap());
    request
}

async fn text(response: Response<BoxBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn watches_beyond_what_a_connection_allows_get_another() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    let mut watches = Vec::new();
    for _ in 0..35 {
        let mut response = server.upstream.send(get("/base/watch")).await.unwrap();
        let word = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(word.into_data().unwrap(), "word");
        watches.push(response);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 4);
    drop(watches);
    for _ in 0..35 {
        assert_eq!(
            text(server.upstream.send(get("/base/x")).await.unwrap()).await,
            "127.0.0.1 HTTP/2.0"
        );
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn requests_at_once_share_the_first_connection() {
    let server = api_server(&[b"h2"]).await;
    let all = (0..8).map(|_| server.upstream.send(get("/base/x")));
    futures::future::try_join_all(all).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn readers_that_stall_hold_up_no_other() {
    let server = api_server(&[b"h2"]).await;
    let mut stalled = Vec::new();
    for _ in 0..9 {
        let mut response = server.upstream.send(get("/base/endless")).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        stalled.push(response);
    }
    for _ in 0..20 {
        assert_eq!(
            text(server.upstream.send(get("/base/x")).await.unwrap()).await,
            "127.0.0.1 HTTP/2.0"
        );
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn redirects_are_answers() {
    let server = api_server(&[b"h2"]).await;
    let response = server.upstream.send(get("/base/moved")).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()[LOCATION]),
        (StatusCode::FOUND, &"/base/secret".parse().unwrap())
    );
}

#[tokio::test]
async fn server_of_http1_gets_a_connection_for_each_request() {
    let server = api_server(&[b"http/1.1"]).await;
    for _ in 0..3 {
        assert_eq!(
            text(server.upstream.send(get("/base/x")).await.unwrap()).await,
            "127.0.0.1 HTTP/1.1"
        );
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn reads_keep_their_connection_for_the_next() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    for path in ["/base/x", "/base/chunks", "/base/moved", "/base/x"] {
        let mut response = server.upstream.read(get(path)).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11, "{path}");
        // As a server does that knows how long it is.
        while !response.body().is_end_stream() {
            match response.body_mut().frame().await {
                Some(frame) => drop(frame.unwrap()),
                None => break,
            }
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_follows_the_head_of_a_read() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    let announced = |body: BoxBody| {
        let request = Request::get("/base/x")
            .header("host", "127.0.0.1")
            .header(CONTENT_LENGTH, 5);
        request.body(body).unwrap()
    };
    let body = Full::new(Bytes::from_static(b"GET /"))
        .map_err(Into::into)
        .boxed_unsync();
    let response = server.upstream.read(announced(body)).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    // The API server would wait for five bytes.
    for _ in 0..2 {
        let none = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let response = server.upstream.read(announced(none)).await.unwrap();
        assert_eq!(text(response).await, "127.0.0.1 HTTP/1.1");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn read_whose_kept_connection_breaks_is_sent_again() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    text(server.upstream.read(get("/base/x")).await.unwrap()).await;
    let response = server.upstream.read(get("/base/break")).await.unwrap();
    assert_eq!(text(response).await, "127.0.0.1 HTTP/2.0");
    // Nothing was kept, and nothing is known of one that breaks at once.
    assert!(server.upstream.read(get("/base/break")).await.is_err());
}

#[tokio::test]
async fn read_that_asks_for_an_upgrade_is_no_read() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    let response = server.upstream.read(upgrade("/base/x")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
}

#[tokio::test]
async fn read_that_is_given_up_takes_its_connection_with_it() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    for _ in 0..2 {
        let mut response = server.upstream.read(get("/base/endless")).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn connection_that_the_server_closed_is_not_used_again() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    for number in 1..=3 {
        text(server.upstream.read(get("/base/close")).await.unwrap()).await;
        assert_eq!(server.connections.load(Ordering::SeqCst), number);
    }
}

#[tokio::test]
async fn reads_beyond_the_kept_connections_share_others() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    let mut stalled = Vec::new();
    for _ in 0..READS {
        stalled.push(server.upstream.read(get("/base/endless")).await.unwrap());
    }
    let response = server.upstream.read(get("/base/x")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    stalled.clear();
    let response = server.upstream.read(get("/base/x")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
}

#[tokio::test]
async fn upgraded_connection_is_the_callers_with_all_that_was_said() {
    let server = api_server(&[b"h2", b"http/1.1"]).await;
    let response = server.upstream.upgrade(upgrade("/base/upgrade")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"first");
    stream.write_all(b"echo").await.unwrap();
    stream.read_exact(&mut said[..4]).await.unwrap();
    assert_eq!(&said[..4], b"echo");
    let refused = server.upstream.upgrade(upgrade("/base/denied")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "no");
}

#[tokio::test]
async fn api_server_that_is_not_there_is_told() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Uri = format!("https://{}", taken.local_addr().unwrap()).parse().unwrap();
    drop(taken);
    let roots = rustls::RootCertStore::empty();
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let upstream = Upstream::new(&url, &client, None).unwrap();
    let error = upstream.send(get("/")).await.err().unwrap();
    assert_eq!(error.to_string(), "cannot connect to the API server");
}
