//! The default server of commands, which two settings hold.

use std::path::Path;

use super::edit::Change;
use super::{Config, ConfigError};
use crate::config::flags::Global;
use crate::net::server::{HTTPS_PORT, Server};

const HOSTNAME: &str = "tailscale.hostname";
const PORT: &str = "tailscale.port";

/// The changes that make `server` the default in the file at `path`: the host, and the port if it differs.
pub(crate) fn changes(path: &Path, server: &Server) -> Result<Vec<Change>, ConfigError> {
    let port = server.port();
    let is_plain = |host: &str| Server::new(host, port, None).is_ok_and(|read| read == *server);
    let host = Some(server.host()).filter(|host| is_plain(host));
    let host = host.map_or_else(|| server.to_string(), ToOwned::to_owned);
    let mut changes = vec![Change::new(HOSTNAME, &host)?];
    if port_in(path)? != port {
        changes.push(Change::new(PORT, &port.to_string())?);
    }
    Ok(changes)
}

/// The changes for a server as a user types it. A name alone leaves the port, and the tailnet completes it.
pub(crate) fn typed_changes(path: &Path, typed: &str) -> Result<Vec<Change>, ConfigError> {
    // A URL without a port means its scheme's.
    let port = if typed.contains("://") {
        HTTPS_PORT
    } else {
        port_in(path)?
    };
    let server = Server::new(typed, port, None)?;
    if server.host().eq_ignore_ascii_case(typed) {
        return Ok(vec![Change::new(HOSTNAME, typed)?]);
    }
    changes(path, &server)
}

/// The port in the file at `path`, or the default one.
fn port_in(path: &Path) -> Result<u16, ConfigError> {
    if !path.exists() {
        return Ok(HTTPS_PORT);
    }
    let alone = Global {
        config: Some(path.to_owned()),
        ..Global::default()
    };
    Ok(Config::load(&alone, None, &|_| None)?.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::edit;

    /// What the file says after each of `typed`, one after the other.
    fn after(typed: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        for typed in typed {
            edit::apply(&path, &typed_changes(&path, typed).unwrap()).unwrap();
        }
        let alone = Global {
            config: Some(path.clone()),
            ..Global::default()
        };
        Config::load(&alone, None, &|_| None)
            .unwrap()
            .server()
            .unwrap()
            .to_string()
    }

    #[test]
    fn server_is_the_one_that_was_typed() {
        for (typed, server) in [
            (&["west"][..], "https://west"),
            (&["west:8080"], "http://west:8080"),
            (&["west.example.ts.net:8080", "east"], "http://east:8080"),
            (
                &["west:8080", "https://east.example.ts.net"],
                "https://east.example.ts.net",
            ),
            (&["http://west"], "http://west"),
            (&["100.64.0.1:81"], "http://100.64.0.1:81"),
            (&["https://west:8443/tka/"], "https://west:8443/tka"),
        ] {
            assert_eq!(after(typed), server, "{typed:?}");
        }
        for wrong in ["", "a b", "ftp://x", "http://u:p@h"] {
            assert!(typed_changes(Path::new("/nowhere"), wrong).is_err(), "{wrong}");
        }
    }
}
