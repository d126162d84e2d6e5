//! A tailscaled that says of itself what a test wants, over a socket of its own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// The fake. Its thread ends when it is dropped.
pub(crate) struct Tailscaled {
    folder: tempfile::TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Tailscaled {
    /// One that answers with `status`, as often as it is asked.
    pub(crate) fn new(status: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let body = status.to_string();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let lines: Vec<_> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                if lines.is_empty() {
                    return;
                }
                assert_eq!(lines[0], "GET /localapi/v0/status HTTP/1.0");
                (&stream)
                    .write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes())
                    .unwrap();
            }
        });
        Self {
            folder,
            thread: Some(thread),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }
}

impl Drop for Tailscaled {
    fn drop(&mut self) {
        // An empty connection wakes the thread up to its end.
        drop(UnixStream::connect(self.socket()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The status of a laptop on a tailnet with a server at loopback.
pub(crate) fn on_tailnet() -> Value {
    json!({
        "BackendState": "Running",
        "Self": {"DNSName": "laptop.example.ts.net.", "TailscaleIPs": ["100.64.0.1"], "Online": true},
        "Peer": {
            "nodekey:1": {
                "DNSName": "tka.example.ts.net.", "TailscaleIPs": ["127.0.0.1"], "Tags": ["tag:tka"], "Online": true
            },
            "nodekey:2": {"DNSName": "phone.example.ts.net.", "TailscaleIPs": ["100.64.0.3"], "Tags": null}
        }
    })
}
