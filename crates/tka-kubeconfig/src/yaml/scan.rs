//! The tokens of a YAML text, as kubectl's parser finds them.
//!
//! This follows <https://github.com/yaml/go-yaml/blob/v2.4.3/scannerc.go> rule by rule, also where YAML says otherwise: what it
//! takes for an error here must be one, and nothing else.

use std::collections::{HashMap, VecDeque};

use super::cursor::{Cursor, Mark};
use super::node::Malformed;

/// A token and where it stands.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: Mark,
    pub(super) end: Mark,
}

#[derive(Debug)]
pub(super) enum Kind {
    StreamEnd,
    Version { major: u8, minor: u8 },
    TagDirective { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag { handle: String, suffix: String },
    Scalar { text: String, is_plain: bool, end: Mark },
}

/// Where a key without `?` may have begun.
#[derive(Clone, Copy, Default)]
struct SimpleKey {
    is_possible: bool,
    is_required: bool,
    number: usize,
    mark: Mark,
}

/// How long a key without `?` may be, in characters.
const LONGEST_KEY: usize = 1024;

/// Reads tokens one by one, and no further than it has to.
pub(super) struct Scanner<'t> {
    pub(super) cursor: Cursor<'t>,
    tokens: VecDeque<Token>,
    /// How many were taken.
    taken: usize,
    /// Where the last one that was taken ends.
    last: Mark,
    /// The column of the block collection that this is in; -1 outside of any.
    pub(super) indent: isize,
    indents: Vec<isize>,
    /// One for each flow collection that this is in, and one outside.
    keys: Vec<SimpleKey>,
    key_of_token: HashMap<usize, usize>,
    pub(super) is_key_allowed: bool,
}

