//! The lines of a file, the last one first. A block of it is held at a time, and a line.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much is read at a time.
const BLOCK: usize = 64 * 1024;
/// The longest line that may be a record. One has a kilobyte or so; that of an exec with a command as long as the gateway takes has some more than that.
pub(super) const LONGEST: usize = 256 * 1024;

/// A line, or what is there instead.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// A line, without what ends it.
    Whole(Vec<u8>),
    /// One that is too long for a record, and was passed over.
    TooLong,
    /// No more may be read now: a line is too long, and its beginning is not found yet.
    Unread,
}

/// Reads a file from a place in it to its beginning.
#[derive(Debug)]
pub(super) struct Backwards<'f> {
    file: &'f File,
    /// How much of the file is before what is held.
    unread: u64,
    /// What is read and belongs to lines that are not given yet. Its last byte ends a line, unless it is empty.
    held: Vec<u8>,
    /// Whether the line that `held` ends with is passed over: it is too long, or is the rest of one.
    passes_over: bool,
    /// Whether that is to be told.
    tells: bool,
    read: u64,
}

// === impl Backwards ===

impl<'f> Backwards<'f> {
    /// The lines of `file` that are whole before `end`. What is behind the last line break before that is passed over: it is still being written, or was cut off.
    pub(super) fn new(file: &'f File, end: u64) -> io::Result<Self> {
        let mut lines = Self {
            file,
            unread: end,
            held: Vec::new(),
            passes_over: false,
            tells: false,
            read: 0,
        };
        lines.fill()?;
        if lines.held.last().is_some_and(|last| *last != b'\n') {
            lines.held.push(b'\n');
            lines.passes_over = true;
        }
        Ok(lines)
    }

    /// How many bytes were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// How much of the file is before the line that was given last.
    pub(super) fn position(&self) -> u64 {
        if self.passes_over {
            return self.unread;
        }
        self.unread + u64::try_from(self.held.len()).unwrap_or(u64::MAX)
    }

    /// The line before that which was given last; none at the beginning of the file. Where it is too long, no more than about `budget` bytes are read.
    pub(super) fn next_line(&mut self, budget: u64) -> io::Result<Option<Line>> {
        let begin = self.read;
        loop {
            if let Some(start) = self.start_of_last() {
                let mut line = self.held.split_off(start);
                line.pop();
                if !std::mem::take(&mut self.passes_over) {
                    return Ok(Some(Line::Whole(line)));
                }
                if std::mem::take(&mut self.tells) {
                    return Ok(Some(Line::TooLong));
                }
                continue;
            }
            if self.unread == 0 {
                return Ok(None);
            }
            if self.passes_over || self.held.len() > LONGEST {
                // The rest of it is told of where its beginning is found.
                self.tells |= self.held.len() > LONGEST;
                self.passes_over = true;
                self.held.clear();
                self.held.push(b'\n');
                if self.read - begin >= budget {
                    return Ok(Some(Line::Unread));
                }
            }
            self.fill()?;
        }
    }

    /// Where the line begins that `held` ends with, if that is held.
    fn start_of_last(&self) -> Option<usize> {
        let (_, line) = self.held.split_last()?;
        let before = line.iter().rposition(|byte| *byte == b'\n');
        before.map(|at| at + 1).or((self.unread == 0).then_some(0))
    }

    /// Reads the block before what is held.
    fn fill(&mut self) -> io::Result<()> {
        let size = self.unread.min(BLOCK as u64);
        let mut block = vec![0; usize::try_from(size).unwrap_or(BLOCK)];
        self.file.read_exact_at(&mut block, self.unread - size)?;
        self.unread -= size;
        self.read += size;
        block.append(&mut self.held);
        self.held = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    /// All lines before `end`, and where each begins.
    fn all(file: &File, end: u64) -> Vec<(Line, u64)> {
        let mut lines = Backwards::new(file, end).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next_line(u64::MAX).unwrap() {
            all.push((line, lines.position()));
        }
        all
    }

    fn whole(text: &str, at: u64) -> (Line, u64) {
        (Line::Whole(text.into()), at)
    }

    #[test]
    fn last_line_comes_first_and_what_is_cut_off_does_not() {
        let text = b"one\n\nthree\nfo";
        let end = text.len() as u64;
        let expected = [whole("three", 5), whole("", 4), whole("one", 0)];
        assert_eq!(all(&file(text), end), expected);
        assert_eq!(all(&file(text), 11), expected);
        assert_eq!(all(&file(text), 5), expected[1..]);
        assert_eq!(all(&file(text), 7), expected[1..], "within a line is before it");
        for empty in ["", "f"] {
            assert_eq!(all(&file(empty.as_bytes()), empty.len() as u64), []);
        }
        assert_eq!(all(&file(b"\n"), 1), [whole("", 0)]);
    }

    #[test]
    fn line_that_is_too_long_is_passed_over_and_told_once() {
        let long = "x".repeat(3 * LONGEST);
        let text = format!("one\n{long}\ntwo\n");
        let found = all(&file(text.as_bytes()), text.len() as u64);
        let after = 4 + long.len() as u64 + 1;
        assert_eq!(found, [whole("two", after), (Line::TooLong, 4), whole("one", 0)]);
        let first = format!("{long}\ntwo\n");
        let found = all(&file(first.as_bytes()), first.len() as u64);
        assert_eq!(found[1..], [(Line::TooLong, 0)]);
    }

    #[test]
    fn one_without_an_end_is_left_and_gone_on_with() {
        let long = "x".repeat(20 * LONGEST);
        let text = format!("one\n{long}\ntwo\n");
        let (file, mut end, mut rounds) = (file(text.as_bytes()), text.len() as u64, 0);
        let mut found = Vec::new();
        loop {
            let mut lines = Backwards::new(&file, end).unwrap();
            let line = loop {
                match lines.next_line(LONGEST as u64).unwrap() {
                    Some(Line::Unread) | None => break lines.position(),
                    Some(Line::Whole(line)) => found.push(String::from_utf8(line).unwrap()),
                    Some(Line::TooLong) => {}
                }
            };
            rounds += 1;
            assert!(line < end, "each leads on");
            end = line;
            if end == 0 {
                break;
            }
        }
        assert_eq!(found, ["two", "one"]);
        assert!((5..30).contains(&rounds), "{rounds}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lines_are_those_of_the_text(
            lengths in prop::collection::vec(prop_oneof![0..9_usize, 60_000..70_000_usize], 0..9),
            cut in 0..5_usize,
        ) {
            let letters = ["a", "b", "c"].iter().cycle();
            let lines: Vec<String> = lengths.iter().zip(letters).map(|(length, letter)| letter.repeat(*length)).collect();
            let mut text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            text.push_str(&"d".repeat(cut));
            let found = all(&file(text.as_bytes()), text.len() as u64);
            let mut found: Vec<_> = found.into_iter().map(|(line, _)| line).collect();
            found.reverse();
            let expected: Vec<_> = lines.into_iter().map(|line| Line::Whole(line.into())).collect();
            prop_assert!(found == expected, "{lengths:?}");
        }
    }
}
