//! The text of a recording: its output, without what only a terminal understands.
//!
//! Escape sequences of a pod could write the clipboard, or have the terminal type its answer into the shell. None of them is printed.

/// Takes escape sequences and control characters out of output that comes piece by piece (ECMA-48, 5.4 and 5.6).
#[derive(Debug, Default)]
pub(crate) struct Plain {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Text,
    /// After an escape.
    Escape,
    /// After an escape and an intermediate byte: one more follows.
    Intermediate,
    /// In a control sequence, up to its final byte.
    Control,
    /// In a string (OSC, DCS, SOS, PM, APC), up to its terminator.
    Quoted,
    /// After an escape within one.
    QuotedEscape,
}

// === impl Plain ===

impl Plain {
    /// What of `output` is text.
    pub(crate) fn text(&mut self, output: &str) -> String {
        output.chars().filter(|c| self.is_text(*c)).collect()
    }

    fn is_text(&mut self, c: char) -> bool {
        let (next, is_text) = match (self.state, c) {
            (State::Quoted, '\u{7}' | '\u{9c}') | (State::QuotedEscape, '\\') => (State::Text, false),
            (State::Quoted | State::QuotedEscape, '\u{1b}') => (State::QuotedEscape, false),
            (State::Quoted | State::QuotedEscape, _) => (State::Quoted, false),
            (_, '\u{1b}') => (State::Escape, false),
            (_, '\u{9b}') | (State::Escape, '[') => (State::Control, false),
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') | (State::Escape, ']' | 'P' | 'X' | '^' | '_') => {
                (State::Quoted, false)
            }
            (State::Escape | State::Intermediate, ' '..='/') => (State::Intermediate, false),
            (State::Control, '@'..='~') | (State::Escape | State::Intermediate, _) => (State::Text, false),
            (State::Control, _) => (State::Control, false),
            (State::Text, '\n' | '\t') => (State::Text, true),
            (State::Text, c) => (State::Text, !c.is_control()),
        };
        self.state = next;
        is_text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(pieces: &[&str]) -> String {
        let mut plain = Plain::default();
        pieces.iter().map(|piece| plain.text(piece)).collect()
    }

    #[test]
    fn text_is_kept_and_no_sequence_is() {
        for (output, expected) in [
            ("a\r\n\tb\u{7} ü日\n", "a\n\tb ü日\n"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]52;c;cm0gLXJm\u{7}x", "x"),
            ("\u{1b}]52;c;cm0gLXJm\u{1b}\\x", "x"),
            ("\u{1b}P$qm\u{1b}\\x\u{1b}[c\u{1b}[6n", "x"),
            ("\u{9b}6nx\u{9d}52;c;a\u{9c}y", "xy"),
            ("\u{1b}(Bx\u{1b}=y\u{1b}c", "xy"),
            ("\u{1b}]0;never ends", ""),
        ] {
            assert_eq!(plain(&[output]), expected, "{output:?}");
        }
    }

    #[test]
    fn sequence_is_split_anywhere() {
        let output = "a\u{1b}]52;c;cm0\u{1b}\\b\u{1b}[31mc";
        for (at, _) in output.char_indices() {
            assert_eq!(plain(&[&output[..at], &output[at..]]), "abc", "{at}");
        }
    }
}
