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
#[derive(Debug)]
pub struct Frames {
    channels: Channels,
    state: State,
    /// Whether a message of several frames has begun and not ended.
    within_message: bool,
    /// What the message that is under way is.
    message: Message,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Message {
    /// Nothing of its payload has come.
    #[default]
    SignInTrigger,
    /// Its first byte.
    Of(u8),
}

#[derive(Debug)]
enum State {
    /// A frame's head, as far as it came.
    Head(Vec<u8>),
    /// The rest of a frame's payload.
    Payload(Payload),
}

/// What is left of a frame's payload.
#[derive(Clone, Copy, Debug)]
struct Payload {
    /// In bytes.
    left: u64,
    /// Whether it is a message's, and not a ping's or the like.
    is_data: bool,
    /// What its bytes are masked with. The next of its bytes is masked with the first of these.
    mask: [u8; 4],
}

/// A frame's head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Head {
    first: u8,
    /// How long its payload is, in bytes.
    payload: u64,
    mask: [u8; 4],
}

/// What the frames of a connection are made of, by the subprotocol that was agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channels {
    /// `v4.channel.k8s.io` and `v5.channel.k8s.io`: the first byte of a binary message is the channel.
    Binary,
    /// `base64.…`: the first character of a text message is the channel, and the rest base64.
    Base64,
    /// `SPDY/3.1+portforward.k8s.io`: another protocol within, with pings of its own.
    Tunnel,
    /// Something else. It has no channel on which to say why it ends.
    Unknown,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// What was followed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FrameSummary {
    /// Whether data is among it that the caller of a stream sends to it: input, and not a ping, a resize or an end.
    pub is_input: bool,
    /// After how many bytes of it the last frame ends, if one does.
    pub end: Option<usize>,
}

// === impl Frames ===

impl Frames {
    /// From the first frame of a connection whose frames are made of `channels`.
    #[must_use]
    pub fn new(channels: Channels) -> Self {
        Self {
            channels,
            state: State::default(),
            within_message: false,
            message: Message::default(),
        }
    }

    /// These bytes came next.
    pub fn follow(&mut self, bytes: &[u8]) -> FrameSummary {
        let (length, mut bytes, mut followed) = (bytes.len(), bytes, FrameSummary::default());
        while !bytes.is_empty() {
            match &mut self.state {
                State::Payload(payload) => {
                    let here = usize::try_from(payload.left).unwrap_or(usize::MAX).min(bytes.len());
                    if payload.is_data {
                        followed.is_input |= self.message.carries_input(&bytes[..here], payload.mask, self.channels);
                    }
                    payload.skip(here);
                    bytes = &bytes[here..];
                    if payload.left == 0 {
                        self.state = State::default();
                    }
                }
                State::Head(head) => {
                    head.push(bytes[0]);
                    bytes = &bytes[1..];
                    if let Some(head) = read(head) {
                        self.begin(head);
                    }
                }
            }
            if self.is_between() {
                followed.end = Some(length - bytes.len());
            }
        }
        followed
    }

