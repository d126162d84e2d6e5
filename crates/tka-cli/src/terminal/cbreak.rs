//! A terminal that gives each key as it is pressed.

use std::io;

use rustix::stdio::stdin;
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// The value of a key that does nothing (`_POSIX_VDISABLE`).
#[cfg(any(target_os = "linux", target_os = "android"))]
const DISABLED: u8 = 0;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const DISABLED: u8 = 0xff;

/// How the terminal was, and how it is while keys are read.
#[derive(Clone, Debug)]
pub(crate) struct Cbreak {
    before: Termios,
    now: Termios,
}

// === impl Cbreak ===

impl Cbreak {
    /// Changes the terminal of standard input: keys come at once and are not shown. Ctrl-C still is a signal; Ctrl-Z and Ctrl-S do nothing,
    /// since they would leave the picture half drawn.
    pub(crate) fn begin() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        now.input_modes.remove(InputModes::IXON);
        now.special_codes[SpecialCodeIndex::VMIN] = 1;
        now.special_codes[SpecialCodeIndex::VTIME] = 0;
        now.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        let cbreak = Self { before, now };
        cbreak.apply()?;
        Ok(cbreak)
    }

    /// Changes the terminal again, after another program had it.
    pub(crate) fn apply(&self) -> io::Result<()> {
        Ok(tcsetattr(stdin(), OptionalActions::Now, &self.now)?)
    }

    /// Brings the terminal back. What was typed and not read is thrown away, so that no shell takes it for a command.
    pub(crate) fn end(&self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}
