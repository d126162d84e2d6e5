//! Requests, as a program on a node of the tailnet sends them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::Node;
use ureq::{Agent, Proxy, Timeout};

use crate::secrets::Tokens;
use crate::wire::{Kubeconfig, Login, Refusal};
use crate::{Outcome, wait};

/// What every path of the API begins with.
const PREFIX: &str = "/api/v1alpha1";
/// How long a server may take over what it does not understand.
const RAW_LIMIT: Duration = Duration::from_secs(20);
/// How long a connection may take to be there.
const CONNECT: Duration = wait::BUSY;
/// How often the tailnet may refuse a connection that the server would take.
const TUNNELS: u32 = 3;
/// What tailscaled's proxy says then.
const REFUSED: &str = "connection was refused";
/// What of an answer holds its status: `HTTP/1.1 200`.
const STATUS_BYTES: u64 = 12;

/// A program that sends requests to one server from one place.
#[derive(Clone, Debug)]
pub struct Caller {
    agent: Agent,
    url: String,
    proxy: Option<SocketAddr>,
    tokens: Arc<Tokens>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request line: method and path.
    pub request: String,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as text: what is none in it is replaced.
    pub body: String,
    /// Its body.
    pub bytes: Vec<u8>,
}

// === impl Caller ===

impl Caller {
    /// One on `node`, which reaches the server at `url` over the tailnet.
    pub fn on(node: &Node, url: &str, tokens: &Arc<Tokens>) -> Outcome<Self> {
        let proxy = node.proxy();
        let address = proxy.trim_start_matches("http://").parse()?;
        Ok(Self {
            agent: agent(Some(Proxy::new(&proxy)?)),
            url: url.to_owned(),
            proxy: Some(address),
            tokens: Arc::clone(tokens),
        })
    }

    /// One on this machine, which connects without the tailnet.
    #[must_use]
    pub fn beside(address: SocketAddr, tokens: &Arc<Tokens>) -> Self {
        Self {
            agent: agent(None),
            url: format!("http://{address}"),
            proxy: None,
            tokens: Arc::clone(tokens),
        }
    }

