//! WebSocket frames, as far as a relay must know them: where one ends and another may begin (RFC 6455, 5.2).

use bytes::Bytes;
use serde_json::json;

/// The close code of an end that is the server's decision (RFC 6455, 7.4.1: policy violation).
const POLICY: u16 = 1008;
/// The longest reason of a close frame, in bytes (RFC 6455, 5.5).
const CLOSE_REASON: usize = 123;
/// The channel on which Kubernetes says how a command ended (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets>).
const ERROR_CHANNEL: u8 = 3;

/// Follows the bytes of one direction, from frame to frame.
#[derive(Debug, Default)]
pub struct Frames {
    state: State,
    /// Whether a message of several frames has begun and not ended.
    within_message: bool,
}

#[derive(Debug)]
enum State {
    /// A frame's head, as far as it came.
    Head(Vec<u8>),
    /// The rest of a frame's payload, in bytes.
    Payload(u64),
}

/// What the frames of a connection are made of, by the subprotocol that was agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channels {
    /// `v4.channel.k8s.io` and `v5.channel.k8s.io`: the first byte of a binary message is the channel.
    Binary,
    /// `base64.…`: the first character of a text message is the channel, and the rest base64.
    Base64,
    /// Something else. It has no channel on which to say why it ends.
    Unknown,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

// === impl Frames ===

impl Frames {
    /// These bytes came next. Says after how many of them the last frame ends, if one does.
    pub fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let (length, mut bytes, mut end) = (bytes.len(), bytes, None);
        while !bytes.is_empty() {
            match &mut self.state {
                State::Payload(left) => {
                    let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                    *left -= here;
                    bytes = &bytes[usize::try_from(here).unwrap_or(bytes.len())..];
                    if *left == 0 {
                        self.state = State::default();
                    }
                }
                State::Head(head) => {
                    head.push(bytes[0]);
                    bytes = &bytes[1..];
                    if let Some((first, payload)) = read(head) {
                        self.begin(first, payload);
                    }
                }
            }
            if self.is_between() {
                end = Some(length - bytes.len());
            }
        }
        end
    }

    fn begin(&mut self, first: u8, payload: u64) {
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
        // Control frames may stand between the frames of a message.
        if opcode < 8 {
            self.within_message = !is_last;
        }
        self.state = match payload {
            0 => State::default(),
            payload => State::Payload(payload),
        };
    }

    /// Whether another frame may begin here.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.is_empty())
    }

    /// The frames that say why a connection ends here: a message on the error channel, where there is one, and the close. Empty where a frame is
    /// under way, which nothing may interrupt.
    #[must_use]
    pub fn last_words(&self, channels: Channels, why: &str) -> Bytes {
        let mut frames = Vec::new();
        if !self.is_between() {
            return Bytes::new();
        }
        if !self.within_message
            && let Some((opcode, message)) = error_message(channels, why)
        {
            write(&mut frames, opcode, &message);
        }
        let mut close = POLICY.to_be_bytes().to_vec();
        close.extend(&why.as_bytes()[..why.floor_char_boundary(CLOSE_REASON)]);
        write(&mut frames, 0x8, &close);
        frames.into()
    }
}

// === impl Channels ===

impl Channels {
    /// Those of `subprotocol`, as the API server's answer has it.
    #[must_use]
    pub fn of(subprotocol: Option<&str>) -> Self {
        match subprotocol {
            Some("v4.channel.k8s.io" | "v5.channel.k8s.io") => Self::Binary,
            Some("v4.base64.channel.k8s.io" | "v5.base64.channel.k8s.io") => Self::Base64,
            _ => Self::Unknown,
        }
    }
}

/// The first byte of a head that is whole, and how long its payload is.
fn read(head: &[u8]) -> Option<(u8, u64)> {
    let [first, second, rest @ ..] = head else { return None };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (length, size) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)), 2),
        127 => (u64::from_be_bytes(rest.get(..8)?.try_into().ok()?), 8),
        short => (u64::from(short), 0),
    };
    (rest.len() == size + mask).then_some((*first, length))
}

