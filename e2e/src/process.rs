//! A server's process that the test itself starts, so that it learns how it ends, and may say what is logged.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Clock, Outcome, Site, wait};

/// The process that serves a site in place of the testbed's. It ends with this.
#[derive(Debug)]
pub struct Process(Child);

// === impl Process ===

impl Process {
    /// Ends the testbed's process, starts one with the same configuration and returns when it is ready.
    pub fn instead(site: &Site<'_>, log_filter: &str) -> Outcome<Self> {
        Self::start(site, &[("RUST_LOG", log_filter)])
    }

    /// The same, with other settings: variables of its environment.
    pub fn with_settings(site: &Site<'_>, settings: &[(&str, &str)]) -> Outcome<Self> {
        Self::start(site, settings)
    }

    /// The same, with a time of day of its own.
    pub fn with_clock(site: &Site<'_>, clock: &Clock) -> Outcome<Self> {
        Self::start(site, &clock.environment())
    }

    /// The same, and returns when it lives: it is not to become ready.
    pub fn not_ready(site: &Site<'_>) -> Outcome<Self> {
        let process = Self::spawn(site, &[] as &[(&str, &str)])?;
        wait_answers(site, "/livez")?;
        Ok(process)
    }

    fn start(site: &Site<'_>, environment: &[(&str, impl AsRef<OsStr>)]) -> Outcome<Self> {
        let process = Self::spawn(site, environment)?;
        wait_answers(site, "/readyz")?;
        Ok(process)
    }

    fn spawn(site: &Site<'_>, environment: &[(&str, impl AsRef<OsStr>)]) -> Outcome<Self> {
        let server = &site.server;
        server.stop()?;
        let log = OpenOptions::new().append(true).open(server.log())?;
        let mut command = Command::new(site.world.testbed.bin().join("tka-server"));
        command.arg("serve").arg("--config").arg(server.config_file());
        command
            .env_clear()
            .env("KUBECONFIG", server.kubeconfig())
            .envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self(child))
    }

    /// Asks it to end, as the kubelet does.
    pub fn terminate(&self) -> Outcome {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("a process without an ID")?, Signal::TERM)?)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Outcome<ExitStatus> {
        wait::until("the server's process has ended", || Ok(self.0.try_wait()?))
    }
}

fn wait_answers(site: &Site<'_>, path: &str) -> Outcome {
    let health = site.health()?;
    wait::until_true(&format!("the server answers 200 at {path}"), || {
        Ok(health
            .send_body("GET", path, &[], &[])
            .is_ok_and(|answer| answer.status == 200))
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, and then nothing is to be done.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
