//! A recording as asciicast version 2 (<https://docs.asciinema.org/manual/asciicast/v2>), line by line and by value.
//!
//! Version 2 is what all versions of `asciinema` play, 3 too. Its times count from the beginning, so that a recording of which the last lines are lost is true
//! as far as it goes. The events are:
//!
//! | code | is |
//! |---|---|
//! | `o` | output: text |
//! | `O` | output that is not UTF-8, base64 |
//! | `i`, `I` | input, likewise, if it is kept |
//! | `e`, `E` | the `Status` with which the command ended, likewise |
//! | `T` | the first bytes of a character of which the rest has not come: `STREAM BASE64`. The next event of the stream begins with them again; they count by themselves only where there is none |
//! | `r` | the terminal's size |
//! | `m` | a marker: output is `stderr` or `stdout` from here on, a gap, the end and why |
//! | `x` | the exit code of the command |
//! | `U` | bytes of a channel that has no meaning, or of a close, ping or pong: `CHANNEL BASE64` |
//!
//! So the bytes of a stream are its text events and its base64 events in their order, and a player shows the text among them.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::Value;

use crate::channels::{ChannelEvent, Stream};
use crate::header::RecordingMetadata;
use crate::text::{DecodedChunk, Text};

/// The widest and the highest terminal that a player is told of. Players keep each of its characters.
const LARGEST: u16 = 1000;
/// The longest `Status` that is read for its exit code, in bytes.
const STATUS: usize = 16 * 1024;

/// Writes a recording. What was written is taken with [`Self::take`].
#[derive(Debug)]
pub struct Cast {
    lines: String,
    keeps_stdin: bool,
    streams: [Channel; 4],
    /// The stream that the last `o` or `O` was of.
    output: Stream,
    /// The `Status` of the end, as far as it is needed.
    status: Vec<u8>,
    /// The time of the last event. None is before it.
    last: Duration,
}

/// What is known of one stream.
#[derive(Debug, Default)]
struct Channel {
    text: Text,
    /// Whether a `T` was written of what it has begun.
    is_told: bool,
}

// === impl Cast ===

impl Cast {
    /// A recording of `about` that begins at `began`.
    #[must_use]
    pub fn new(about: &RecordingMetadata, began: Timestamp) -> Self {
        Self {
            lines: about.line(began) + "\n",
            keeps_stdin: about.stdin_recorded,
            streams: Default::default(),
            output: Stream::Stdout,
            status: Vec::new(),
            last: Duration::ZERO,
        }
    }

    /// What came after `at` since the beginning.
    pub fn record(&mut self, at: Duration, said: ChannelEvent<'_>) {
        match said {
            ChannelEvent::Bytes(Stream::Stdin, _) if !self.keeps_stdin => {}
            ChannelEvent::Bytes(stream, bytes) => self.bytes(at, stream, bytes),
            ChannelEvent::Other(channel, bytes) => self.event(at, "U", &format!("{channel} {}", BASE64.encode(bytes))),
            ChannelEvent::Size { columns, rows } if is_terminal(columns) && is_terminal(rows) => {
                self.event(at, "r", &format!("{columns}x{rows}"));
            }
            ChannelEvent::Size { columns, rows } => self.event(at, "m", &format!("size {columns}x{rows}")),
            ChannelEvent::StdinEnds => self.event(at, "m", "stdin ends"),
            ChannelEvent::Control(opcode, payload) if !payload.is_empty() => {
                self.event(at, "U", &format!("{} {}", control(opcode), BASE64.encode(payload)));
            }
            ChannelEvent::Control(..) => {}
        }
    }

    /// A marker.
    pub fn mark(&mut self, at: Duration, label: &str) {
        self.event(at, "m", label);
    }

    /// The recording ends, and why.
    pub fn end(&mut self, at: Duration, why: &str) {
        for stream in Stream::ALL {
            let tail = std::mem::take(&mut self.streams[stream as usize].text);
            if !tail.tail().is_empty() {
                self.part(at, stream, DecodedChunk::Bytes(tail.tail().to_vec()));
            }
        }
        if let Some(code) = exit_code(&self.status) {
            self.event(at, "x", &code.to_string());
        }
        self.event(at, "m", why);
    }

    /// How many bytes are there to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is nothing to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All lines since the last time, whole. All bytes that were recorded by now are in what was taken by now.
    pub fn take(&mut self) -> Bytes {
        for stream in Stream::ALL {
            let channel = &mut self.streams[stream as usize];
            if channel.text.tail().is_empty() || channel.is_told {
                continue;
            }
            channel.is_told = true;
            let tail = format!("{} {}", stream.name(), BASE64.encode(channel.text.tail()));
            self.event(self.last, "T", &tail);
        }
        std::mem::take(&mut self.lines).into()
    }

    fn bytes(&mut self, at: Duration, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Error {
            let room = STATUS.saturating_sub(self.status.len());
            self.status.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let channel = &mut self.streams[stream as usize];
        let mut parts = Vec::new();
        channel.text.read(bytes, |part| parts.push(part));
        channel.is_told = false;
        for part in parts {
            self.part(at, stream, part);
        }
    }

    fn part(&mut self, at: Duration, stream: Stream, part: DecodedChunk) {
        let is_output = matches!(stream, Stream::Stdout | Stream::Stderr);
        if is_output && self.output != stream {
            self.output = stream;
            self.event(at, "m", stream.name());
        }
        let [text, bytes] = stream.codes();
        match part {
            DecodedChunk::Text(data) => self.event(at, text, &data),
            DecodedChunk::Bytes(data) => self.event(at, bytes, &BASE64.encode(&data)),
        }
    }

    fn event(&mut self, at: Duration, code: &str, data: &str) {
        self.last = self.last.max(at);
        // asciinema 3.0 refuses a time without a fraction, and takes 2.000000 for one.
        let (seconds, micros) = (self.last.as_secs(), self.last.subsec_micros().max(1));
        // A string of JSON has no line end within, whatever the text has.
        let data = Value::from(data).to_string();
        // Writing to a string cannot fail.
        let _ = writeln!(self.lines, "[{seconds}.{micros:06}, \"{code}\", {data}]");
    }
}

// === impl Stream ===

impl Stream {
    pub(crate) const ALL: [Self; 4] = [Self::Stdin, Self::Stdout, Self::Stderr, Self::Error];

    /// The codes of its events: text and bytes.
    fn codes(self) -> [&'static str; 2] {
        match self {
            Self::Stdin => ["i", "I"],
            Self::Stdout | Self::Stderr => ["o", "O"],
            Self::Error => ["e", "E"],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Error => "error",
        }
    }
}

fn is_terminal(side: u16) -> bool {
    (1..=LARGEST).contains(&side)
}

fn control(opcode: u8) -> &'static str {
    match opcode {
        8 => "close",
        9 => "ping",
        _ => "pong",
    }
}

/// The exit code that a `Status` tells of (<https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand#pkg-constants>).
fn exit_code(status: &[u8]) -> Option<i32> {
    let status: Value = serde_json::from_slice(status).ok()?;
    if status["status"] == "Success" {
        return Some(0);
    }
    let causes = status["details"]["causes"].as_array()?;
    let cause = causes.iter().find(|cause| cause["reason"] == "ExitCode")?;
    cause["message"].as_str()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests;