// === impl Scanner ===

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            cursor: Cursor::new(text),
            tokens: VecDeque::new(),
            taken: 0,
            last: Mark::default(),
            indent: -1,
            indents: Vec::new(),
            keys: vec![SimpleKey::default()],
            key_of_token: HashMap::new(),
            is_key_allowed: true,
        }
    }

    /// The next token.
    pub(super) fn peek(&mut self) -> Result<&Token, Malformed> {
        while self.needs_more()? {
            self.fetch()?;
        }
        let end = Malformed::new(self.cursor.mark.line, "it ends too early");
        self.tokens.front().ok_or(end)
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<Token, Malformed> {
        let end = Malformed::new(self.peek()?.start.line, "it ends too early");
        self.taken += 1;
        let token = self.tokens.pop_front().ok_or(end)?;
        self.last = token.end;
        Ok(token)
    }

    /// Where the last token ends that was taken.
    pub(super) fn last(&self) -> Mark {
        self.last
    }

    pub(super) fn is_flow(&self) -> bool {
        self.keys.len() > 1
    }

    /// Whether the first token may turn out to be a key.
    fn needs_more(&mut self) -> Result<bool, Malformed> {
        if self.tokens.is_empty() {
            return Ok(true);
        }
        match self.key_of_token.get(&self.taken).copied() {
            Some(at) => self.is_key_valid(at),
            None => Ok(false),
        }
    }

    fn fetch(&mut self) -> Result<(), Malformed> {
        self.skip_to_token();
        self.unroll(self.column());
        let next = self.cursor.byte(0);
        let is_alone = self.cursor.is_space_or_end(1);
        match next {
            0 => self.end_of_stream(),
            b'%' if self.cursor.mark.column == 0 => self.directive(),
            b'-' | b'.' if self.cursor.is_document_indicator() => self.document_indicator(next),
            b'[' => self.flow_start(Kind::FlowSequenceStart),
            b'{' => self.flow_start(Kind::FlowMappingStart),
            b']' => self.flow_end(Kind::FlowSequenceEnd),
            b'}' => self.flow_end(Kind::FlowMappingEnd),
            b',' => self.flow_entry(),
            b'-' if is_alone => self.block_entry(),
            b'?' if self.is_flow() || is_alone => self.key(),
            b':' if self.is_flow() || is_alone => self.value(),
            b'*' | b'&' => self.with_key(Self::scan_anchor),
            b'!' => self.with_key(Self::scan_tag),
            b'|' | b'>' if !self.is_flow() => self.block_scalar(next == b'|'),
            b'\'' | b'"' => self.with_key(|scanner| scanner.scan_quoted(next == b'\'')),
            _ if self.may_begin_plain() => self.with_key(Self::scan_plain),
            _ => Err(self.cursor.fault("found character that cannot start any token")),
        }
    }

    fn may_begin_plain(&self) -> bool {
        let next = self.cursor.byte(0);
        let is_indicator = b"-?:,[]{}#&*!|>'\"%@`".contains(&next) || self.cursor.is_space_or_end(0);
        !is_indicator
            || next == b'-' && !self.cursor.is_blank(1)
            || !self.is_flow() && matches!(next, b'?' | b':') && !self.cursor.is_space_or_end(1)
    }

    fn skip_to_token(&mut self) {
        loop {
            while self.cursor.byte(0) == b' '
                || (self.is_flow() || !self.is_key_allowed) && self.cursor.byte(0) == b'\t'
            {
                self.cursor.skip();
            }
            self.cursor.skip_comment();
            if !self.cursor.is_break(0) {
                return;
            }
            self.cursor.skip_break();
            if !self.is_flow() {
                self.is_key_allowed = true;
            }
        }
    }

    fn column(&self) -> isize {
        signed(self.cursor.mark.column)
    }

    fn push(&mut self, kind: Kind, start: Mark) {
        // Behind a text there may be lines that are no part of it.
        let end = match &kind {
            Kind::Scalar { end, .. } => *end,
            _ => self.cursor.mark,
        };
        self.tokens.push_back(Token { kind, start, end });
    }

    /// Adds a token of so many characters.
    fn indicator(&mut self, kind: Kind, length: usize) {
        let start = self.cursor.mark;
        for _ in 0..length {
            self.cursor.skip();
        }
        self.push(kind, start);
    }

    // --- keys without `?` ---

    fn is_key_valid(&mut self, at: usize) -> Result<bool, Malformed> {
        let here = self.cursor.mark;
        let Some(key) = self.keys.get_mut(at).filter(|key| key.is_possible) else {
            return Ok(false);
        };
        if key.mark.line >= here.line && key.mark.index + LONGEST_KEY >= here.index {
            return Ok(true);
        }
        if key.is_required {
            return Err(Malformed::new(key.mark.line, "could not find expected ':'"));
        }
        key.is_possible = false;
        Ok(false)
    }

    fn save_key(&mut self) -> Result<(), Malformed> {
        if !self.is_key_allowed {
            return Ok(());
        }
        self.remove_key()?;
        let number = self.taken + self.tokens.len();
        let key = SimpleKey {
            is_possible: true,
            is_required: !self.is_flow() && self.indent == self.column(),
            number,
            mark: self.cursor.mark,
        };
        let last = self.keys.len() - 1;
        self.keys[last] = key;
        self.key_of_token.insert(number, last);
        Ok(())
    }

    fn remove_key(&mut self) -> Result<(), Malformed> {
        let last = self.keys.len() - 1;
        let key = &mut self.keys[last];
        if !key.is_possible {
            return Ok(());
        }
        if key.is_required {
            return Err(Malformed::new(key.mark.line, "could not find expected ':'"));
        }
        key.is_possible = false;
        self.key_of_token.remove(&key.number);
        Ok(())
    }

    /// Adds the token that `scan` reads, which may be a key.
    fn with_key(&mut self, scan: impl FnOnce(&mut Self) -> Result<Kind, Malformed>) -> Result<(), Malformed> {
        self.save_key()?;
        self.is_key_allowed = false;
        let start = self.cursor.mark;
        let kind = scan(self)?;
        self.push(kind, start);
        Ok(())
    }

    // --- indentation ---

    fn roll(&mut self, column: isize, number: Option<usize>, kind: Kind, mark: Mark) {
        if self.is_flow() || self.indent >= column {
            return;
        }
        self.indents.push(self.indent);
        self.indent = column;
        let (start, end) = (mark, mark);
        self.insert(number, Token { kind, start, end });
    }

    /// Puts a token before the one of that number, or where that was taken already, behind all.
    fn insert(&mut self, number: Option<usize>, token: Token) {
        let at = number.and_then(|number| number.checked_sub(self.taken));
        let last = self.tokens.len();
        self.tokens.insert(at.map_or(last, |at| at.min(last)), token);
    }

    fn unroll(&mut self, column: isize) {
        while !self.is_flow() && self.indent > column {
            self.push(Kind::BlockEnd, self.cursor.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    // --- tokens ---

    fn end_of_stream(&mut self) -> Result<(), Malformed> {
        if self.cursor.mark.column != 0 {
            self.cursor.mark.column = 0;
            self.cursor.mark.line += 1;
        }
        self.outside_of_all()?;
        self.push(Kind::StreamEnd, self.cursor.mark);
        Ok(())
    }

    fn outside_of_all(&mut self) -> Result<(), Malformed> {
        self.unroll(-1);
        self.remove_key()?;
        self.is_key_allowed = false;
        Ok(())
    }

    fn directive(&mut self) -> Result<(), Malformed> {
        self.outside_of_all()?;
        let start = self.cursor.mark;
        let kind = self.scan_directive()?;
        self.push(kind, start);
        Ok(())
    }

    fn document_indicator(&mut self, first: u8) -> Result<(), Malformed> {
        self.outside_of_all()?;
        let kind = if first == b'-' {
            Kind::DocumentStart
        } else {
            Kind::DocumentEnd
        };
        self.indicator(kind, 3);
        Ok(())
    }

    fn flow_start(&mut self, kind: Kind) -> Result<(), Malformed> {
        self.save_key()?;
        let number = self.taken + self.tokens.len();
        self.keys.push(SimpleKey {
            number,
            ..SimpleKey::default()
        });
        self.is_key_allowed = true;
        self.indicator(kind, 1);
        Ok(())
    }

    fn flow_end(&mut self, kind: Kind) -> Result<(), Malformed> {
        self.remove_key()?;
        if self.is_flow()
            && let Some(last) = self.keys.pop()
        {
            self.key_of_token.remove(&last.number);
        }
        self.is_key_allowed = false;
        self.indicator(kind, 1);
        Ok(())
    }

    fn flow_entry(&mut self) -> Result<(), Malformed> {
        self.remove_key()?;
        self.is_key_allowed = true;
        self.indicator(Kind::FlowEntry, 1);
        Ok(())
    }

    fn block_entry(&mut self) -> Result<(), Malformed> {
        if !self.is_flow() && !self.is_key_allowed {
            let problem = "block sequence entries are not allowed in this context";
            return Err(self.cursor.fault(problem));
        }
        self.roll(self.column(), None, Kind::BlockSequenceStart, self.cursor.mark);
        self.remove_key()?;
        self.is_key_allowed = true;
        self.indicator(Kind::BlockEntry, 1);
        Ok(())
    }

    fn key(&mut self) -> Result<(), Malformed> {
        if !self.is_flow() && !self.is_key_allowed {
            return Err(self.cursor.fault("mapping keys are not allowed in this context"));
        }
        self.roll(self.column(), None, Kind::BlockMappingStart, self.cursor.mark);
        self.remove_key()?;
        self.is_key_allowed = !self.is_flow();
        self.indicator(Kind::Key, 1);
        Ok(())
    }

    fn value(&mut self) -> Result<(), Malformed> {
        let last = self.keys.len() - 1;
        if self.is_key_valid(last)? {
            let SimpleKey { number, mark, .. } = self.keys[last];
            let (start, end) = (mark, mark);
            let kind = Kind::Key;
            self.insert(Some(number), Token { kind, start, end });
            self.roll(signed(mark.column), Some(number), Kind::BlockMappingStart, mark);
            self.keys[last].is_possible = false;
            self.key_of_token.remove(&number);
            self.is_key_allowed = false;
        } else {
            if !self.is_flow() && !self.is_key_allowed {
                return Err(self.cursor.fault("mapping values are not allowed in this context"));
            }
            self.roll(self.column(), None, Kind::BlockMappingStart, self.cursor.mark);
            self.is_key_allowed = !self.is_flow();
        }
        self.indicator(Kind::Value, 1);
        Ok(())
    }

    fn block_scalar(&mut self, is_literal: bool) -> Result<(), Malformed> {
        self.remove_key()?;
        self.is_key_allowed = true;
        let start = self.cursor.mark;
        let kind = self.scan_block(is_literal)?;
        self.push(kind, start);
        Ok(())
    }
}

pub(super) fn signed(column: usize) -> isize {
    isize::try_from(column).unwrap_or(isize::MAX)
}
