//! WebSocket frames with what they carry (RFC 6455, 5.2), read as they come: split anywhere, masked or not, of any length.
//!
//! A frame's payload is told piece by piece, as it comes. Only its head and the payload of a control frame (125 bytes at the most) are kept. What
//! breaks the protocol is an error, and so is everything after it: from there on it is not known what a byte means. So is an extension, because
//! `Sec-WebSocket-Extensions` is never agreed on here and a compressed message could not be read.

use thiserror::Error;

/// The longest payload of a control frame, in bytes.
const CONTROL: usize = 125;
/// The longest head of a frame: two bytes, a length of eight, a mask of four.
const HEAD: usize = 14;

/// Which end sends the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client. It masks what it sends (RFC 6455, 5.3).
    Client,
    /// The server, which must not mask.
    Server,
}

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameEvent<'a> {
    /// A message begins.
    Begin,
    /// Some more of the message, unmasked.
    Data(&'a [u8]),
    /// The message is whole.
    End,
    /// A control frame, whole. It may stand within a message.
    Control {
        /// 8 is a close, 9 a ping, 10 a pong.
        opcode: u8,
        /// Its payload, unmasked.
        payload: &'a [u8],
    },
}

/// Why bytes are no frames.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// A reserved bit is set: an extension that was not agreed on.
    #[error("a WebSocket frame uses an extension that was not agreed on")]
    Extension,
    /// An opcode that has no meaning.
    #[error("a WebSocket frame has the opcode {0}, which has no meaning")]
    Opcode(u8),
    /// A control frame that is longer than 125 bytes, or split.
    #[error("a WebSocket control frame is too long or split")]
    Control,
    /// A message that begins within another, or goes on without a beginning.
    #[error("WebSocket messages are mixed up")]
    Sequence,
    /// A client's message of several frames.
    #[error("a WebSocket message of the client is split over several frames")]
    Split,
    /// A client that does not mask, or a server that does.
    #[error("a WebSocket frame is masked where it must not be, or not where it must be")]
    Mask,
    /// A length of 2⁶³ bytes or more.
    #[error("a WebSocket frame is too long")]
    Length,
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub struct Frames {
    side: Side,
    state: State,
    /// Whether a message has begun and not ended.
    within_message: bool,
    broken: Option<FrameError>,
}

#[derive(Debug)]
enum State {
    /// A frame's head, as far as it came.
    Head { bytes: [u8; HEAD], length: usize },
    /// The payload of a frame that carries data.
    Data { left: u64, mask: Mask, is_last: bool },
    /// The payload of a control frame, as far as it came.
    Control {
        opcode: u8,
        left: usize,
        mask: Mask,
        payload: Vec<u8>,
    },
}

/// A frame's head.
#[derive(Debug)]
struct Head {
    is_last: bool,
    opcode: u8,
    length: u64,
    mask: Mask,
}

/// The mask of a frame, and how far it is used.
#[derive(Clone, Copy, Debug)]
struct Mask {
    key: [u8; 4],
    at: usize,
}

const START: State = State::Head {
    bytes: [0; HEAD],
    length: 0,
};

// === impl Frames ===

