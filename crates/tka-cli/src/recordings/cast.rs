//! Events of a recording, read line by line (<https://docs.asciinema.org/manual/asciicast/v2>).

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tka_api::recording::FirstLine;

use super::RecordingError;

/// The longest line that is read, in bytes. The server writes none that is longer than what a flush holds, escaped.
const LINE: u64 = 64 * 1024 * 1024;

/// An event.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub(crate) struct Event(
    /// When, in seconds since the beginning.
    pub(crate) f64,
    /// What it is: `o` is output.
    pub(crate) String,
    /// Its data.
    pub(crate) String,
);

/// The events of a recording. One that is still being written ends where it is.
pub(crate) struct Events<R> {
    id: String,
    reader: BufReader<R>,
    is_begun: bool,
}

// === impl Event ===

impl Event {
    /// When, since the beginning. A time that no clock shows is the beginning.
    pub(crate) fn at(&self) -> Duration {
        Duration::try_from_secs_f64(self.0).unwrap_or_default()
    }

    /// The data of `o`, `i` and the like as text; none where the event has none. What is not UTF-8 is told by U+FFFD, as a terminal shows it.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self.1.as_str() {
            "o" | "i" => Some(Cow::Borrowed(&self.2)),
            "O" | "I" => {
                let bytes = BASE64_STANDARD.decode(&self.2).ok()?;
                Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => None,
        }
    }

    /// Whether it is output.
    pub(crate) fn is_output(&self) -> bool {
        matches!(self.1.as_str(), "o" | "O")
    }

    /// Whether a recording may end with it: the server marks each end.
    pub(crate) fn is_marker(&self) -> bool {
        self.1 == "m"
    }
}

// === impl Events ===

impl<R: Read> Events<R> {
    pub(crate) fn new(id: &str, reader: R) -> Self {
        Self {
            id: id.to_owned(),
            reader: BufReader::new(reader),
            is_begun: false,
        }
    }

    /// The first line; none where there is none yet. It is read once, before the events.
    pub(crate) fn first_line(&mut self) -> Result<Option<FirstLine>, RecordingError> {
        self.is_begun = true;
        let Some(line) = self.line()? else { return Ok(None) };
        FirstLine::read(&line).map(Some).ok_or_else(|| self.no_cast())
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            Ok(_) => Err(self.no_cast()),
            Err(source) => Err(RecordingError::unread(&self.id, source)),
        }
    }

    fn next_event(&mut self) -> Result<Option<Event>, RecordingError> {
        if !self.is_begun && self.first_line()?.is_none() {
            return Ok(None);
        }
        let Some(line) = self.line()? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|_| self.no_cast())
    }

    fn no_cast(&self) -> RecordingError {
        RecordingError::NoCast { id: self.id.clone() }
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = Result<Event, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Event>, String> {
        let events: Result<_, _> = Events::new("a", text.as_bytes()).collect();
        events.map_err(|error: RecordingError| error.to_string())
    }

    #[test]
    fn events_are_read_and_what_is_none_is_refused() {
        let events = read("{\"version\": 2}\n[0.5, \"o\", \"a\\u001b\"]\n").unwrap();
        assert_eq!(events, [Event(0.5, "o".into(), "a\u{1b}".into())]);
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("{\"version\": 2}\n"), Ok(vec![]));
        for wrong in [
            "<html>\n",
            "{\"version\": 3}\n",
            "{\"version\": 2}\n[1, 2, 3]\n",
            "{\"version\": 2}\n[0.5, \"o\", \"half",
        ] {
            assert!(read(wrong).unwrap_err().contains("is no recording"), "{wrong}");
        }
    }

    #[test]
    fn text_is_what_a_terminal_shows_and_no_time_is_too_far() {
        let event = |code: &str, data: &str| Event(1.5, code.into(), data.into());
        assert_eq!(event("o", "a").text().as_deref(), Some("a"));
        assert_eq!(event("O", "Yf9i").text().as_deref(), Some("a\u{fffd}b"));
        // A C1 control character that is not UTF-8 is none.
        assert_eq!(event("O", "mw==").text().as_deref(), Some("\u{fffd}"));
        for none in [event("O", "no base64"), event("m", "stderr"), event("x", "0")] {
            assert_eq!(none.text(), None);
        }
        for (seconds, at) in [(1.5, 1500), (-1.0, 0), (1e300, 0), (f64::NAN, 0)] {
            assert_eq!(Event(seconds, "o".into(), String::new()).at().as_millis(), at);
        }
    }
}
