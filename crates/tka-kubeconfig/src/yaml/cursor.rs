//! A place in a text, and what stands there.

use super::node::Malformed;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// In bytes.
    pub(super) at: usize,
    /// In characters.
    pub(super) index: usize,
    /// The first is 0.
    pub(super) line: usize,
    /// In characters.
    pub(super) column: usize,
}

/// Goes through a text. Behind its end there is nothing but NUL.
pub(super) struct Cursor<'t> {
    text: &'t str,
    pub(super) mark: Mark,
}

// === impl Cursor ===

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        let mark = Mark { at, ..Mark::default() };
        Self { text, mark }
    }

    /// The byte that stands so many bytes ahead.
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        let byte = self.text.as_bytes().get(self.mark.at + ahead);
        byte.copied().unwrap_or_default()
    }

    /// The character here; NUL at the end.
    pub(super) fn char(&self) -> char {
        let rest = self.text.get(self.mark.at..);
        rest.and_then(|rest| rest.chars().next()).unwrap_or_default()
    }

    pub(super) fn is_end(&self, ahead: usize) -> bool {
        self.byte(ahead) == 0
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    /// Whether a line ends there, by YAML 1.1.
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        match self.byte(ahead) {
            b'\r' | b'\n' => true,
            0xC2 => self.byte(ahead + 1) == 0x85,
            0xE2 => self.byte(ahead + 1) == 0x80 && matches!(self.byte(ahead + 2), 0xA8 | 0xA9),
            _ => false,
        }
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.is_break(ahead) || self.is_end(ahead)
    }

    pub(super) fn is_space_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// A letter, a digit, `_` or `-`.
    pub(super) fn is_word(&self) -> bool {
        let byte = self.byte(0);
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    }

    /// Whether `---` or `...` begins here, and nothing else.
    pub(super) fn is_document_indicator(&self) -> bool {
        let bytes = [self.byte(0), self.byte(1), self.byte(2)];
        self.mark.column == 0 && matches!(&bytes, b"---" | b"...") && self.is_space_or_end(3)
    }

    pub(super) fn skip(&mut self) {
        let width = if self.is_end(0) { 1 } else { self.char().len_utf8() };
        self.mark.at += width;
        self.mark.index += 1;
        self.mark.column += 1;
    }

    pub(super) fn read_into(&mut self, text: &mut String) {
        text.push(self.char());
        self.skip();
    }

    /// Reads the end of a line, as YAML normalizes it. Does nothing elsewhere.
    pub(super) fn read_break_into(&mut self, text: &mut String) {
        if !self.is_break(0) {
            return;
        }
        let end = self.char();
        if end == '\r' && self.byte(1) == b'\n' {
            self.mark.at += 1;
            self.mark.index += 1;
        }
        text.push(if matches!(end, '\u{2028}' | '\u{2029}') {
            end
        } else {
            '\n'
        });
        self.mark.at += end.len_utf8();
        self.mark.index += 1;
        self.mark.line += 1;
        self.mark.column = 0;
    }

    pub(super) fn skip_break(&mut self) {
        self.read_break_into(&mut String::new());
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.skip();
        }
    }

    pub(super) fn skip_comment(&mut self) {
        if self.byte(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
            }
        }
    }

    /// What is wrong here.
    pub(super) fn fault(&self, problem: &str) -> Malformed {
        Malformed::new(self.mark.line, problem)
    }
}
