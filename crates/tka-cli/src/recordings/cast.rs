//! Events of a recording, read line by line (<https://docs.asciinema.org/manual/asciicast/v2>).

use std::io::{BufRead, BufReader, Read};

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

impl<R: Read> Events<R> {
    pub(crate) fn new(id: &str, reader: R) -> Self {
        Self {
            id: id.to_owned(),
            reader: BufReader::new(reader),
            is_begun: false,
        }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            Ok(_) => Err(self.no_cast()),
            Err(source) => Err(RecordingError::Cut {
                id: self.id.clone(),
                source,
            }),
        }
    }

    fn next_event(&mut self) -> Result<Option<Event>, RecordingError> {
        if !self.is_begun {
            self.is_begun = true;
            let Some(header) = self.line()? else { return Ok(None) };
            let header: serde_json::Value = serde_json::from_slice(&header).map_err(|_| self.no_cast())?;
            if header["version"] != 2 {
                return Err(self.no_cast());
            }
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
}
