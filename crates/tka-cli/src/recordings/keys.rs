//! What a person presses while a recording is played, as a terminal sends it.

use super::plan::Key;

/// Reads keys that come byte by byte.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After `ESC [` or `ESC O`.
    Sequence,
}

// === impl Keys ===

impl Keys {
    /// The key that `byte` completes; none where it completes none that is known.
    pub(crate) fn read(&mut self, byte: u8) -> Option<Key> {
        let state = std::mem::take(&mut self.state);
        match (state, byte) {
            (_, 0x1b) => {
                self.state = State::Escape;
                None
            }
            (State::Sequence, b'C') => Some(Key::Forward),
            (State::Sequence, b'D') => Some(Key::Back),
            (State::Escape, b'[' | b'O') | (State::Sequence, b' '..=b'?') => {
                self.state = State::Sequence;
                None
            }
            // The end of a sequence for another key is no key.
            (State::Sequence, _) => None,
            (State::Ground | State::Escape, byte) => key(byte),
        }
    }
}

fn key(byte: u8) -> Option<Key> {
    match byte {
        b' ' => Some(Key::Pause),
        b'.' => Some(Key::Step),
        b'+' | b'=' => Some(Key::Faster),
        b'-' | b'_' => Some(Key::Slower),
        // Ctrl-C too, where it comes as a byte.
        b'q' | b'Q' | 0x03 => Some(Key::Leave),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &str) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.bytes().filter_map(|byte| keys.read(byte)).collect()
    }

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(
            keys(" .+-="),
            [Key::Pause, Key::Step, Key::Faster, Key::Slower, Key::Faster]
        );
        assert_eq!(
            keys("\x1b[C\x1b[D\x1bOC\x1bOD"),
            [Key::Forward, Key::Back, Key::Forward, Key::Back]
        );
        assert_eq!(keys("q"), [Key::Leave]);
        assert_eq!(keys("\x03"), [Key::Leave]);
        // With Ctrl held, and after an escape that began nothing.
        assert_eq!(keys("\x1b[1;5C\x1b "), [Key::Forward, Key::Pause]);
    }

    #[test]
    fn other_keys_and_answers_of_a_terminal_press_nothing() {
        assert_eq!(keys("\x1b[A\x1b[5~\x1b[24;80Rx\x1bOP\u{fc}"), []);
    }
}
