//! A user who is signed in at a server that is gone: the measured commands must not ask it.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The name of the session.
pub(super) const SESSION: &str = "tka-bench-mfrggzdfmztwq2lknnwg23tpobyxe43u";
/// When it ends: long after any measurement.
const END: &str = "2999-01-02T15:04:05Z";

/// A certificate authority, in base64.
const CA: &str = include_str!("../../../crates/tka-core/src/testdata/ca.b64");

/// A home folder after `tka login`.
#[derive(Debug)]
pub(super) struct Home {
    folder: TempDir,
    /// In memory, where credentials are kept.
    runtime: TempDir,
    /// The server's URL.
    pub(super) server: String,
    kubeconfig: PathBuf,
    /// The files in the folder that credentials are kept in, as signing in left them.
    kept: Vec<(PathBuf, Vec<u8>)>,
}

// === impl Home ===

impl Home {
    /// Signs in with `tka`, at a server of its own that answers once.
    pub(super) fn signed_in(tka: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = format!("http://{address}");
        let answering = thread::spawn(move || answer(&listener.accept()?.0));
        let mut home = Self {
            folder: tempfile::tempdir()?,
            runtime: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?,
            server,
            kubeconfig: PathBuf::new(),
            kept: vec![],
        };
        let output = home
            .command(tka, &["login", "--no-eval", "--server", &home.server])
            .output()?;
        // It may have said no before it came here.
        drop(TcpStream::connect(address));
        let answered = answering
            .join()
            .map_err(|_| io::Error::other("the server broke down"))?;
        answered.and_then(|()| failed_with(output.status.success(), String::from_utf8_lossy(&output.stderr)))?;
        home.kubeconfig = String::from_utf8_lossy(&output.stdout).trim().into();
        for path in home.cache()? {
            home.kept.push((path.clone(), fs::read(&path)?));
        }
        Ok(home)
    }

    /// Puts the cache back to what it was after signing in: a credential that was handed out a moment ago may be asked for anew.
    pub(super) fn renew(&self) -> io::Result<()> {
        for path in self.cache()? {
            match self.kept.iter().find(|(kept, _)| *kept == path) {
                Some((_, bytes)) => fs::write(path, bytes)?,
                None => fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    fn cache(&self) -> io::Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.runtime.path().join("tka"))?;
        files.map(|file| Ok(file?.path())).collect()
    }

    /// `program` with nothing of this machine's environment but this home.
    pub(super) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
            .env("HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.runtime.path());
        command.env("KUBECONFIG", &self.kubeconfig).env("PATH", "/usr/bin:/bin");
        command
    }
}

fn failed_with(ok: bool, said: impl fmt::Display) -> io::Result<()> {
    if ok {
        Ok(())
    } else {
        Err(io::Error::other(format!("tka login failed: {said}")))
    }
}

/// Answers one sign-in.
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let body = signed_in().to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What a server says of a sign-in (docs/openapi.json), with a token of the length that tokens have.
fn signed_in() -> Value {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(45);
    let token = format!("bench-{}", "x".repeat(1000));
    json!({
        "username": "bench@example.com", "role": "view", "until": END,
        "session": {"name": SESSION},
        "credential": {
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": expires.to_string()}
        },
        "kubeconfig": {
            "kind": "Config", "apiVersion": "v1",
            "clusters": {"tka-cluster": {"server": "https://k8s.example.com:6443", "certificate-authority-data": CA}},
            "users": {"tka-user-bench": {"token": token}},
            "contexts": {"tka-context-bench": {"cluster": "tka-cluster", "user": "tka-user-bench"}},
            "current-context": "tka-context-bench"
        }
    })
}
