//! A tailscaled whose tailnet gives certificates. The real endpoint needs an authority on the public internet. So it alone is answered here,
//! with certificates of a test's own authority, and the status says that there are some. All else is the real tailscaled's answer.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use crate::Outcome;

/// How large the head of a question may be.
const LONGEST_HEAD: usize = 16 * 1024;

/// A certificate authority of one test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate with its key, PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Since when and for how long a certificate is valid, in seconds from now: the first may have passed.
pub type Validity = (i64, i64);

/// A socket that leads to a tailscaled, for a server's `tailscale.socket`.
#[derive(Debug)]
pub struct Certified {
    folder: TempDir,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    authority: Authority,
    given: Mutex<Given>,
}

/// What is given to a question for a certificate.
#[derive(Debug, Default)]
struct Given {
    /// Nothing is given without it.
    validity: Option<Validity>,
    /// The last one that was given, with its name.
    last: Option<(String, Pair)>,
}

// === impl Authority ===

impl Authority {
    /// A new one.
    pub fn new() -> Outcome<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate.
    pub fn issue(&self, name: &str, (begins, ends): Validity) -> Outcome<Pair> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.not_before = time(begins).into();
        params.not_after = time(ends).into();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    if seconds < 0 { now - distance } else { now + distance }
}

// === impl Certified ===

impl Certified {
    /// Stands before the tailscaled whose socket is `upstream`, and has no certificate yet.
    pub fn before(upstream: &Path) -> Outcome<Self> {
        // Short, because the paths of sockets are.
        let folder = tempfile::Builder::new().prefix("tka-tc-").tempdir()?;
        let state = Arc::new(State {
            authority: Authority::new()?,
            given: Mutex::default(),
        });
        let certified = Self { folder, state };
        std::fs::write(certified.authority_file(), certified.state.authority.certificate())?;
        let listener = UnixListener::bind(certified.socket())?;
        let (upstream, state) = (upstream.to_owned(), Arc::clone(&certified.state));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (upstream, state) = (upstream.clone(), Arc::clone(&state));
                // A client whose question fails sees its connection end.
                thread::spawn(move || answer(client, &upstream, &state));
            }
        });
        Ok(certified)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// The file of the authority's certificate.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.state.authority.certificate()
    }

    /// From now on a new certificate is given, the same one to each question for a name, with that validity. Without one there is none.
    pub fn give(&self, validity: Option<Validity>) {
        let mut given = self.state.given.lock().unwrap_or_else(PoisonError::into_inner);
        *given = Given { validity, last: None };
    }
}

// === impl State ===

impl State {
    /// Key and certificate for `name`, as tailscaled writes them (`localapi.serveKeyPair`).
    fn pair(&self, name: &str) -> Outcome<String> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let validity = given.validity.ok_or("the authority does not answer")?;
        let pair = match &given.last {
            Some((of, pair)) if of == name => pair.clone(),
            _ => self.authority.issue(name, validity)?,
        };
        given.last = Some((name.to_owned(), pair.clone()));
        Ok(pair.key + &pair.certificate)
    }
}

/// Answers one question: the client is told to ask each on a connection of its own.
fn answer(mut client: UnixStream, upstream: &Path, state: &State) -> Outcome {
    let head = head(&mut client)?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    if let Some(rest) = target.strip_prefix("/localapi/v0/cert/") {
        let name = rest.split('?').next().unwrap_or_default();
        return match state.pair(name) {
            Ok(pair) => write(&mut client, "200 OK", pair.as_bytes()),
            Err(error) => write(&mut client, "500 Internal Server Error", error.to_string().as_bytes()),
        };
    }
    let mut server = UnixStream::connect(upstream)?;
    if target.starts_with("/localapi/v0/status") {
        // An answer to HTTP/1.0 is whole when the connection ends.
        write!(server, "GET {target} HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n")?;
        let mut status = Vec::new();
        server.read_to_end(&mut status)?;
        let begin = status.windows(4).position(|window| window == b"\r\n\r\n");
        let body = &status[begin.ok_or("the status has no body")? + 4..];
        return write(&mut client, "200 OK", &certified(body)?);
    }
    server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    // Whichever end goes takes the other with it.
    thread::spawn(move || {
        let _ = io::copy(&mut client, &mut server);
        let _ = server.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    Ok(())
}

/// The status of a node that has a certificate for its name.
fn certified(status: &[u8]) -> Outcome<Vec<u8>> {
    let mut status: Value = serde_json::from_slice(status)?;
    let name = status["Self"]["DNSName"].as_str().unwrap_or_default();
    let name = name.trim_end_matches('.').to_owned();
    status["CertDomains"] = Value::from(vec![name]);
    Ok(serde_json::to_vec(&status)?)
}

fn head(client: &mut UnixStream) -> Outcome<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > LONGEST_HEAD {
            return Err("the head of a question is too large".into());
        }
    }
    Ok(String::from_utf8(head)?)
}

fn write(client: &mut UnixStream, status: &str, body: &[u8]) -> Outcome {
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    Ok(client.write_all(body)?)
}
