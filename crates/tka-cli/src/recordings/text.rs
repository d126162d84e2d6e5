//! The text of a recording: its output, without what only a terminal understands.
//!
//! Escape sequences of a pod could write the clipboard, or have the terminal type its answer into the shell. None of them is printed.

/// How much of a string is left out before what follows counts as text. One without an end must not hide all that follows.
const STRING: usize = 64 * 1024;

/// Takes escape sequences and control characters out of output that comes piece by piece (ECMA-48, 5.4 and 5.6).
#[derive(Debug, Default)]
pub(crate) struct Plain {
    state: State,
    /// How long a string is by now.
    length: usize,
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
        let mut text = String::with_capacity(output.len());
        self.read(output, |c| {
            if c != '\r' {
                text.push(c);
            }
        });
        text
    }

    /// Gives each character of `output` that is text, or the end of a line: a carriage return is one too.
    pub(crate) fn read(&mut self, output: &str, mut each: impl FnMut(char)) {
        for c in output.chars() {
            if self.is_text(c) {
                each(c);
            }
        }
    }

    fn is_text(&mut self, c: char) -> bool {
        let state = match (self.state, c) {
            // An escape ends a string, and begins what it begins elsewhere.
            (State::QuotedEscape, c) if !matches!(c, '\\' | '\u{1b}') => State::Escape,
            (State::Quoted, _) if self.length >= STRING => State::Text,
            (state, _) => state,
        };
        let (next, is_text) = match (state, c) {
            (State::Quoted, '\u{7}' | '\u{9c}') | (State::QuotedEscape, '\\') | (_, '\u{18}' | '\u{1a}') => {
                (State::Text, false)
            }
            (State::Quoted | State::QuotedEscape, '\u{1b}') => (State::QuotedEscape, false),
            (State::Quoted | State::QuotedEscape, _) => (State::Quoted, false),
            (_, '\u{1b}') => (State::Escape, false),
            (_, '\u{9b}') | (State::Escape, '[') => (State::Control, false),
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') | (State::Escape, ']' | 'P' | 'X' | '^' | '_') => {
                self.length = 0;
                (State::Quoted, false)
            }
            (State::Escape | State::Intermediate, ' '..='/') => (State::Intermediate, false),
            (State::Control, '@'..='~') | (State::Escape | State::Intermediate, _) => (State::Text, false),
            // No sequence has such a character.
            (State::Control, c) if !c.is_ascii() => (State::Text, !c.is_control()),
            (State::Control, _) => (State::Control, false),
            (State::Text, '\n' | '\r' | '\t') => (State::Text, true),
            (State::Text, c) => (State::Text, !c.is_control()),
        };
        self.length += 1;
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
            ("\u{1b}]0;t\u{1b}[31mred", "red"),
            ("\u{1b}]0;t\u{18}x\u{1b}[1\u{1a}y", "xy"),
            ("\u{1b}[1\u{65e5}x", "\u{65e5}x"),
        ] {
            assert_eq!(plain(&[output]), expected, "{output:?}");
        }
    }

    #[test]
    fn string_without_an_end_does_not_hide_all_that_follows() {
        let output = format!("\u{1b}]0;{}shown", "x".repeat(STRING));
        assert!(plain(&[&output]).ends_with("shown"));
    }

    #[test]
    fn sequence_is_split_anywhere() {
        let output = "a\u{1b}]52;c;cm0\u{1b}\\b\u{1b}[31mc";
        for (at, _) in output.char_indices() {
            assert_eq!(plain(&[&output[..at], &output[at..]]), "abc", "{at}");
        }
    }
}
