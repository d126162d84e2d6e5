//! The output of a command within a time limit.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::sys::search_path;

/// The output of `program`, found by PATH. After `limit` the program is killed.
///
/// Relative folders of PATH are skipped: they are below the working directory, which may belong to another user.
pub(crate) fn within(program: &str, arguments: &[&str], limit: Duration) -> io::Result<Vec<u8>> {
    let path = search_path::find(program).ok_or(io::ErrorKind::NotFound)?;
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut out) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = sender.send(out.read_to_end(&mut text).map(|_| text));
        });
    }
    let text = receiver.recv_timeout(limit);
    child.kill()?;
    child.wait()?;
    text.map_err(|_| io::ErrorKind::TimedOut)?
}
