//! Signals during an ephemeral session. None may end the process before the session has ended.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io, process};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGURG, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::raise;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::sys::signals;
use crate::terminal::ui;

/// Signals that ask a program to end. An alarm may have been set for this process and its children.
const TERMINATING: [i32; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM];
/// Signals that inform the running program.
const INFORMATIONAL: [i32; 3] = [SIGUSR1, SIGUSR2, SIGWINCH];

/// This process sends it to itself, to learn that it has received all earlier signals. Only programs with sockets use it otherwise.
const MARKER: i32 = SIGURG;
/// How long a marker may take at the most.
const MARKER_LIMIT: Duration = Duration::from_secs(5);

/// Receives signals for the program or this process, until it is dropped.
#[derive(Debug)]
pub(super) struct SignalGuard {
    shared: Arc<Shared>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when a marker was received.
    marked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// How many markers were received.
    markers: u32,
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
        let received = signals::not_ignored(TERMINATING.into_iter().chain(INFORMATIONAL));
        let mut signals = SignalsInfo::<WithOrigin>::new(received.chain([MARKER]))?;
        let shared = Arc::new(Shared::default());
        let handle = signals.handle();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for origin in signals.forever() {
                    shared.lock().receive(&origin);
                    if origin.signal == MARKER {
                        shared.marked.notify_all();
                    }
                }
            }
        });
        Ok(Self {
            shared,
            handle,
            thread: Some(thread),
        })
    }

    /// Removes `folder` if a signal ends this process.
    pub(super) fn remove_on_exit(&self, folder: &Path) {
        self.shared.lock().folder = Some(folder.to_owned());
    }

    /// Begins a session, which a first signal must not interrupt. A second one does, since the user must not wait for ever. If `begin`
    /// fails, nothing is left, and a pending signal ends this process.
    pub(super) fn begin<T, E>(&self, begin: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.shared.lock().phase = Phase::Busy;
        begin().inspect_err(|_| self.shared.lock().release())
    }

    /// A program is about to run.
    pub(super) fn starting(&self) {
        self.shared.lock().phase = Phase::Starting(None);
    }

    /// No program runs any more. Signals that the terminal sent to the program and to this process are received first. On a busy machine they
    /// would otherwise interrupt the end of the session.
    pub(super) fn stopped(&self) {
        // Signals are received in the order of their numbers. One that came before the first marker is received before the second.
        for _ in 0..2 {
            self.receive_pending();
        }
        self.shared.lock().phase = Phase::Busy;
    }

    fn receive_pending(&self) {
        let state = self.shared.lock();
        let before = state.markers;
        // Its handler only counts it.
        if raise(MARKER).is_err() {
            return;
        }
        let is_pending = |state: &mut State| state.markers == before;
        let waited = self.shared.marked.wait_timeout_while(state, MARKER_LIMIT, is_pending);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Forwards signals to `child` from now on. The terminal sends Ctrl-C, Ctrl-\ and changes of its size to the child itself.
    pub(super) fn running(&self, child: Pid, hangup_ends_it: bool) {
        self.shared.lock().run(child, hangup_ends_it);
    }

    /// The signal that came before a program ran.
    pub(super) fn interruption(&self) -> Option<i32> {
        self.shared.lock().interruption
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

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        if signal == MARKER {
            self.markers = self.markers.wrapping_add(1);
            return;
        }
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
