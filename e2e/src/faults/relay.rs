//! What the proxy does with one connection, and with one request on it.

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use testbed::Testbed;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::plan::{Fault, Moment};
use super::proxy::{Gate, Shared};
use super::request::Request;
use crate::Outcome;

/// How long it is from one number to the next.
const COUNTING: Duration = Duration::from_millis(10);

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The way from a connection to the API server.
pub(super) struct Relay {
    upstream: SocketAddr,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    shared: Arc<Shared>,
}

/// A connection is cut: on purpose.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

/// What `headers` say of a trace.
fn trace(headers: &HeaderMap) -> HeaderMap {
    let of_a_trace = |name: &&HeaderName| ["traceparent", "tracestate", "baggage"].contains(&name.as_str());
    let names = headers.keys().filter(of_a_trace);
    let all = names.flat_map(|name| headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    all.collect()
}

// === impl Relay ===

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl Relay {
    pub(super) fn new(testbed: &Testbed, shared: Arc<Shared>) -> Outcome<Self> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = testbed.api_server_certificate();
        let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
        let mut authorities = RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_file(testbed.ca_file())?)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(Self {
            upstream: testbed.api_server().trim_start_matches("https://").parse()?,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            shared,
        })
    }

    /// Serves one connection until it ends, or is cut.
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let shared = &self.shared;
        let (mut gate, mut cuts) = (shared.gate.subscribe(), shared.cuts.subscribe());
        let mut strandings = shared.strandings.subscribe();
        let serve = pin!(async {
            let stream = self.acceptor.accept(stream).await?;
            let service = service_fn(|request| Arc::clone(&self).request(request));
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await?;
            Ok::<_, Broken>(())
        });
        let gone = async { drop(gate.wait_for(|gate| *gate == Gate::Away).await) };
        // However it ends, it is dropped, and that is what the other side sees. One that is stranded is neither served nor dropped.
        tokio::select! {
            _ = serve => {}
            _ = strandings.changed() => pending().await,
            () = gone => {}
            _ = cuts.changed() => {}
        }
    }

    async fn request(self: Arc<Self>, request: http::Request<Incoming>) -> Result<Answer, Broken> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        self.pass().await?;
        let summary = Request::of(&head, &body);
        let mut request = http::Request::from_parts(head, Full::new(body));
        let Some((plan, fault)) = self.shared.strike(&summary, trace(request.headers())) else {
            return self.answer(request).await;
        };
        if let Fault::Cut(Moment::After) | Fault::Hang(Moment::After) = fault {
            drop(self.forward(request.clone()).await?);
        }
        match fault {
            Fault::Answer(status, retry_after) => {
                self.shared.struck(plan);
                refusal(status, retry_after)
            }
            Fault::Say(status, body) => {
                self.shared.struck(plan);
                answer(status, None, body.to_owned())
            }
            Fault::Busy(retry_after) => {
                self.shared.struck(plan);
                answer(429, Some(retry_after), "the fault proxy is busy".to_owned())
            }
            Fault::Count => {
                self.shared.struck(plan);
                tokio::spawn(count(hyper::upgrade::on(&mut request)));
                opened()
            }
            Fault::Still => {
                self.shared.gate.send_replace(Gate::Still);
                self.shared.struck(plan);
                self.pass().await?;
                self.answer(request).await
            }
            Fault::Silence => {
                self.shared.struck(plan);
                pending().await
            }
            Fault::Expired => {
                self.shared.struck(plan);
                let event = json!({"type": "ERROR", "object": failure(410, None)});
                answer(200, None, format!("{event}\n"))
            }
            Fault::Cut(_) => {
                self.shared.struck(plan);
                Err(Cut.into())
            }
            Fault::Hang(_) => {
                self.shared.gate.send_replace(Gate::Hanging);
                self.shared.struck(plan);
                self.pass().await?;
                Err(Cut.into())
            }
        }
    }

    /// Forwards a request, and returns its answer as soon as the way is open.
    async fn answer(&self, request: http::Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let answer = self.forward(request).await?;
        self.pass().await?;
        Ok(self.through_gate(answer))
    }

    /// Returns when the way is open, unless what waited is to be cut then.
    async fn pass(&self) -> Result<(), Broken> {
        let mut gate = self.shared.gate.subscribe();
        let was = *gate.borrow_and_update();
        gate.wait_for(|gate| *gate == Gate::Open).await?;
        if was == Gate::Hanging { Err(Cut.into()) } else { Ok(()) }
    }

    /// Sends a request to the API server and returns its answer. It is sent to its end, also when its sender is gone.
    async fn forward(&self, request: http::Request<Full<Bytes>>) -> Result<Response<Incoming>, Broken> {
        let in_flight = self.shared.forward();
        let (upstream, connector) = (self.upstream, self.connector.clone());
        let answer = tokio::spawn(async move {
            let _in_flight = in_flight;
            let stream = TcpStream::connect(upstream).await?;
            let stream = connector.connect(ServerName::from(upstream.ip()), stream).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok::<_, Broken>(sender.send_request(request).await?)
        });
        answer.await?
    }

    /// An answer of which nothing arrives while the network stands still.
    fn through_gate(&self, answer: Response<Incoming>) -> Answer {
        let gate = self.shared.gate.subscribe();
        answer.map(|body| {
            let frames = BodyStream::new(body).then(move |frame| {
                let mut gate = gate.clone();
                async move {
                    // It is never dropped before the proxy is.
                    let _ = gate.wait_for(|gate| *gate != Gate::Still).await;
                    frame
                }
            });
            BodyExt::boxed_unsync(StreamBody::new(frames))
        })
    }
}

/// Accepts connections for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, relay: Arc<Relay>) {
    loop {
        // Nothing but a lack of descriptors, which another connection's end heals.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&relay).connection(stream));
        }
    }
}

/// A refusal as the API server writes it
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>).
fn failure(status: u16, retry_after: Option<u32>) -> Value {
    let reason = match status {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let mut failure = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the fault proxy says so", "reason": reason, "code": status,
    });
    if let Some(seconds) = retry_after {
        failure["details"] = json!({"retryAfterSeconds": seconds});
    }
    failure
}

/// A WebSocket of exec. What asked for it does not look at the digest of its key.
fn opened() -> Result<Answer, Broken> {
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, "not looked at")
        .header(header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io");
    let body = Full::default().map_err(|never| match never {});
    Ok(answer.body(BodyExt::boxed_unsync(body))?)
}

/// Writes a number a line to standard output, channel 1, until the other side has gone.
async fn count(upgrade: OnUpgrade) -> Result<(), Broken> {
    let mut stream = TokioIo::new(upgrade.await?);
    for number in 1_u32.. {
        let message = format!("\u{1}{number}\n");
        let mut frame = vec![0x82, u8::try_from(message.len())?];
        frame.extend(message.into_bytes());
        stream.write_all(&frame).await?;
        stream.flush().await?;
        tokio::time::sleep(COUNTING).await;
    }
    Ok(())
}

fn refusal(status: u16, retry_after: Option<u32>) -> Result<Answer, Broken> {
    answer(status, retry_after, failure(status, retry_after).to_string())
}

fn answer(status: u16, retry_after: Option<u32>, body: String) -> Result<Answer, Broken> {
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(status)?)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        answer = answer.header(header::RETRY_AFTER, seconds);
    }
    let body = Full::from(body).map_err(|never| match never {});
    Ok(answer.body(BodyExt::boxed_unsync(body))?)
}
