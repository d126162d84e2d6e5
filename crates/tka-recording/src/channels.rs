//! The channels of exec and attach over a WebSocket: `v4.channel.k8s.io` and `v5.channel.k8s.io`.
//!
//! The first byte of each message says which channel the rest is of
//! (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets>). With `v5` a client ends a
//! channel by a message on channel 255 with that channel's number.

use serde::Deserialize;

use crate::frames::{FrameError, FrameEvent, Frames, Side};

/// The longest message about a terminal's size that is read, in bytes. kubectl's have 26.
const NOTICE: usize = 256;
/// The number of the channel that tells how large the terminal is.
const RESIZE: u8 = 4;
/// The number of the channel that tells that another one ends (`v5`).
const CLOSE: u8 = 255;

/// Whether exec and attach in this subprotocol can be read.
#[must_use]
pub fn is_readable(subprotocol: &str) -> bool {
    matches!(subprotocol, "v4.channel.k8s.io" | "v5.channel.k8s.io")
}

/// A stream of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// What the client types or sends.
    Stdin,
    /// What the container writes. With a terminal it is all that it writes.
    Stdout,
    /// What it writes as errors.
    Stderr,
    /// How the command ended, as a `Status` of Kubernetes.
    Error,
}

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChannelEvent<'a> {
    /// Some more of a stream.
    Bytes(Stream, &'a [u8]),
    /// Some more of a channel that has no meaning in this direction.
    Other(u8, &'a [u8]),
    /// The client's terminal has this size.
    Size {
        /// Its width in characters.
        columns: u16,
        /// Its height in lines.
        rows: u16,
    },
    /// The client ends its input (`v5`).
    StdinEnds,
    /// The payload of a control frame: 8 is a close, 9 a ping, 10 a pong.
    Control(u8, &'a [u8]),
}

/// Reads the channels of one direction.
#[derive(Debug)]
pub struct Channels {
    side: Side,
    frames: Frames,
    /// The channel of the message that is under way, once it said which.
    channel: Option<u8>,
    /// A message about the terminal's size or a channel's end, as far as it came.
    notice: Vec<u8>,
}

/// The size of a terminal, as `remotecommand.TerminalSize` writes it. Go reads names in any case.
#[derive(Deserialize)]
struct Size {
    #[serde(alias = "width")]
    #[serde(rename = "Width")]
    columns: u16,
    #[serde(alias = "height")]
    #[serde(rename = "Height")]
    rows: u16,
}

// === impl Channels ===

impl Channels {
    /// Reads what `side` sends, from the first byte after the upgrade on.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self {
            side,
            frames: Frames::new(side),
            channel: None,
            notice: Vec::new(),
        }
    }

    /// These bytes came next. What they say is told.
    pub fn read(&mut self, bytes: &[u8], mut tell: impl FnMut(ChannelEvent<'_>)) -> Result<(), FrameError> {
        let (side, channel, notice) = (self.side, &mut self.channel, &mut self.notice);
        self.frames.read(bytes, |piece| match piece {
            FrameEvent::Begin => {
                *channel = None;
                notice.clear();
            }
            FrameEvent::Data(data) => {
                let (number, data) = match (*channel, data) {
                    (Some(number), data) => (number, data),
                    (None, [number, rest @ ..]) => (*number, rest),
                    (None, []) => return,
                };
                *channel = Some(number);
                part(side, number, data, notice, &mut tell);
            }
            FrameEvent::End => whole(side, *channel, notice, &mut tell),
            FrameEvent::Control { opcode, payload } => tell(ChannelEvent::Control(opcode, payload)),
        })
    }
}

/// Some of a message of the channel `number`.
fn part(side: Side, number: u8, data: &[u8], notice: &mut Vec<u8>, tell: &mut impl FnMut(ChannelEvent<'_>)) {
    if side == Side::Client && matches!(number, RESIZE | CLOSE) {
        let room = NOTICE.saturating_sub(notice.len());
        notice.extend_from_slice(&data[..data.len().min(room)]);
        return;
    }
    if data.is_empty() {
        return;
    }
    tell(match (side, number) {
        (Side::Client, 0) => ChannelEvent::Bytes(Stream::Stdin, data),
        (Side::Server, 1) => ChannelEvent::Bytes(Stream::Stdout, data),
        (Side::Server, 2) => ChannelEvent::Bytes(Stream::Stderr, data),
        (Side::Server, 3) => ChannelEvent::Bytes(Stream::Error, data),
        (_, other) => ChannelEvent::Other(other, data),
    });
}

/// A message is whole.
fn whole(side: Side, channel: Option<u8>, notice: &[u8], tell: &mut impl FnMut(ChannelEvent<'_>)) {
    if side == Side::Server {
        return;
    }
    if channel == Some(RESIZE)
        && let Ok(Size { columns, rows }) = serde_json::from_slice(notice)
    {
        tell(ChannelEvent::Size { columns, rows });
    }
    if channel == Some(CLOSE) && notice == [0] {
        tell(ChannelEvent::StdinEnds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::tests::frame;

    /// What is said, a line each.
    fn said(side: Side, bytes: &[u8]) -> Vec<String> {
        let (mut channels, mut lines) = (Channels::new(side), Vec::new());
        let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
        let tell = |said: ChannelEvent<'_>| {
            lines.push(match said {
                ChannelEvent::Bytes(stream, data) => format!("{stream:?} {}", text(data)),
                ChannelEvent::Other(number, data) => format!("{number} {}", text(data)),
                ChannelEvent::Size { columns, rows } => format!("{columns}x{rows}"),
                ChannelEvent::StdinEnds => "ends".to_owned(),
                ChannelEvent::Control(opcode, data) => format!("control {opcode} {}", text(data)),
            });
        };
        channels.read(bytes, tell).unwrap();
        lines
    }

    #[test]
    fn all_channels_are_told_apart() {
        let server = [
            &b"\x01out"[..],
            b"\x02err",
            b"\x03{}",
            b"\x00in",
            b"\x09odd",
            b"",
            b"\x01",
        ];
        let server = server.map(|message| frame(Side::Server, 0x82, message)).concat();
        assert_eq!(
            said(Side::Server, &server),
            ["Stdout out", "Stderr err", "Error {}", "0 in", "9 odd"]
        );
        let client = [
            &b"\x00ls"[..],
            br#"_{"Width":120,"Height":40}"#,
            b"\x01out",
            b"\xff\x00",
            b"\xff\x01",
        ];
        let client = client.map(|message| {
            let mut message = message.to_vec();
            if message[0] == b'_' {
                message[0] = RESIZE;
            }
            frame(Side::Client, 0x82, &message)
        });
        assert_eq!(
            said(Side::Client, &client.concat()),
            ["Stdin ls", "120x40", "1 out", "ends"]
        );
    }

    /// Messages of text count as those of bytes do: what reads them may not tell them apart.
    #[test]
    fn message_may_be_split_before_its_channel() {
        let bytes = [
            frame(Side::Server, 0x01, b""),
            frame(Side::Server, 0x00, b"\x01a"),
            frame(Side::Server, 0x89, b"hm"),
            frame(Side::Server, 0x80, b"\x02b"),
            frame(Side::Server, 0x82, b"\x02c"),
        ];
        assert_eq!(
            said(Side::Server, &bytes.concat()),
            ["Stdout a", "control 9 hm", "Stdout \u{2}b", "Stderr c"]
        );
    }

    #[test]
    fn sizes_that_are_none_say_nothing_and_are_not_kept() {
        let long = [&b"\x04{\"Width\":"[..], &vec![b' '; 10_000], b"1,\"Height\":1}"].concat();
        for message in [
            &b"\x04"[..],
            b"\x04null",
            b"\x04{\"Width\":-1,\"Height\":1}",
            b"\x04{\"Width\":70000,\"Height\":1}",
            b"\xff",
            b"\xff\x00\x00",
            &long,
        ] {
            let (mut channels, mut count) = (Channels::new(Side::Client), 0);
            let bytes = frame(Side::Client, 0x82, message);
            channels
                .read(&bytes, |said| {
                    count += usize::from(!matches!(said, ChannelEvent::Other(..)));
                })
                .unwrap();
            assert_eq!(count, 0, "{message:?}");
            assert!(channels.notice.len() <= NOTICE);
        }
        let small = frame(Side::Client, 0x82, b"\x04{\"width\":1,\"height\":2}");
        assert_eq!(said(Side::Client, &small), ["1x2"]);
    }

    #[test]
    fn subprotocols_with_channels_of_bytes_can_be_read() {
        assert!(is_readable("v4.channel.k8s.io") && is_readable("v5.channel.k8s.io"));
        for other in [
            "",
            "channel.k8s.io",
            "v4.base64.channel.k8s.io",
            "V5.channel.k8s.io",
            "v5.channel.k8s.io ",
            "SPDY/3.1+portforward.k8s.io",
        ] {
            assert!(!is_readable(other), "{other}");
        }
    }
}
