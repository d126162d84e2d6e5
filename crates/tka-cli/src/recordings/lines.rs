//! The lines that a stream of a recording shows, from pieces that begin and end anywhere.

use std::time::Duration;

use super::text::Plain;

/// How long a line is at the most, in bytes. A longer one is searched in pieces.
const LONGEST: usize = 64 * 1024;
/// How much of a piece without a match is searched again with the next, in bytes: what is looked for may be across both.
const OVERLAP: usize = 4 * 1024;

/// Gathers the lines of one stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    plain: Plain,
    line: String,
    /// When the line began.
    began: Option<Duration>,
}

// === impl Lines ===

impl Lines {
    /// Adds what was shown `at` then. Each line that ends goes to `look`, which says whether it is one that is looked for.
    pub(super) fn read(&mut self, at: Duration, text: &str, look: &mut impl FnMut(Duration, &str) -> bool) {
        let (line, began) = (&mut self.line, &mut self.began);
        self.plain.read(text, |c| {
            if matches!(c, '\n' | '\r') {
                end(line, began, look);
                return;
            }
            began.get_or_insert(at);
            line.push(c);
            if line.len() >= LONGEST {
                let is_match = look(began.unwrap_or(at), line);
                let overlap = if is_match { 0 } else { OVERLAP };
                let rest = line.ceil_char_boundary(line.len() - overlap);
                line.drain(..rest);
                *began = Some(at);
            }
        });
    }

    /// The stream is over: what has no end ends.
    pub(super) fn end(&mut self, look: &mut impl FnMut(Duration, &str) -> bool) {
        end(&mut self.line, &mut self.began, look);
    }
}

/// An empty line may be looked for too, but not what is between a carriage return and a line feed.
fn end(line: &mut String, began: &mut Option<Duration>, look: &mut impl FnMut(Duration, &str) -> bool) {
    if let Some(began) = began.take() {
        look(began, line);
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[(u64, &str)]) -> Vec<(u64, String)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut look = |at: Duration, line: &str| {
            found.push((at.as_secs(), line.to_owned()));
            false
        };
        for (at, piece) in pieces {
            lines.read(Duration::from_secs(*at), piece, &mut look);
        }
        lines.end(&mut look);
        found
    }

    fn owned(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(at, line)| (*at, (*line).to_owned())).collect()
    }

    #[test]
    fn lines_go_over_pieces_and_have_no_sequences() {
        let pieces = [
            (1, "pass"),
            (2, "\x1b[1mwo"),
            (3, "rd\x1b["),
            (4, "0m: x\r\nnext"),
            (5, "\n\nlast"),
        ];
        let expected = [(1, "password: x"), (4, "next"), (5, "last")];
        assert_eq!(lines(&pieces), owned(&expected));
        assert_eq!(
            lines(&[(1, "10%\r20%\r"), (2, "30%\n")]),
            owned(&[(1, "10%"), (1, "20%"), (2, "30%")])
        );
        assert_eq!(lines(&[]), []);
    }

    #[test]
    fn long_lines_are_pieces_that_overlap() {
        let long = "\u{fc}".repeat(LONGEST);
        let pieces = lines(&[(1, &long), (2, "end\n")]);
        assert!(pieces.iter().all(|(_, piece)| piece.len() <= LONGEST + 4));
        let whole: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
        assert!(pieces.len() >= 2 && whole > long.len() && pieces[pieces.len() - 1].1.ends_with("\u{fc}end"));
    }

    #[test]
    fn what_was_found_is_not_found_again() {
        let mut count = 0;
        let mut lines = Lines::default();
        let mut look = |_: Duration, line: &str| {
            let is_match = line.contains("needle");
            count += u32::from(is_match);
            is_match
        };
        let text = "x".repeat(LONGEST - 10) + "needle" + &"x".repeat(100);
        lines.read(Duration::ZERO, &text, &mut look);
        lines.end(&mut look);
        assert_eq!(count, 1);
    }
}
