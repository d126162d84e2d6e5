//! Signals during an ephemeral session. None may end the process before the session has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::sys::signals;
use crate::terminal::ui;

/// Signals that ask a program to end. An alarm may have been set for this process and its children.
const TERMINATING: [i32; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM];
/// Signals that inform the running program.
const INFORMATIONAL: [i32; 3] = [SIGUSR1, SIGUSR2, SIGWINCH];

/// Receives signals for the program or this process, until it is dropped.
#[derive(Debug)]
pub(super) struct SignalGuard {
    state: Arc<Mutex<State>>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// The first signal while there may be a session.
    interruption: Option<i32>,
    /// The folder to remove.
    folder: Option<PathBuf>,
}

/// The phase decides what a signal does.
#[derive(Debug, Default)]
enum Phase {
    /// There is no session: a signal ends the process.
    #[default]
    Free,
    /// There may be a session.
    Busy,
    /// A program starts. A pending signal is forwarded to it.
    Starting(Option<i32>),
    /// A program runs.
    Running { child: Pid, hangup_ends_it: bool },
}

// === impl SignalGuard ===

impl SignalGuard {
    pub(super) fn new() -> io::Result<Self> {
        signals::disable_holds();
        // Ignored signals stay ignored for the program too.
        let mut signals =
            SignalsInfo::<WithOrigin>::new(signals::not_ignored(TERMINATING.into_iter().chain(INFORMATIONAL)))?;
        let state = Arc::new(Mutex::new(State::default()));
        let handle = signals.handle();
        let thread = thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for origin in signals.forever() {
                    lock(&state).receive(&origin);
                }
            }
        });
        Ok(Self {
            state,
            handle,
            thread: Some(thread),
        })
    }

    /// Removes `folder` if a signal ends this process.
    pub(super) fn remove_on_exit(&self, folder: &Path) {
        lock(&self.state).folder = Some(folder.to_owned());
    }

    /// Begins a session, which a first signal must not interrupt. A second one does, since the user must not wait for ever. If `begin`
    /// fails, nothing is left, and a pending signal ends this process.
    pub(super) fn begin<T, E>(&self, begin: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        lock(&self.state).phase = Phase::Busy;
        begin().inspect_err(|_| lock(&self.state).release())
    }

    /// A program is about to run.
    pub(super) fn starting(&self) {
        lock(&self.state).phase = Phase::Starting(None);
    }

    /// No program runs any more.
    pub(super) fn stopped(&self) {
        lock(&self.state).phase = Phase::Busy;
    }

    /// Forwards signals to `child` from now on. The terminal sends Ctrl-C, Ctrl-\ and changes of its size to the child itself.
    pub(super) fn running(&self, child: Pid, hangup_ends_it: bool) {
        lock(&self.state).run(child, hangup_ends_it);
    }

    /// The signal that came before a program ran.
    pub(super) fn interruption(&self) -> Option<i32> {
        lock(&self.state).interruption
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl State ===

impl State {
    fn run(&mut self, child: Pid, hangup_ends_it: bool) {
        let running = Phase::Running { child, hangup_ends_it };
        if let Phase::Starting(Some(signal)) = std::mem::replace(&mut self.phase, running) {
            forward(signal, child, hangup_ends_it);
        }
    }

    fn release(&mut self) {
        self.phase = Phase::Free;
        if let Some(signal) = self.interruption {
            self.exit_now(signal);
        }
    }

    fn receive(&mut self, origin: &Origin) {
        let signal = origin.signal;
        match &mut self.phase {
            Phase::Starting(pending) if is_forwarded(origin) => *pending = Some(signal),
            Phase::Running { child, hangup_ends_it } if is_forwarded(origin) => {
                forward(signal, *child, *hangup_ends_it);
            }
            Phase::Starting(_) | Phase::Running { .. } => {}
            // There is no program to inform.
            Phase::Busy | Phase::Free if INFORMATIONAL.contains(&signal) => {}
            Phase::Busy if self.interruption.is_none() => {
                self.interruption = Some(signal);
                ui::write_stderr("exiting when the session has ended; send the signal again to exit now\n");
            }
            Phase::Busy | Phase::Free => self.exit_now(signal),
        }
    }

    fn exit_now(&self, signal: i32) -> ! {
        let _free = signals::wait_for_holds();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
        process::exit(128 + signal)
    }
}

fn forward(signal: i32, child: Pid, hangup_ends_it: bool) {
    let forwarded = match signal {
        // An interactive shell ignores SIGTERM; SIGHUP ends it.
        SIGTERM if hangup_ends_it => Some(Signal::HUP),
        signal => Signal::from_named_raw(signal),
    };
    let _ = forwarded.map(|forwarded| kill_process(child, forwarded));
    if TERMINATING.contains(&signal) {
        // A stopped program would not receive it.
        let _ = kill_process(child, Signal::CONT);
    }
}

/// Whether the signal was sent to this process alone. A terminal sends signals to its whole foreground group.
fn is_forwarded(origin: &Origin) -> bool {
    !matches!(origin.signal, SIGINT | SIGQUIT | SIGWINCH) || matches!(origin.cause, Cause::Sent(_))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