/// A message on the error channel: a `Status`, as the kubelet sends it.
fn error_message(channels: Channels, why: &str) -> Option<(u8, Vec<u8>)> {
    let status =
        json!({"metadata": {}, "status": "Failure", "message": why, "reason": "Forbidden", "code": 403}).to_string();
    match channels {
        Channels::Binary => Some((0x2, [&[ERROR_CHANNEL], status.as_bytes()].concat())),
        Channels::Base64 => {
            let text = data_encoding::BASE64.encode(status.as_bytes());
            Some((0x1, format!("{ERROR_CHANNEL}{text}").into_bytes()))
        }
        Channels::Unknown => None,
    }
}

/// A whole frame, unmasked as a server sends it.
fn write(frames: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    frames.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => frames.push(u8::try_from(short).unwrap_or_default()),
        long => {
            frames.push(126);
            frames.extend(u16::try_from(long).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frames.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
        let mut frame = vec![first];
        let mask = if masked { 0x80 } else { 0 };
        match payload.len() {
            short @ 0..126 => frame.push(mask + u8::try_from(short).unwrap()),
            long @ 126..65536 => {
                frame.push(mask + 126);
                frame.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
            long => {
                frame.push(mask + 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn boundaries_are_found_whatever_the_length() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 65535, 65536] {
                let mut frames = Frames::default();
                let bytes = frame(0x82, &vec![7; length], masked);
                assert_eq!(frames.follow(&bytes[..bytes.len() - 1]), None);
                assert!(!frames.is_between(), "{length}");
                assert_eq!(frames.follow(&[bytes[bytes.len() - 1], 0x82]), Some(1));
                assert!(!frames.is_between(), "{length}");
            }
        }
    }

    #[test]
    fn last_words_say_why_on_the_error_channel_and_at_the_close() {
        let words = Frames::default().last_words(Channels::Binary, "your session ended");
        let text = String::from_utf8_lossy(&words);
        assert_eq!(words[0], 0x82);
        assert_eq!(words[2], ERROR_CHANNEL);
        assert!(text.contains(r#""message":"your session ended""#));
        assert!(words.ends_with(b"\x03\xf0your session ended"));
        let mut read = Frames::default();
        read.follow(&words);
        assert!(read.is_between());
        let base64 = Frames::default().last_words(Channels::Base64, "x");
        assert_eq!((base64[0], base64[2]), (0x81, b'3'));
        let close = Frames::default().last_words(Channels::Unknown, &"ä".repeat(100));
        assert_eq!((close[0], close.len()), (0x88, 2 + 2 + 122));
    }

    #[test]
    fn nothing_is_said_within_a_frame_and_only_the_close_within_a_message() {
        let mut frames = Frames::default();
        let first = frame(0x02, b"part", false);
        frames.follow(&first[..3]);
        assert!(frames.last_words(Channels::Binary, "why").is_empty());
        frames.follow(&first[3..]);
        // A ping may stand between.
        frames.follow(&frame(0x89, b"", false));
        assert_eq!(frames.last_words(Channels::Binary, "why")[0], 0x88);
        frames.follow(&frame(0x80, b"rest", false));
        assert_eq!(frames.last_words(Channels::Binary, "why")[0], 0x82);
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(payloads in proptest::collection::vec(0usize..300, 1..6), cuts in proptest::collection::vec(1usize..50, 1..20)) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|length| frame(0x82, &vec![0xff; *length], false)).collect();
            let mut frames = Frames::default();
            let mut left = bytes.as_slice();
            let mut cuts = cuts.into_iter().cycle();
            while !left.is_empty() {
                let cut = cuts.next().unwrap().min(left.len());
                frames.follow(&left[..cut]);
                left = &left[cut..];
            }
            prop_assert!(frames.is_between());
        }
    }
}
