//! Searches what recordings show.

use std::io::Read;
use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};
use serde::Serialize;

use super::RecordingError;
use super::cast::{Event, Events};
use super::lines::Lines;
use super::offset;
use crate::terminal::messages::clean;
use crate::terminal::output::{RenderOptions, Report};

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Whether input is searched too.
    input: bool,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Match {
    /// The recording.
    pub(crate) recording: String,
    /// When the line began, in seconds since the beginning.
    pub(crate) seconds: f64,
    /// Whose recording it is.
    pub(crate) username: String,
    /// `stdout`, `stderr` or `stdin`; a terminal has `stdout` alone.
    pub(crate) stream: &'static str,
    /// The line, without what only a terminal understands.
    pub(crate) line: String,
}

/// All lines that were found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Matches {
    pub(crate) items: Vec<Match>,
}

/// The streams of a recording, each with lines of its own.
#[derive(Default)]
struct Streams {
    stdout: Lines,
    stderr: Lines,
    stdin: Lines,
    is_stderr: bool,
}

// === impl Pattern ===

impl Pattern {
    /// A regular expression, or with `fixed` a text.
    pub(crate) fn new(text: &str, fixed: bool, ignore_case: bool, input: bool) -> Result<Self, regex_lite::Error> {
        let escaped = fixed.then(|| regex_lite::escape(text));
        let regex = RegexBuilder::new(escaped.as_deref().unwrap_or(text))
            .case_insensitive(ignore_case)
            .build()?;
        Ok(Self { regex, input })
    }
}

// === impl Match ===

impl Match {
    /// `RECORDING TIME USER LINE`. Only the line has spaces.
    pub(crate) fn text(&self) -> String {
        let at = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        let user = clean(&self.username).replace(' ', "_");
        let user = if user.is_empty() { "-" } else { &user };
        format!(
            "{} {} {user} {}",
            clean(&self.recording),
            offset::shown(at),
            clean(&self.line)
        )
    }
}

impl Report for Matches {
    fn human(&self, _: &RenderOptions<'_>) -> String {
        let lines = self.items.iter().map(Match::text);
        crate::terminal::output::lines(lines)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.items.iter().map(|one| clean(&one.recording)).collect();
        names.dedup();
        names
    }
}

// === impl Streams ===

impl Streams {
    /// The lines that the event adds to, and what they are called.
    fn of(&mut self, event: &Event) -> (&mut Lines, &'static str) {
        match (event.is_output(), self.is_stderr) {
            (false, _) => (&mut self.stdin, "stdin"),
            (true, true) => (&mut self.stderr, "stderr"),
            (true, false) => (&mut self.stdout, "stdout"),
        }
    }
}

