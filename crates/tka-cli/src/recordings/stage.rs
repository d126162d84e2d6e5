//! The terminal that a recording is played on, and how it comes back whatever happens.

use std::io::{self, IsTerminal, Write};

use super::plan::Key;
use super::screen::Screen;
use crate::terminal::output;

/// How many rows a terminal has at the most that does not say it.
const ROWS: u16 = 100;

/// What comes from outside while a recording is played.
#[cfg_attr(not(unix), allow(dead_code, reason = "other systems have no such keys and signals"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PlaybackInput {
    Key(Key),
    /// This process is asked to end.
    Signal(i32),
}

/// Standard output while a recording is played. A terminal is as it was once this is dropped: at the end, after an error, on a panic.
#[derive(Debug)]
pub(super) struct Stage {
    screen: Screen,
    is_terminal: bool,
    #[cfg(unix)]
    _control: Option<unix::Control>,
}

// === impl Stage ===

impl Stage {
    /// Prepares the terminal, if there is one. `hear` gets keys and signals then, and says whether there still is a player.
    pub(super) fn begin(hear: impl Fn(PlaybackInput) -> bool + Clone + Send + 'static) -> io::Result<Self> {
        let is_terminal = io::stdout().is_terminal();
        #[cfg(not(unix))]
        drop(hear);
        let stage = Self {
            screen: Screen::default(),
            is_terminal,
            #[cfg(unix)]
            _control: is_terminal.then(|| unix::Control::begin(hear)).transpose()?,
        };
        if is_terminal {
            let rows = output::stdout_size().map_or(ROWS, |(_, rows)| rows);
            write(&Screen::begin(rows))?;
        }
        Ok(stage)
    }

    /// Shows what a terminal may have of `output`.
    pub(super) fn show(&mut self, output: &str) -> io::Result<()> {
        let shown = self.screen.shown(output);
        write(&shown)
    }

    /// An empty picture, for the recording from its beginning.
    pub(super) fn again(&mut self) -> io::Result<()> {
        let empty = self.screen.again();
        // What was left out is counted anew.
        self.screen = Screen::default();
        write(&empty)
    }

    /// A line of this program's own, within the picture. A pod draws its picture again after a change of size.
    pub(super) fn tell(text: &str) -> io::Result<()> {
        write(&format!("\r\n{text}\r\n"))
    }

    /// Columns and rows, if this is a terminal that says them.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        output::stdout_size().filter(|_| self.is_terminal)
    }

    /// How many sequences were not shown.
    pub(super) fn left_out(&self) -> u64 {
        self.screen.left_out()
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Keys and signals come back to what they were after this, with the field.
        if self.is_terminal {
            let end = self.screen.end();
            let _ = write(&end);
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::io::{self, IsTerminal, Read};
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
    use std::thread;
    use std::time::Duration;

    use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    use super::super::keys::Keys;
    use super::super::screen::Screen;
    use super::PlaybackInput;
    use crate::sys::signals;
    use crate::terminal::cbreak::Cbreak;

    /// Signals that ask this process to end.
    const TERMINATING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    /// How long the player has to bring the terminal back after a signal. It may hang in a write.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Keys and signals, until it is dropped.
    #[derive(Debug)]
    pub(super) struct Control {
        keyboard: Option<Cbreak>,
        /// Its end tells the thread of signals that the terminal is back.
        _player: Sender<()>,
    }

    // === impl Control ===

    impl Control {
        pub(super) fn begin(hear: impl Fn(PlaybackInput) -> bool + Clone + Send + 'static) -> io::Result<Self> {
            let signals = Signals::new(signals::not_ignored(TERMINATING).chain([SIGCONT]))?;
            let keyboard = io::stdin().is_terminal().then(Cbreak::begin).transpose()?;
            let (player, gone) = mpsc::channel();
            thread::spawn({
                let (keyboard, hear) = (keyboard.clone(), hear.clone());
                move || follow(signals, keyboard.as_ref(), &gone, &hear)
            });
            if keyboard.is_some() {
                thread::spawn(move || listen(&hear));
            }
            Ok(Self {
                keyboard,
                _player: player,
            })
        }
    }

    impl Drop for Control {
        fn drop(&mut self) {
            if let Some(keyboard) = &self.keyboard {
                keyboard.end();
            }
        }
    }

    /// Has each signal end the player, and then this process.
    fn follow(
        mut signals: Signals,
        keyboard: Option<&Cbreak>,
        gone: &Receiver<()>,
        hear: &impl Fn(PlaybackInput) -> bool,
    ) {
        for signal in signals.forever() {
            if signal == SIGCONT {
                // The shell has set the terminal to what it wants of it.
                if let Some(keyboard) = keyboard.filter(|_| gone.try_recv() == Err(mpsc::TryRecvError::Empty)) {
                    let _ = keyboard.apply();
                }
                continue;
            }
            if !hear(PlaybackInput::Signal(signal)) {
                let _ = emulate_default_handler(signal);
            } else if gone.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                if let Some(keyboard) = keyboard {
                    keyboard.end();
                }
                // Its output hangs, so this may be lost, and must not hang too.
                thread::spawn(|| {
                    rustix::io::write(rustix::stdio::stdout(), Screen::default().end().as_bytes()).is_ok()
                });
                let _ = emulate_default_handler(signal);
            }
        }
    }

    /// Tells each key. A terminal that is gone presses none.
    fn listen(hear: &impl Fn(PlaybackInput) -> bool) {
        let (mut keys, mut bytes) = (Keys::default(), [0; 64]);
        while let Ok(count @ 1..) = io::stdin().lock().read(&mut bytes) {
            for key in bytes[..count].iter().filter_map(|byte| keys.read(*byte)) {
                if !hear(PlaybackInput::Key(key)) {
                    return;
                }
            }
        }
    }
}
