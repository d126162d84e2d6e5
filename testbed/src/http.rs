//! As much HTTP as it takes to see whether something answers, and to read tailscaled's LocalAPI.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::wait::Look;

const LIMIT: Duration = Duration::from_secs(5);

/// An answer to a GET.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// GETs `target` from a TCP port. Behind a proxy, `target` is a whole URL.
pub(crate) fn get(address: SocketAddr, host: &str, target: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    exchange(stream, host, target)
}

/// GETs `target` from a unix socket.
pub(crate) fn get_unix(socket: &Path, host: &str, target: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    exchange(stream, host, target)
}

/// Whether `target` answers 200.
pub(crate) fn look(address: SocketAddr, target: &str) -> Look<()> {
    match get(address, &address.to_string(), target) {
        Ok(Answer { status: 200, .. }) => Look::Done(()),
        Ok(Answer { status, body }) => Look::NotYet(format!("http://{address}{target} answers {status} {body}")),
        Err(error) => Look::NotYet(format!("http://{address}{target}: {error}")),
    }
}

fn exchange(mut stream: impl Read + Write, host: &str, target: &str) -> io::Result<Answer> {
    // HTTP/1.0: the answer is not chunked and ends when the connection does.
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    parse(&text).ok_or_else(|| io::Error::other(format!("not an HTTP answer: {:?}", text.get(..80).unwrap_or(&text))))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nnot\r\n\r\nyet").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "not\r\n\r\nyet"));
        assert!(parse("SSH-2.0-x\r\n\r\n").is_none());
        assert!(parse("").is_none());
    }
}
