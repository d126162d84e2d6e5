//! Directives, tags and anchors of a YAML document.

use super::node::Malformed;
use super::scan::{Kind, Scanner};

// === impl Scanner ===

impl Scanner<'_> {
    pub(super) fn scan_directive(&mut self) -> Result<Kind, Malformed> {
        self.cursor.skip();
        let name = self.scan_word();
        if name.is_empty() || !self.cursor.is_space_or_end(0) {
            return Err(self.cursor.fault("could not find expected directive name"));
        }
        let kind = match &*name {
            "YAML" => self.scan_version()?,
            "TAG" => self.scan_tag_directive()?,
            _ => return Err(self.cursor.fault("found unknown directive name")),
        };
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_break_or_end(0) {
            return Err(self.cursor.fault("did not find expected comment or line break"));
        }
        self.cursor.skip_break();
        Ok(kind)
    }

    fn scan_version(&mut self) -> Result<Kind, Malformed> {
        self.cursor.skip_blanks();
        let major = self.scan_version_number()?;
        if self.cursor.byte(0) != b'.' {
            return Err(self.cursor.fault("did not find expected digit or '.' character"));
        }
        self.cursor.skip();
        let minor = self.scan_version_number()?;
        Ok(Kind::Version { major, minor })
    }

    fn scan_version_number(&mut self) -> Result<u8, Malformed> {
        let (mut value, mut length) = (0, 0);
        while self.cursor.byte(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return Err(self.cursor.fault("found extremely long version number"));
            }
            value = value * 10 + (self.cursor.byte(0) - b'0');
            self.cursor.skip();
        }
        if length == 0 {
            return Err(self.cursor.fault("did not find expected version number"));
        }
        Ok(value)
    }

    fn scan_tag_directive(&mut self) -> Result<Kind, Malformed> {
        self.cursor.skip_blanks();
        let handle = self.scan_handle(true)?;
        if !self.cursor.is_blank(0) {
            return Err(self.cursor.fault("did not find expected whitespace"));
        }
        self.cursor.skip_blanks();
        let prefix = self.scan_uri("")?;
        if !self.cursor.is_space_or_end(0) {
            return Err(self.cursor.fault("did not find expected whitespace or line break"));
        }
        Ok(Kind::TagDirective { handle, prefix })
    }

    pub(super) fn scan_anchor(&mut self) -> Result<Kind, Malformed> {
        let is_anchor = self.cursor.byte(0) == b'&';
        self.cursor.skip();
        let name = self.scan_word();
        let is_over = self.cursor.is_space_or_end(0) || b"?:,]}%@`".contains(&self.cursor.byte(0));
        if name.is_empty() || !is_over {
            let problem = "did not find expected alphabetic or numeric character";
            return Err(self.cursor.fault(problem));
        }
        Ok(if is_anchor {
            Kind::Anchor(name)
        } else {
            Kind::Alias(name)
        })
    }

    pub(super) fn scan_tag(&mut self) -> Result<Kind, Malformed> {
        let (mut handle, mut suffix);
        if self.cursor.byte(1) == b'<' {
            self.cursor.skip();
            self.cursor.skip();
            handle = String::new();
            suffix = self.scan_uri("")?;
            if self.cursor.byte(0) != b'>' {
                return Err(self.cursor.fault("did not find the expected '>'"));
            }
            self.cursor.skip();
        } else {
            handle = self.scan_handle(false)?;
            if handle.len() > 1 && handle.ends_with('!') {
                suffix = self.scan_uri("")?;
            } else {
                suffix = self.scan_uri(&handle)?;
                handle = "!".to_owned();
                if suffix.is_empty() {
                    std::mem::swap(&mut handle, &mut suffix);
                }
            }
        }
        if !self.cursor.is_space_or_end(0) {
            return Err(self.cursor.fault("did not find expected whitespace or line break"));
        }
        Ok(Kind::Tag { handle, suffix })
    }

    fn scan_word(&mut self) -> String {
        let mut word = String::new();
        while self.cursor.is_word() {
            self.cursor.read_into(&mut word);
        }
        word
    }

    fn scan_handle(&mut self, is_directive: bool) -> Result<String, Malformed> {
        let problem = "did not find expected '!'";
        if self.cursor.byte(0) != b'!' {
            return Err(self.cursor.fault(problem));
        }
        self.cursor.skip();
        let mut handle = format!("!{}", self.scan_word());
        if self.cursor.byte(0) == b'!' {
            self.cursor.read_into(&mut handle);
        } else if is_directive && handle != "!" {
            return Err(self.cursor.fault(problem));
        }
        Ok(handle)
    }

    /// What follows `head`, which was read already; its `!` is no part of it.
    fn scan_uri(&mut self, head: &str) -> Result<String, Malformed> {
        let mut uri = head.get(1..).unwrap_or_default().as_bytes().to_vec();
        let mut is_there = !head.is_empty();
        while self.cursor.is_word() || b";/?:@&=+$,.!~*'()[]%".contains(&self.cursor.byte(0)) {
            is_there = true;
            if self.cursor.byte(0) == b'%' {
                uri.push(self.scan_octet()?);
            } else {
                uri.push(self.cursor.byte(0));
                self.cursor.skip();
            }
        }
        if !is_there {
            return Err(self.cursor.fault("did not find expected tag URI"));
        }
        String::from_utf8(uri).map_err(|_| self.cursor.fault("found an incorrect UTF-8 octet"))
    }

    fn scan_octet(&mut self) -> Result<u8, Malformed> {
        let digit = |ahead| char::from(self.cursor.byte(ahead)).to_digit(16);
        let octet = digit(1).zip(digit(2)).map(|(high, low)| high * 16 + low);
        let octet = octet.and_then(|octet| u8::try_from(octet).ok());
        let octet = octet.ok_or_else(|| self.cursor.fault("did not find URI escaped octet"))?;
        for _ in 0..3 {
            self.cursor.skip();
        }
        Ok(octet)
    }
}
