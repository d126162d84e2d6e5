//! A server that stands still, as if its machine or the network to it hung.

use rustix::process::{Pid, Signal, kill_process};
use testbed::Server;

use crate::Outcome;

/// A server that stands still for as long as this lives.
#[derive(Debug)]
pub struct Paused(Pid);

// === impl Paused ===

impl Paused {
    /// Stops the server's process where it is.
    pub fn server(server: &Server) -> Outcome<Self> {
        let pid = server.pid()?.and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).ok_or("the server does not run")?;
        kill_process(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = kill_process(self.0, Signal::CONT);
    }
}
