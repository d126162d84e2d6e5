//! A server with scripted answers, on one thread and a free port of loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;

/// What the fake server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Answers with a status, header lines and a body.
    Http {
        status: u16,
        headers: Vec<String>,
        body: String,
    },
    /// Announces more than it sends.
    Truncated,
    /// Says nothing until the caller gives up.
    Silence,
    /// Waits at this barrier when the request has arrived, and again before the response.
    Meeting(Arc<Barrier>, Box<Answer>),
    /// Answers with 200 and what follows from the requests so far.
    From(fn(&[Request]) -> serde_json::Value),
}

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Method and path, or for a proxy the method and target of `CONNECT`.
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// The fake. Its thread ends when it is dropped.
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    left: Arc<Mutex<Vec<(String, Answer)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Http {
            status,
            headers: vec!["Content-Type: application/json".into()],
            body: body.to_string(),
        }
    }

    /// Too many requests, or a cluster that cannot be asked just now.
    pub(crate) fn busy(status: u16, seconds: u32) -> Self {
        Self::Http {
            status,
            headers: vec![format!("Retry-After: {seconds}")],
            body: r#"{"message": "too many requests"}"#.into(),
        }
    }

    pub(crate) fn html(status: u16) -> Self {
        let headers = vec!["Content-Type: text/html; charset=utf-8".into()];
        Self::Http {
            status,
            headers,
            body: "<!doctype html><title>Welcome to the hotel</title>".into(),
        }
    }

    /// Not provisioned yet, as the original says it: no body.
    pub(crate) fn not_yet() -> Self {
        Self::Http {
            status: 202,
            headers: vec!["Retry-After: 1".into()],
            body: String::new(),
        }
    }
}

impl Request {
    /// Method and path, without what is asked about it.
    fn path(&self) -> &str {
        self.line.split('?').next().unwrap_or_default()
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line.eq_ignore_ascii_case(header))
    }
}

impl FakeServer {
    /// A server that expects these requests (`POST /login`, below the API's prefix) in this order.
    pub(crate) fn new(script: &[(&str, Answer)]) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), script)
    }

    /// The same, at another address of this machine.
    pub(crate) fn at(address: IpAddr, script: &[(&str, Answer)]) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let left: Vec<_> = script
            .iter()
            .rev()
            .map(|(line, answer)| ((*line).to_owned(), answer.clone()))
            .collect();
        let left = Arc::new(Mutex::new(left));
        let thread = std::thread::spawn({
            let (seen, left) = (Arc::clone(&seen), Arc::clone(&left));
            move || serve(&listener, &seen, &left)
        });
        Self {
            address,
            seen,
            left,
            thread: Some(thread),
        }
    }

    /// What arrived; fails when the script is not at its end.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let left = self.left.lock().unwrap();
        assert!(left.is_empty(), "never asked for: {left:?}");
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        // An empty connection wakes the thread up to its end.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, seen: &Mutex<Vec<Request>>, left: &Mutex<Vec<(String, Answer)>>) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let Some(request) = read(&stream) else { return };
        seen.lock().unwrap().push(request.clone());
        let request = if request.line.starts_with("CONNECT ") && !expects_connect(left) {
            (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let inner = read(&stream).unwrap_or_default();
            seen.lock().unwrap().push(inner.clone());
            inner
        } else {
            request
        };
        let next = left.lock().unwrap().pop();
        let answer = match next {
            // The original's server does not look at the query.
            Some((line, answer)) if line == request.path().replace("/api/v1alpha1", "") => answer,
            other => Answer::Http {
                status: 599,
                headers: vec![],
                body: format!("{request:?} instead of {other:?}"),
            },
        };
        write(stream, &followed(answer, &seen.lock().unwrap().clone()));
    }
}

fn followed(answer: Answer, seen: &[Request]) -> Answer {
    match answer {
        Answer::From(follow) => Answer::json(200, &follow(seen)),
        Answer::Meeting(barrier, answer) => Answer::Meeting(barrier, Box::new(followed(*answer, seen))),
        answer => answer,
    }
}

/// Whether the script itself answers the next `CONNECT`, which otherwise succeeds.
fn expects_connect(left: &Mutex<Vec<(String, Answer)>>) -> bool {
    left.lock()
        .unwrap()
        .last()
        .is_some_and(|(line, _)| line.starts_with("CONNECT "))
}

/// Reads a request's head and its body, if any; none when the connection is closed instead.
fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let line = lines.remove(0);
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        headers: lines,
        body: String::from_utf8(body).unwrap(),
    })
}

fn write(mut stream: TcpStream, answer: &Answer) {
    // The caller may have gone already: that is its business.
    let _ = match answer {
        Answer::Meeting(barrier, answer) => {
            barrier.wait();
            barrier.wait();
            return write(stream, answer);
        }
        Answer::From(_) => unreachable!("was followed before"),
        Answer::Silence => stream.read(&mut [0; 1]).map(drop),
        Answer::Truncated => stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"kind\":\"Conf",
        ),
        Answer::Http { status, headers, body } => {
            let mut lines = vec![
                format!("HTTP/1.1 {status} X"),
                format!("Content-Length: {}", body.len()),
            ];
            lines.push("Connection: close".into());
            lines.extend_from_slice(headers);
            stream.write_all(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes())
        }
    };
}