    /// Sends a request without a body. A path that begins with a slash is below the API's prefix, a whole URL is itself.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
        self.send_body(method, &format!("{PREFIX}{path}"), headers, &[])
    }

    /// Sends a request to any path of the server.
    pub fn send_body(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome<Answer> {
        let request_line = format!("{method} {path}");
        let ask = || -> Outcome<_> {
            let mut request = Request::builder()
                .method(Method::from_bytes(method.as_bytes())?)
                .uri(format!("{}{path}", self.url));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            Ok(if body.is_empty() {
                self.agent.run(request.body(())?)
            } else {
                self.agent.run(request.body(body)?)
            })
        };
        let mut answer = ask()?;
        for _ in 0..TUNNELS {
            // The server has heard nothing yet. On the way from loopback ports, tailscaled gives up a connection whose port it has
            // not forgotten from the one before, or never makes it.
            let Err(error @ (ureq::Error::ConnectProxyFailed(_) | ureq::Error::Timeout(Timeout::Connect))) = &answer
            else {
                break;
            };
            eprintln!("{request_line} of {} is sent again: {error}", self.url);
            answer = ask()?;
        }
        let mut answer = answer.map_err(|error| format!("{request_line}: {error}"))?;
        let bytes = answer.body_mut().read_to_vec()?;
        Ok(Answer {
            request: request_line,
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        })
    }

    /// The same with `body` as JSON, below the prefix.
    pub fn send_json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Outcome<Answer> {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send_body(
            method,
            &format!("{PREFIX}{path}"),
            &headers,
            body.to_string().as_bytes(),
        )
    }

    /// `GET` below the prefix.
    pub fn get(&self, path: &str) -> Outcome<Answer> {
        self.send("GET", path, &[])
    }

    /// `POST` below the prefix.
    pub fn post(&self, path: &str) -> Outcome<Answer> {
        self.send("POST", path, &[])
    }

    /// Signs in.
    pub fn sign_in(&self) -> Outcome<Login> {
        self.post("/login")?.expect(202)?.decode()
    }

    /// Signs in and waits until the session is usable. The credential that comes with the answer is remembered.
    pub fn sign_in_waiting(&self) -> Outcome<Answer> {
        self.remembered(self.send("POST", "/login", &[("Prefer", "wait=5")])?)
    }

    /// The same, to a session that is kept apart by `label`.
    pub fn sign_in_apart(&self, label: &str) -> Outcome<Answer> {
        let body = json!({ "session": label });
        self.remembered(self.send_json("POST", "/login", &[("Prefer", "wait=10")], &body)?)
    }

    /// Remembers the credential in the answer to a sign-in, if there is one.
    pub(crate) fn remembered(&self, answer: Answer) -> Outcome<Answer> {
        if answer.status == 200 {
            self.tokens.add(answer.credential()?.as_str())?;
        }
        Ok(answer)
    }

    /// Remembers a credential that came in an answer.
    pub fn remember(&self, token: &str) -> Outcome {
        self.tokens.add(token)
    }

    /// Signs out.
    pub fn sign_out(&self) -> Outcome<Login> {
        self.post("/logout")?.expect(200)?.decode()
    }

    /// Fetches a credential of the session there is.
    pub fn token(&self) -> Outcome<String> {
        let kubeconfig: Kubeconfig = self.get("/kubeconfig")?.expect(200)?.decode()?;
        let token = kubeconfig.token().ok_or("the kubeconfig's context leads to no token")?;
        self.tokens.add(token)?;
        Ok(token.to_owned())
    }

    /// Fetches a kubeconfig file in the form that kubectl reads.
    pub fn kubeconfig_file(&self, media_type: &str) -> Outcome<Answer> {
        let answer = self
            .send("GET", "/kubeconfig", &[("Accept", media_type)])?
            .expect(200)?;
        if self.tokens.add_kubeconfig(&answer.body)? == 0 {
            return Err("there is no token in the kubeconfig file".into());
        }
        Ok(answer)
    }

    /// Writes bytes to the server, whatever they are, and returns the status of its answer, or none if it closes the connection
    /// without one. It must do either.
    pub fn write(&self, bytes: &[u8]) -> Outcome<Option<u16>> {
        let mut stream = self.tunnel()?;
        // The server may have heard enough, and close the connection before the end.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        match stream.take(STATUS_BYTES).read_to_end(&mut answer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(format!("neither answer nor end within {RAW_LIMIT:?}").into())
            }
            _ => Ok(status(&answer)),
        }
    }

    /// The server's name and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        let url = self.url.trim_start_matches("http://");
        url.trim_start_matches("https://")
    }

    /// The same program, which calls the server by another URL. It has a port.
    #[must_use]
    pub fn to(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// A connection to the server, through the node's proxy. The tailnet may refuse although the server listens, about once in ten
    /// thousand connections on a busy machine. Then it is asked again.
    pub fn tunnel(&self) -> Outcome<TcpStream> {
        let authority = self.authority();
        let Some(proxy) = self.proxy else {
            return connect(authority.parse()?);
        };
        let mut refused = 0;
        loop {
            match self.tunnel_through(proxy) {
                Err(error) if refused < TUNNELS && error.to_string().contains(REFUSED) => {
                    let port = authority.rsplit_once(':').map_or(authority, |(_, port)| port);
                    TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse::<u16>()?))?;
                    eprintln!("{authority} listens, and the tailnet said: {error}");
                    refused += 1;
                }
                result => return result,
            }
        }
    }

    fn tunnel_through(&self, proxy: SocketAddr) -> Outcome<TcpStream> {
        let authority = self.authority();
        let mut stream = connect(proxy)?;
        write!(stream, "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        match status(&head) {
            Some(200) => Ok(stream),
            _ => Err(format!("no way through the proxy: {}", String::from_utf8_lossy(&head)).into()),
        }
    }
}

fn agent(proxy: Option<Proxy>) -> Agent {
    let config = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        // A connection that was kept would tell of a server that has been killed since.
        .max_idle_connections(0)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(wait::LIMIT));
    config.build().new_agent()
}

fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(RAW_LIMIT))?;
    stream.set_write_timeout(Some(RAW_LIMIT))?;
    Ok(stream)
}

fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer.get(..12)?).into_owned();
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

// === impl Answer ===

impl Answer {
    /// Itself, if it has that status.
    pub fn expect(self, status: u16) -> Outcome<Self> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!(
            "{} answered {} and not {status}: {}",
            self.request, self.status, self.body
        )
        .into())
    }

    /// Its body, as JSON.
    pub fn json(&self) -> Outcome<Value> {
        self.decode()
    }

    /// Its body, as the original's CLI decodes it.
    pub fn decode<T: DeserializeOwned>(&self) -> Outcome<T> {
        serde_json::from_str(&self.body).map_err(|error| format!("{}: {error} in {:?}", self.request, self.body).into())
    }

    /// The token in the credential that it holds.
    pub fn credential(&self) -> Outcome<String> {
        let token = &self.json()?["credential"]["status"]["token"];
        let token = token.as_str().ok_or("there is no credential in the answer")?;
        Ok(token.to_owned())
    }

    /// Its body, as a refusal that says what happened and what to do.
    pub fn refusal(&self) -> Outcome<Refusal> {
        let refusal: Refusal = self.decode()?;
        if refusal.message.is_empty() || refusal.advice.is_empty() {
            return Err(format!("{} was refused without a word of help: {}", self.request, self.body).into());
        }
        Ok(refusal)
    }

    /// All values of a header that are text.
    #[must_use]
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    }

    /// A header, if it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
