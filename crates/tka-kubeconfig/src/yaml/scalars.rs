//! The texts of a YAML document: plain, quoted, and in blocks.

use super::cursor::Mark;
use super::node::Malformed;
use super::scan::{Kind, Scanner, signed};

/// What is between two words.
#[derive(Default)]
struct Gap {
    has_break: bool,
    blanks: String,
    /// The first end of a line.
    first: String,
    /// All others.
    more: String,
}

/// What to do with the last ends of lines of a block.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

// === impl Scanner ===

impl Scanner<'_> {
    pub(super) fn scan_plain(&mut self) -> Result<Kind, Malformed> {
        let indent = self.indent + 1;
        let (mut text, mut gap) = (String::new(), Gap::default());
        let mut end = self.cursor.mark;
        while !self.cursor.is_document_indicator() && self.cursor.byte(0) != b'#' {
            while !self.cursor.is_space_or_end(0) && !self.ends_plain() {
                std::mem::take(&mut gap).fold_into(&mut text);
                self.cursor.read_into(&mut text);
                end = self.cursor.mark;
            }
            if !self.cursor.is_blank(0) && !self.cursor.is_break(0) {
                break;
            }
            self.scan_gap(&mut gap, indent)?;
            if !self.is_flow() && signed(self.cursor.mark.column) < indent {
                break;
            }
        }
        if gap.has_break {
            self.is_key_allowed = true;
        }
        Ok(Kind::Scalar {
            text,
            is_plain: true,
            end,
        })
    }

    fn ends_plain(&self) -> bool {
        let next = self.cursor.byte(0);
        next == b':' && self.cursor.is_space_or_end(1) || self.is_flow() && b",?[]{}".contains(&next)
    }

    /// Reads what is between two words. Before that column there must be no tab.
    fn scan_gap(&mut self, gap: &mut Gap, indent: isize) -> Result<(), Malformed> {
        loop {
            if self.cursor.is_blank(0) {
                let is_outside = gap.has_break && signed(self.cursor.mark.column) < indent;
                if is_outside && self.cursor.byte(0) == b'\t' {
                    return Err(self.cursor.fault("found a tab character that violates indentation"));
                }
                if gap.has_break {
                    self.cursor.skip();
                } else {
                    self.cursor.read_into(&mut gap.blanks);
                }
            } else if self.cursor.is_break(0) {
                let ends = if gap.has_break { &mut gap.more } else { &mut gap.first };
                self.cursor.read_break_into(ends);
                gap.has_break = true;
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn scan_quoted(&mut self, is_single: bool) -> Result<Kind, Malformed> {
        let quote = if is_single { b'\'' } else { b'"' };
        let mut text = String::new();
        self.cursor.skip();
        loop {
            if self.cursor.is_document_indicator() {
                let why = "found unexpected document indicator in a quoted text";
                return Err(self.cursor.fault(why));
            }
            if self.cursor.is_end(0) {
                return Err(self.cursor.fault("found unexpected end of stream in a quoted text"));
            }
            let mut gap = Gap {
                has_break: self.scan_quoted_word(&mut text, is_single)?,
                ..Gap::default()
            };
            if self.cursor.byte(0) == quote {
                break;
            }
            // No column is outside of quotes.
            self.scan_gap(&mut gap, -1)?;
            gap.fold_into(&mut text);
        }
        self.cursor.skip();
        let (is_plain, end) = (false, self.cursor.mark);
        Ok(Kind::Scalar { text, is_plain, end })
    }

    /// Reads up to a quote, a blank or the end of a line. Answers whether that end was escaped.
    fn scan_quoted_word(&mut self, text: &mut String, is_single: bool) -> Result<bool, Malformed> {
        while !self.cursor.is_space_or_end(0) {
            match self.cursor.byte(0) {
                b'\'' if is_single && self.cursor.byte(1) == b'\'' => {
                    self.cursor.skip();
                    self.cursor.read_into(text);
                }
                b'\'' if is_single => break,
                b'"' if !is_single => break,
                b'\\' if !is_single && self.cursor.is_break(1) => {
                    self.cursor.skip();
                    self.cursor.skip_break();
                    return Ok(true);
                }
                b'\\' if !is_single => self.scan_escape(text)?,
                _ => self.cursor.read_into(text),
            }
        }
        Ok(false)
    }

    fn scan_escape(&mut self, text: &mut String) -> Result<(), Malformed> {
        let code = self.cursor.byte(1);
        let digits = match code {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        if digits == 0 {
            let problem = "found unknown escape character";
            text.push(escaped(code).ok_or_else(|| self.cursor.fault(problem))?);
        }
        self.cursor.skip();
        self.cursor.skip();
        if digits == 0 {
            return Ok(());
        }
        let mut value = 0_u32;
        for _ in 0..digits {
            let digit = char::from(self.cursor.byte(0)).to_digit(16);
            let problem = "did not find expected hexadecimal number";
            value = (value << 4) + digit.ok_or_else(|| self.cursor.fault(problem))?;
            self.cursor.skip();
        }
        let problem = "found invalid Unicode character escape code";
        text.push(char::from_u32(value).ok_or_else(|| self.cursor.fault(problem))?);
        Ok(())
    }

    /// Reads a text in a block, and answers where it ends.
    pub(super) fn scan_block(&mut self, is_literal: bool) -> Result<Kind, Malformed> {
        self.cursor.skip();
        let (chomping, increment) = self.scan_block_header()?;
        let base = self.indent.max(0);
        let mut indent = increment.map(|increment| base + increment);
        let (mut text, mut first, mut more) = (String::new(), String::new(), String::new());
        let mut end = self.scan_block_breaks(&mut indent, &mut more)?;
        let mut was_blank = false;
        while Some(signed(self.cursor.mark.column)) == indent && !self.cursor.is_end(0) {
            let is_blank = self.cursor.is_blank(0);
            let is_folded = !is_literal && !was_blank && !is_blank && first.starts_with('\n');
            if !is_folded {
                text += &first;
            } else if more.is_empty() {
                text.push(' ');
            }
            first.clear();
            text += &std::mem::take(&mut more);
            was_blank = is_blank;
            while !self.cursor.is_break_or_end(0) {
                self.cursor.read_into(&mut text);
            }
            self.cursor.read_break_into(&mut first);
            end = self.scan_block_breaks(&mut indent, &mut more)?;
        }
        if chomping != Chomping::Strip {
            text += &first;
        }
        if chomping == Chomping::Keep {
            text += &more;
        }
        let is_plain = false;
        Ok(Kind::Scalar { text, is_plain, end })
    }

    fn scan_block_header(&mut self) -> Result<(Chomping, Option<isize>), Malformed> {
        let mut chomping = self.scan_chomping();
        let increment = self.scan_increment()?;
        if chomping.is_none() && increment.is_some() {
            chomping = self.scan_chomping();
        }
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_break_or_end(0) {
            return Err(self.cursor.fault("did not find expected comment or line break"));
        }
        self.cursor.skip_break();
        Ok((chomping.unwrap_or(Chomping::Clip), increment))
    }

    fn scan_chomping(&mut self) -> Option<Chomping> {
        let chomping = match self.cursor.byte(0) {
            b'+' => Chomping::Keep,
            b'-' => Chomping::Strip,
            _ => return None,
        };
        self.cursor.skip();
        Some(chomping)
    }

    fn scan_increment(&mut self) -> Result<Option<isize>, Malformed> {
        let next = self.cursor.byte(0);
        if next == b'0' {
            return Err(self.cursor.fault("found an indentation indicator equal to 0"));
        }
        if !next.is_ascii_digit() {
            return Ok(None);
        }
        self.cursor.skip();
        Ok(Some(isize::from(next - b'0')))
    }

    /// Reads empty lines. The first line that is not empty sets the indentation where nothing has.
    fn scan_block_breaks(&mut self, indent: &mut Option<isize>, breaks: &mut String) -> Result<Mark, Malformed> {
        let mut end = self.cursor.mark;
        let mut deepest = 0;
        loop {
            let is_outside = |column: usize| indent.is_none_or(|indent| signed(column) < indent);
            while is_outside(self.cursor.mark.column) && self.cursor.byte(0) == b' ' {
                self.cursor.skip();
            }
            deepest = deepest.max(self.cursor.mark.column);
            if is_outside(self.cursor.mark.column) && self.cursor.byte(0) == b'\t' {
                let problem = "found a tab character where an indentation space is expected";
                return Err(self.cursor.fault(problem));
            }
            if !self.cursor.is_break(0) {
                break;
            }
            self.cursor.read_break_into(breaks);
            end = self.cursor.mark;
        }
        if indent.is_none() {
            *indent = Some(signed(deepest).max(self.indent + 1).max(1));
        }
        Ok(end)
    }
}

/// What a backslash before it stands for.
fn escaped(code: u8) -> Option<char> {
    Some(match code {
        b'0' => '\0',
        b'a' => '\x07',
        b'b' => '\x08',
        b't' | b'\t' => '\t',
        b'n' => '\n',
        b'v' => '\x0B',
        b'f' => '\x0C',
        b'r' => '\r',
        b'e' => '\x1B',
        b' ' | b'"' | b'\'' | b'\\' => char::from(code),
        b'N' => '\u{85}',
        b'_' => '\u{a0}',
        b'L' => '\u{2028}',
        b'P' => '\u{2029}',
        _ => return None,
    })
}

// === impl Gap ===

impl Gap {
    /// Adds what it stands for: a single end of a line is a space.
    fn fold_into(self, text: &mut String) {
        if !self.has_break {
            *text += &self.blanks;
        } else if !self.first.starts_with('\n') {
            *text += &self.first;
            *text += &self.more;
        } else if self.more.is_empty() {
            text.push(' ');
        } else {
            *text += &self.more;
        }
    }
}