/// Searches the recording `id`. Each line that is found goes to `found`, which says whether to go on.
pub(crate) fn search(
    id: &str,
    content: impl Read,
    pattern: &Pattern,
    found: &mut dyn FnMut(Match) -> Result<bool, RecordingError>,
) -> Result<(), RecordingError> {
    let mut events = Events::new(id, content);
    let Some(first_line) = events.first_line()? else {
        return Ok(());
    };
    let username = first_line.about.map(|about| about.username).unwrap_or_default();
    let (mut streams, mut ends) = (Streams::default(), Ok(true));
    let mut look = |stream: &'static str, at: Duration, line: &str| {
        let is_match = pattern.regex.is_match(line);
        if is_match && matches!(ends, Ok(true)) {
            ends = found(Match {
                recording: id.to_owned(),
                seconds: at.as_secs_f64(),
                username: username.clone(),
                stream,
                line: line.to_owned(),
            });
        }
        (is_match, matches!(ends, Ok(true)))
    };
    let mut goes_on = true;
    for event in events {
        let event = event?;
        if event.is_marker() && matches!(event.2.as_str(), "stdout" | "stderr") {
            streams.is_stderr = event.2 == "stderr";
        }
        let text = event.text().filter(|_| event.is_output() || pattern.input);
        if let Some(text) = text {
            let (lines, stream) = streams.of(&event);
            lines.read(event.at(), &text, &mut |at, line| {
                let (is_match, on) = look(stream, at, line);
                goes_on = on;
                is_match
            });
        }
        if !goes_on {
            break;
        }
    }
    let Streams {
        stdout, stderr, stdin, ..
    } = &mut streams;
    for (lines, stream) in [(stdout, "stdout"), (stderr, "stderr"), (stdin, "stdin")] {
        lines.end(&mut |at, line| look(stream, at, line).0);
    }
    ends.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"version\": 2, \"tka\": {\"about\": {\"caller\": \"alice@example.com\"}}}\n";

    fn found(pattern: &Pattern, events: &str) -> Vec<String> {
        let mut matches = Vec::new();
        let mut found = |one: Match| {
            matches.push(format!("{} {}", one.stream, one.text()));
            Ok(true)
        };
        search("id", format!("{HEADER}{events}").as_bytes(), pattern, &mut found).unwrap();
        matches
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, false, false, false).unwrap()
    }

    #[test]
    fn lines_are_found_over_events_and_without_sequences() {
        let events =
            "[0.5, \"o\", \"pass\"]\n[61.25, \"o\", \"\\u001b[1mword\\u001b[0m: x\\r\\n\"]\n[62.0, \"o\", \"other\"]\n";
        let expected = ["stdout id 0:00:00.500 alice@example.com password: x"];
        assert_eq!(found(&pattern("^password: .$"), events), expected);
        assert_eq!(
            found(&pattern("other"), events),
            ["stdout id 0:01:02.000 alice@example.com other"]
        );
        assert!(found(&pattern("PASSWORD|pass$"), events).is_empty());
        let ignoring = Pattern::new("PASSWORD", false, true, false).unwrap();
        assert_eq!(found(&ignoring, events), expected);
        let fixed = Pattern::new("o.d", true, false, false).unwrap();
        assert!(found(&fixed, events).is_empty());
        assert!(Pattern::new("(", false, false, false).is_err());
        assert!(Pattern::new("(", true, false, false).is_ok());
    }

    #[test]
    fn streams_are_apart_and_input_is_searched_where_asked_for() {
        let events = "[1.0, \"o\", \"out \"]\n[1.1, \"m\", \"stderr\"]\n[1.2, \"o\", \"error\\n\"]\n[1.3, \"m\", \"stdout\"]\n\
            [1.4, \"o\", \"goes on\\n\"]\n[1.5, \"i\", \"in\"]\n[1.6, \"I\", \"/3B1dA==\"]\n[1.7, \"e\", \"put\"]\n";
        let lines = found(&pattern("out goes|^error$|put"), events);
        assert_eq!(
            lines,
            [
                "stderr id 0:00:01.200 alice@example.com error",
                "stdout id 0:00:01.000 alice@example.com out goes on"
            ]
        );
        let input = Pattern::new("in.put", false, false, true).unwrap();
        assert_eq!(
            found(&input, events),
            ["stdin id 0:00:01.500 alice@example.com in\u{fffd}put"]
        );
    }

    #[test]
    fn search_ends_when_enough_is_found_and_errors_are_told() {
        let events = format!("{HEADER}[1.0, \"o\", \"a\\na\\na\\n\"]\n[2.0, \"o\", \"a\"]\n<html>\n");
        let mut count = 0;
        let mut once = |_: Match| {
            count += 1;
            Ok(false)
        };
        search("id", events.as_bytes(), &pattern("a"), &mut once).unwrap();
        assert_eq!(count, 1);
        let damaged = search("id", events.as_bytes(), &pattern("b"), &mut |_| Ok(true));
        assert!(matches!(damaged, Err(RecordingError::NoCast { .. })));
    }

    #[test]
    fn found_lines_are_clean_and_one_field_each() {
        let one = Match {
            recording: "id".into(),
            seconds: 1.0,
            username: "a b\u{1b}[31m".into(),
            stream: "stdout",
            line: "x\u{202e}\ty".into(),
        };
        assert_eq!(one.text(), "id 0:00:01.000 a_b[31m x y");
        let matches = Matches {
            items: vec![one.clone(), one],
        };
        assert_eq!(matches.names(), ["id"]);
    }
}
