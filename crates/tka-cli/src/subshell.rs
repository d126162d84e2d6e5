//! A shell that has access while it runs.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::app::{App, variable};
use crate::error::Error;
use crate::flow::{self, SignedOut};
use crate::view;

/// Runs the user's shell with KUBECONFIG set, signs out when it ends, and passes its status on.
pub(crate) fn run(app: &App) -> Result<ExitCode, Error> {
    let shell = variable("SHELL")
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| "/bin/sh".to_owned());
    let status = run_shell(app, &shell).map_err(|source| Error::Shell { shell, source });
    let signed_out = flow::sign_out(app);
    let status = status?;
    if let SignedOut::User(user) = signed_out? {
        app.ui.tell(&view::done(&format!("signed out {user}"), &app.ui.palette));
    }
    Ok(exit_code(status))
}

fn run_shell(app: &App, shell: &str) -> io::Result<ExitStatus> {
    // Before the shell starts: a signal from now on must not end us before we signed out.
    let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let handle = signals.handle();
    let mut command = Command::new(shell);
    command.env("KUBECONFIG", app.store.path());
    if is_captured(app) {
        command.stdout(Stdio::from(io::stderr()));
    }
    let mut child = command.spawn()?;
    let forwarder = forward(signals, &child);
    let status = child.wait();
    handle.close();
    let _ = forwarder.join();
    status
}

/// Whether standard output goes to `eval`, as the original's shell function has it, and a person sits before the terminal.
fn is_captured(app: &App) -> bool {
    app.config.quiet && !io::stdout().is_terminal() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Passes on what asks us to end. The terminal's own signals (Ctrl-C, Ctrl-\) reach the shell without us, and its size too.
fn forward(mut signals: Signals, child: &Child) -> thread::JoinHandle<()> {
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    thread::spawn(move || {
        for signal in signals.forever() {
            if let (SIGHUP | SIGTERM, Some(child)) = (signal, child) {
                // An interactive shell ignores SIGTERM; SIGHUP ends it.
                let _ = kill_process(child, Signal::HUP);
            }
        }
    })
}

/// The shell's status as shells report it: 128 and the signal's number when a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