    fn begin(&mut self, head: Head) {
        let (is_last, opcode) = (head.first & 0x80 != 0, head.first & 0x0f);
        // Control frames may stand between the frames of a message.
        let is_data = opcode < 8;
        if is_data {
            if !self.within_message {
                self.message = Message::SignInTrigger;
            }
            self.within_message = !is_last;
        }
        self.state = match head.payload {
            0 => State::default(),
            left => State::Payload(Payload {
                left,
                is_data,
                mask: head.mask,
            }),
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
    pub fn close_frames(&self, why: &str) -> Bytes {
        let mut frames = Vec::new();
        if !self.is_between() {
            return Bytes::new();
        }
        if !self.within_message
            && let Some((opcode, message)) = error_message(self.channels, why)
        {
            write(&mut frames, opcode, &message);
        }
        let mut close = POLICY.to_be_bytes().to_vec();
        close.extend(&why.as_bytes()[..why.floor_char_boundary(CLOSE_REASON)]);
        write(&mut frames, 0x8, &close);
        frames.into()
    }
}

// === impl Message ===

impl Message {
    /// Whether there is input in `bytes` of it, which are not empty and are masked with `mask`.
    fn carries_input(&mut self, bytes: &[u8], mask: [u8; 4], channels: Channels) -> bool {
        let rest = match *self {
            Self::Of(_) => bytes,
            Self::SignInTrigger => {
                let Some((first, rest)) = bytes.split_first() else {
                    return false;
                };
                *self = Self::Of(first ^ mask[0]);
                rest
            }
        };
        let Self::Of(first) = *self else { return false };
        channels.has_input(first, rest)
    }
}

// === impl Payload ===

impl Payload {
    /// So many of its bytes came.
    fn skip(&mut self, count: usize) {
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        self.mask.rotate_left(count % 4);
    }
}

// === impl Channels ===

impl Channels {
    /// Whether there is input in a message that begins with `first` and goes on with `rest`. What is in a tunnel is not looked into.
    fn has_input(self, first: u8, rest: &[u8]) -> bool {
        match self {
            Self::Binary => first == 0 && !rest.is_empty(),
            Self::Base64 => first == b'0' && !rest.is_empty(),
            Self::Tunnel => false,
            Self::Unknown => true,
        }
    }

    /// Those of `subprotocol`, as the API server's answer has it.
    #[must_use]
    pub fn of(subprotocol: Option<&str>) -> Self {
        match subprotocol {
            Some("v4.channel.k8s.io" | "v5.channel.k8s.io") => Self::Binary,
            Some("v4.base64.channel.k8s.io" | "v5.base64.channel.k8s.io") => Self::Base64,
            Some(subprotocol) if subprotocol.starts_with("SPDY/") => Self::Tunnel,
            _ => Self::Unknown,
        }
    }
}

/// A head that is whole.
fn read(head: &[u8]) -> Option<Head> {
    let [first, second, rest @ ..] = head else { return None };
    let (payload, rest) = match second & 0x7f {
        126 => (
            u64::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)),
            rest.get(2..)?,
        ),
        127 => (u64::from_be_bytes(rest.get(..8)?.try_into().ok()?), rest.get(8..)?),
        short => (u64::from(short), rest),
    };
    let mask = match second & 0x80 {
        0 => [0; 4],
        _ => rest.try_into().ok()?,
    };
    let first = *first;
    Some(Head { first, payload, mask })
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
        Channels::Tunnel | Channels::Unknown => None,
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
                let mut frames = Frames::new(Channels::Binary);
                let bytes = frame(0x82, &vec![7; length], masked);
                assert_eq!(frames.follow(&bytes[..bytes.len() - 1]).end, None);
                assert!(!frames.is_between(), "{length}");
                assert_eq!(frames.follow(&[bytes[bytes.len() - 1], 0x82]).end, Some(1));
                assert!(!frames.is_between(), "{length}");
            }
        }
    }

    #[test]
    fn last_words_say_why_on_the_error_channel_and_at_the_close() {
        let words = Frames::new(Channels::Binary).close_frames("your session ended");
        let text = String::from_utf8_lossy(&words);
        assert_eq!(words[0], 0x82);
        assert_eq!(words[2], ERROR_CHANNEL);
        assert!(text.contains(r#""message":"your session ended""#));
        assert!(words.ends_with(b"\x03\xf0your session ended"));
        let mut read = Frames::new(Channels::Binary);
        read.follow(&words);
        assert!(read.is_between());
        let base64 = Frames::new(Channels::Base64).close_frames("x");
        assert_eq!((base64[0], base64[2]), (0x81, b'3'));
        let close = Frames::new(Channels::Unknown).close_frames(&"ä".repeat(100));
        assert_eq!((close[0], close.len()), (0x88, 2 + 2 + 122));
    }

    #[test]
    fn messages_stand_between_frames_only() {
        let mut frames = Frames::new(Channels::Binary);
        let first = frame(0x02, b"part", false);
        frames.follow(&first[..3]);
        assert!(frames.close_frames("why").is_empty());
        frames.follow(&first[3..]);
        // A ping may stand between.
        frames.follow(&frame(0x89, b"", false));
        assert_eq!(frames.close_frames("why")[0], 0x88);
        frames.follow(&frame(0x80, b"rest", false));
        assert_eq!(frames.close_frames("why")[0], 0x82);
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(first, payload, true);
        let start = frame.len() - payload.len();
        for (at, byte) in frame[start..].iter_mut().enumerate() {
            *byte ^= [1, 2, 3, 4][at % 4];
        }
        frame
    }

    #[test]
    fn input_is_what_a_person_types_and_nothing_else() {
        let is_input = |channels, frames: &[Vec<u8>]| Frames::new(channels).follow(&frames.concat()).is_input;
        let binary = |frames: &[Vec<u8>]| is_input(Channels::Binary, frames);
        assert!(binary(&[masked(0x82, b"\0ls")]));
        assert!(!binary(&[masked(0x82, b"\0")]), "an empty message begins a stream");
        assert!(!binary(&[masked(0x89, b"\0ping"), masked(0x8a, b"\0pong")]));
        assert!(!binary(&[masked(0x82, b"\x04{\"Width\":80}")]), "a resize");
        assert!(!binary(&[masked(0x82, b"\xff\0")]), "the end of a channel");
        assert!(
            binary(&[masked(0x02, b"\0"), masked(0x89, b"x"), masked(0x80, b"ls")]),
            "in two frames"
        );
        assert!(
            !binary(&[masked(0x02, b"\x04"), masked(0x80, b"\0\0")]),
            "of a resize in two frames"
        );
        assert!(
            binary(&[masked(0x82, b"\x04{}"), masked(0x82, b"\0x")]),
            "after a resize"
        );
        assert!(is_input(Channels::Base64, &[masked(0x81, b"0bHM=")]));
        assert!(!is_input(Channels::Base64, &[masked(0x81, b"4e30=")]));
        assert!(is_input(Channels::Unknown, &[masked(0x82, b"x")]));
        assert!(!is_input(Channels::Tunnel, &[masked(0x82, b"\0ls")]));
    }

    proptest! {
        #[test]
        fn input_is_found_however_it_is_cut(before in 0usize..200, cuts in proptest::collection::vec(1usize..9, 1..9)) {
            let bytes = [masked(0x82, &vec![4; before + 1]), masked(0x82, b"\0x")].concat();
            let mut frames = Frames::new(Channels::Binary);
            let (mut left, mut cuts) = (bytes.as_slice(), cuts.into_iter().cycle());
            let mut found = Vec::new();
            while !left.is_empty() {
                let cut = cuts.next().unwrap().min(left.len());
                found.push(frames.follow(&left[..cut]).is_input);
                left = &left[cut..];
            }
            prop_assert_eq!(found.iter().filter(|input| **input).count(), 1);
            prop_assert_eq!(found.last(), Some(&true));
        }

        #[test]
        fn splitting_changes_nothing(payloads in proptest::collection::vec(0usize..300, 1..6), cuts in proptest::collection::vec(1usize..50, 1..20)) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|length| frame(0x82, &vec![0xff; *length], false)).collect();
            let mut frames = Frames::new(Channels::Binary);
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
