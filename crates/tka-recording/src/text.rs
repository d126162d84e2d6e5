//! Bytes as text, as far as they are UTF-8.

/// How many bytes of text there must be for each sequence of bytes that is none, so that the text is told apart from them. Below that it is a file and
/// no text, and as many events as it has such sequences would be many times its size.
const TEXT_PER_BREAK: usize = 64;

/// Some bytes of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DecodedChunk {
    /// They are text.
    Text(String),
    /// They are not UTF-8.
    Bytes(Vec<u8>),
}

/// The bytes of one stream, of which the last may be the beginning of a character.
#[derive(Debug, Default)]
pub struct Text {
    /// A character, as far as it came: three bytes at the most.
    tail: Vec<u8>,
}

// === impl Text ===

impl Text {
    /// These bytes came next. What is whole by now is told, in its order and without a loss.
    pub fn read(&mut self, bytes: &[u8], tell: impl FnMut(DecodedChunk)) {
        let mut whole = std::mem::take(&mut self.tail);
        whole.extend_from_slice(bytes);
        self.tail = whole.split_off(whole.len() - beginning(&whole));
        parts(&whole, tell);
    }

    /// The character that has begun and is not whole.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }
}

/// How many bytes at the end are a character that has begun.
fn beginning(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

fn parts(bytes: &[u8], mut tell: impl FnMut(DecodedChunk)) {
    let breaks = bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count();
    if breaks > 1 + bytes.len() / TEXT_PER_BREAK {
        return tell(DecodedChunk::Bytes(bytes.to_vec()));
    }
    for chunk in bytes.utf8_chunks() {
        if !chunk.valid().is_empty() {
            tell(DecodedChunk::Text(chunk.valid().to_owned()));
        }
        if !chunk.invalid().is_empty() {
            tell(DecodedChunk::Bytes(chunk.invalid().to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> (Vec<DecodedChunk>, Vec<u8>) {
        let (mut text, mut parts) = (Text::default(), Vec::new());
        for piece in pieces {
            text.read(piece, |part| parts.push(part));
        }
        (parts, text.tail)
    }

    fn text(text: &str) -> DecodedChunk {
        DecodedChunk::Text(text.to_owned())
    }

    #[test]
    fn character_that_is_split_is_one() {
        let (parts, tail) = read(&[b"a\xe2", b"\x82", b"\xacb"]);
        assert_eq!((parts, tail), (vec![text("a"), text("\u{20ac}b")], Vec::new()));
        let (parts, tail) = read(&[b"a\xe2\x82"]);
        assert_eq!((parts, tail), (vec![text("a")], vec![0xe2, 0x82]));
    }

    #[test]
    fn what_is_no_text_is_told_apart_from_the_text_around_it() {
        let (parts, _) = read(&[b"caf\xe9 ok\r\n"]);
        assert_eq!(parts, [text("caf"), DecodedChunk::Bytes(vec![0xe9]), text(" ok\r\n")]);
        // A beginning that does not go on.
        let (parts, _) = read(&[b"\xe2\x82", b"x"]);
        assert_eq!(parts, [DecodedChunk::Bytes(vec![0xe2, 0x82]), text("x")]);
    }

    #[test]
    fn file_is_one_part() {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        assert_eq!(read(&[&bytes]).0, [DecodedChunk::Bytes(bytes)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let (parts, tail) = read(&pieces);
            prop_assert!(tail.len() < 4);
            let mut told = Vec::new();
            for part in parts {
                match part {
                    DecodedChunk::Text(text) => told.extend(text.into_bytes()),
                    DecodedChunk::Bytes(bytes) => told.extend(bytes),
                }
            }
            told.extend(tail);
            prop_assert_eq!(told, pieces.concat());
        }

        #[test]
        fn text_is_text_wherever_it_is_split(whole in "\\PC{0,40}", cuts in proptest::collection::vec(1usize..5, 1..20)) {
            let (mut left, mut pieces) = (whole.as_bytes(), Vec::new());
            for cut in cuts.into_iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, rest) = left.split_at(cut.min(left.len()));
                pieces.push(piece);
                left = rest;
            }
            let (parts, tail) = read(&pieces);
            let told: String = parts.into_iter().map(|part| if let DecodedChunk::Text(text) = part { text } else { panic!("{part:?}") }).collect();
            prop_assert_eq!((told, tail), (whole, Vec::new()));
        }
    }
}
