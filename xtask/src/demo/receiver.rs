//! A receiver of webhooks, as a team has one for its pager.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long what is told may take to arrive.
const LIMIT: Duration = Duration::from_secs(10);

/// A receiver, which ends with this process.
#[derive(Debug)]
pub(super) struct Receiver {
    address: SocketAddr,
    received: Arc<Received>,
}

/// The bodies that arrived, in their order.
#[derive(Debug, Default)]
struct Received {
    bodies: Mutex<Vec<String>>,
    more: Condvar,
}

// === impl Receiver ===

impl Receiver {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, received) = (listener.local_addr()?, Arc::<Received>::default());
        let shared = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // What is no request is not received.
                if let Ok(body) = take(stream) {
                    shared.add(body);
                }
            }
        });
        Ok(Self { address, received })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/pager", self.address)
    }

    /// The types of the events, once one of that `last` type has arrived.
    pub(super) fn types_until(&self, last: &str) -> Result<Vec<String>, String> {
        let types = |bodies: &[String]| bodies.iter().filter_map(|body| event_type(body)).collect::<Vec<_>>();
        let bodies = self.received.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |bodies: &mut Vec<String>| !types(bodies).iter().any(|one| one.ends_with(last));
        let waited = self.received.more.wait_timeout_while(bodies, LIMIT, is_missing);
        let (bodies, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = types(&bodies);
        if timed_out.timed_out() {
            return Err(format!("no event {last} arrived; there are {found:?}"));
        }
        Ok(found)
    }
}

// === impl Received ===

impl Received {
    fn add(&self, body: String) {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        self.more.notify_all();
    }
}

/// Reads one request and answers it. Returns its body.
fn take(mut stream: TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some((_, value)) = line
            .split_once(':')
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    Ok(body)
}

/// The type of a `CloudEvent`.
fn event_type(body: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(body).ok()?;
    event["type"].as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives_in_its_order() {
        let receiver = Receiver::start().unwrap();
        for kind in ["a.first", "a.second"] {
            let body = format!(r#"{{"type":"{kind}"}}"#);
            let mut stream = TcpStream::connect(receiver.address).unwrap();
            let head = format!("POST /pager HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        }
        assert_eq!(receiver.types_until("second").unwrap(), ["a.first", "a.second"]);
    }
}