impl Frames {
    /// Reads what `side` sends, from the first byte after the upgrade on.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self {
            side,
            state: START,
            within_message: false,
            broken: None,
        }
    }

    /// These bytes came next. Each piece of them is told.
    pub fn read(&mut self, bytes: &[u8], mut tell: impl FnMut(FrameEvent<'_>)) -> Result<(), FrameError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let mut left = bytes;
        while !left.is_empty() {
            match self.step(left, &mut tell) {
                Ok(taken) => left = &left[taken..],
                Err(error) => {
                    self.broken = Some(error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes at least one byte, and says how many.
    fn step(&mut self, bytes: &[u8], tell: &mut impl FnMut(FrameEvent<'_>)) -> Result<usize, FrameError> {
        match &mut self.state {
            State::Head { bytes: head, length } => {
                // A head that were longer than any is never reached: it is whole before.
                let Some(slot) = head.get_mut(*length) else {
                    return Err(FrameError::Length);
                };
                *slot = bytes[0];
                *length += 1;
                if let Some(head) = Head::read(&head[..*length])? {
                    self.begin(&head, tell)?;
                }
                Ok(1)
            }
            State::Data { left, mask, is_last } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                mask.told(&bytes[..taken], tell);
                *left -= u64::try_from(taken).unwrap_or_default();
                if *left == 0 {
                    let is_last = *is_last;
                    self.data_ends(is_last, tell);
                }
                Ok(taken)
            }
            State::Control {
                opcode,
                left,
                mask,
                payload,
            } => {
                let taken = (*left).min(bytes.len());
                mask.told(&bytes[..taken], &mut |piece| {
                    if let FrameEvent::Data(data) = piece {
                        payload.extend_from_slice(data);
                    }
                });
                *left -= taken;
                if *left == 0 {
                    let (opcode, payload) = (*opcode, std::mem::take(payload));
                    self.state = START;
                    tell(FrameEvent::Control {
                        opcode,
                        payload: &payload,
                    });
                }
                Ok(taken)
            }
        }
    }

    /// A frame begins: what may not stand here is refused.
    fn begin(&mut self, head: &Head, tell: &mut impl FnMut(FrameEvent<'_>)) -> Result<(), FrameError> {
        if head.opcode >= 8 {
            return self.begin_control(head, tell);
        }
        // The API server takes each frame of a client for a message, also one that goes on
        // (<https://pkg.go.dev/golang.org/x/net/websocket#Codec>). What is read here must be what it reads.
        if self.side == Side::Client && (head.opcode == 0 || !head.is_last) {
            return Err(FrameError::Split);
        }
        let is_first = head.opcode != 0;
        if is_first == self.within_message {
            return Err(FrameError::Sequence);
        }
        self.check_mask(head)?;
        if is_first {
            self.within_message = true;
            tell(FrameEvent::Begin);
        }
        if head.length == 0 {
            self.data_ends(head.is_last, tell);
        } else {
            self.state = State::Data {
                left: head.length,
                mask: head.mask,
                is_last: head.is_last,
            };
        }
        Ok(())
    }

    fn begin_control(&mut self, head: &Head, tell: &mut impl FnMut(FrameEvent<'_>)) -> Result<(), FrameError> {
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        if !head.is_last || length > CONTROL {
            return Err(FrameError::Control);
        }
        self.check_mask(head)?;
        let opcode = head.opcode;
        if length == 0 {
            self.state = START;
            tell(FrameEvent::Control { opcode, payload: &[] });
        } else {
            self.state = State::Control {
                opcode,
                left: length,
                mask: head.mask,
                payload: Vec::with_capacity(length),
            };
        }
        Ok(())
    }

    /// A client masks, a server does not.
    fn check_mask(&self, head: &Head) -> Result<(), FrameError> {
        let is_masked = head.mask.at != Mask::NONE.at;
        if is_masked == (self.side == Side::Client) {
            Ok(())
        } else {
            Err(FrameError::Mask)
        }
    }

    fn data_ends(&mut self, is_last: bool, tell: &mut impl FnMut(FrameEvent<'_>)) {
        self.state = START;
        if is_last {
            self.within_message = false;
            tell(FrameEvent::End);
        }
    }
}

// === impl Head ===

impl Head {
    /// The head, once it is whole.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Extension);
        }
        let opcode = first & 0x0f;
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err(FrameError::Opcode(opcode));
        }
        let [second, rest @ ..] = rest else { return Ok(None) };
        let size = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let is_masked = second & 0x80 != 0;
        let whole = size + if is_masked { 4 } else { 0 };
        if rest.len() < whole {
            return Ok(None);
        }
        let length = match size {
            0 => u64::from(second & 0x7f),
            _ => rest[..size]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if length >> 63 != 0 {
            return Err(FrameError::Length);
        }
        let mask = rest[size..].try_into().map_or(Mask::NONE, |key| Mask { key, at: 0 });
        Ok(Some(Self {
            is_last: first & 0x80 != 0,
            opcode,
            length,
            mask,
        }))
    }
}

// === impl Mask ===

impl Mask {
    /// No mask. Where one is used is less than four, always.
    const NONE: Self = Self {
        key: [0; 4],
        at: usize::MAX,
    };

    /// Tells `bytes` without the mask.
    fn told(&mut self, bytes: &[u8], tell: &mut impl FnMut(FrameEvent<'_>)) {
        if self.at == Self::NONE.at {
            return tell(FrameEvent::Data(bytes));
        }
        let plain: Vec<u8> = bytes
            .iter()
            .zip(self.key.iter().cycle().skip(self.at))
            .map(|(byte, key)| byte ^ key)
            .collect();
        self.at = (self.at + bytes.len()) % 4;
        tell(FrameEvent::Data(&plain));
    }
}

#[cfg(test)]
pub(crate) mod tests;
