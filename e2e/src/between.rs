//! Something between a server and its tailscaled, for what no real one can be brought to do when a test wants it. It is silent about a
//! change, or says that a device belongs to another user.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tempfile::TempDir;

use crate::Outcome;

/// What asks for the bus.
const BUS: &[u8] = b"watch-ipn-bus";

/// A socket that leads to a tailscaled, for a server's `tailscale.socket`.
#[derive(Debug)]
pub struct Between {
    folder: TempDir,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    silent: AtomicBool,
    replaced: OnceLock<(Vec<u8>, Vec<u8>)>,
}

// === impl Between ===

impl Between {
    /// Stands before the tailscaled whose socket is `upstream`, and changes nothing yet.
    pub fn before(upstream: &Path) -> Outcome<Self> {
        // Short, because the paths of sockets are.
        let folder = tempfile::Builder::new().prefix("tka-ts-").tempdir()?;
        let between = Self {
            folder,
            faults: Arc::default(),
        };
        let listener = UnixListener::bind(between.socket())?;
        let (upstream, faults) = (upstream.to_owned(), Arc::clone(&between.faults));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Without a server the client sees its connection end.
                let _ = relay(client, &upstream, &faults);
            }
        });
        Ok(between)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// From now on nothing is told over the bus.
    pub fn silence(&self) {
        self.faults.silent.store(true, Ordering::SeqCst);
    }

    /// From now on `to` stands for `from` in every answer, once and for all. They must be of one length, because answers say how
    /// long they are.
    pub fn replace(&self, from: &str, to: &str) -> Outcome {
        if from.len() != to.len() {
            return Err(format!("{from:?} and {to:?} are not of one length").into());
        }
        let replaced = (from.as_bytes().to_owned(), to.as_bytes().to_owned());
        let set = self.faults.replaced.set(replaced);
        set.map_err(|_| "something was replaced before".into())
    }
}

fn relay(client: UnixStream, upstream: &Path, faults: &Arc<Faults>) -> std::io::Result<()> {
    let server = UnixStream::connect(upstream)?;
    let is_bus = Arc::new(AtomicBool::new(false));
    let (asks, answers) = ((client.try_clone()?, server.try_clone()?), (server, client));
    let (heard, faults) = (Arc::clone(&is_bus), Arc::clone(faults));
    thread::spawn(move || {
        copy(asks, |bytes| {
            if find(bytes, BUS).is_some() {
                heard.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    thread::spawn(move || {
        copy(answers, |bytes| {
            if let Some((from, to)) = faults.replaced.get() {
                while let Some(at) = find(bytes, from) {
                    bytes[at..at + to.len()].copy_from_slice(to);
                }
            }
            !(is_bus.load(Ordering::SeqCst) && faults.silent.load(Ordering::SeqCst))
        });
    });
    Ok(())
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Copies what `passes`, perhaps changed by that, until either end is gone.
fn copy((mut from, mut to): (UnixStream, UnixStream), passes: impl Fn(&mut [u8]) -> bool) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &mut buffer[..read];
        if passes(bytes) && to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
