//! `tka-server ready`: asks the server that runs with the same configuration whether it is ready, as a probe of the kubelet. The image has no
//! shell, and what a probe by command says is told as an Event on the pod
//! (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes>).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

use crate::config::Health;

/// How long the answer may take: less than what a probe is given.
const TIMEOUT: Duration = Duration::from_secs(4);
/// More than any answer has, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Why the server is not ready.
#[derive(Debug, Error)]
pub enum NotReady {
    /// The health listener does not answer.
    #[error("no server answers on {address}: it has not started, or health.address and health.port are others")]
    NoAnswer {
        /// Where it was asked.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server says so.
    #[error("{0}")]
    Failed(String),
}

/// What the health listener at `health` says when all is well.
pub fn ask(health: &Health) -> Result<String, NotReady> {
    let address = SocketAddr::new(reachable(health.address), health.port);
    let answer = get(address).map_err(|source| NotReady::NoAnswer { address, source })?;
    judge(&answer)
}

/// A listener on all addresses is on loopback too.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// The answer, with its head. A server ends the connection after one of HTTP/1.0
/// (<https://www.rfc-editor.org/rfc/rfc1945#section-1.3>).
fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Ready is 200. Of all else the checks that failed or warn are said, or the first line where there are none.
fn judge(answer: &str) -> Result<String, NotReady> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    if head.split_whitespace().nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    let is_wrong = |line: &&str| line.starts_with("[-]") || line.starts_with("[!]");
    let failed: Vec<_> = body.lines().filter(is_wrong).collect();
    let said = if failed.is_empty() {
        head.lines().next().unwrap_or_default().to_owned()
    } else {
        failed.join("\n")
    };
    Err(NotReady::Failed(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn server(answer: &'static str) -> Health {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 64];
            let length = stream.read(&mut asked).unwrap();
            assert!(asked[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        Health {
            address: Ipv4Addr::UNSPECIFIED.into(),
            port,
        }
    }

    #[test]
    fn ready_is_what_the_server_says() {
        let health = server("HTTP/1.0 200 OK\r\na: b\r\n\r\n[+]tailnet ok\n[+]audit ok\n");
        assert_eq!(ask(&health).unwrap(), "[+]tailnet ok\n[+]audit ok\n");
    }

    #[test]
    fn what_failed_is_said_and_nothing_else() {
        let health =
            server("HTTP/1.0 503 Service Unavailable\r\n\r\n[-]tailnet failed: no\n[+]audit ok\n[!]roles: none\n");
        assert_eq!(
            ask(&health).unwrap_err().to_string(),
            "[-]tailnet failed: no\n[!]roles: none"
        );
    }

    #[test]
    fn another_program_on_the_port_is_not_ready() {
        let error = ask(&server("HTTP/1.0 404 Not Found\r\n\r\n")).unwrap_err();
        assert_eq!(error.to_string(), "HTTP/1.0 404 Not Found");
        assert!(ask(&server("")).is_err() && ask(&server("200")).is_err());
    }

    #[test]
    fn server_that_has_not_started_is_named_by_its_address() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let health = Health {
            address: address.ip(),
            port: address.port(),
        };
        let error = ask(&health).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
