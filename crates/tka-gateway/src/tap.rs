//! What sees the bytes of a stream before they go on.

use std::fmt;

use futures::future::BoxFuture;

use crate::flow::Cut;
use crate::websocket::{Channels, Frames};

/// How much of one frame waits for the rest of it, in bytes.
const MOST: usize = 64 * 1024;

/// Where bytes come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The caller.
    Caller,
    /// The API server.
    Upstream,
}

/// Sees the bytes of a stream before they go on.
pub trait Tap: fmt::Debug + Send + Sync {
    /// Whether it may end the stream. Then bytes towards the caller go on in whole frames, so that it can be said why. Else they go on as they come.
    fn may_end(&self) -> bool;

    /// These bytes came next. Returns when they may go on; why not, when the stream must end.
    fn passes<'a>(&'a self, from: Origin, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), Cut>>;
}

/// Gathers bytes to whole frames, so that a stream that ends here ends between two of them, where it can be said why. One of any length goes on in parts.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    frames: Frames,
    bytes: Vec<u8>,
}

// === impl FrameBuffer ===

impl Default for FrameBuffer {
    fn default() -> Self {
        Self {
            // Only where frames end matters.
            frames: Frames::new(Channels::Unknown),
            bytes: Vec::new(),
        }
    }
}

impl FrameBuffer {
    /// These bytes came next. Answers what may go on.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Vec<u8> {
        let held = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let end = self.frames.follow(bytes).end.map(|end| held + end);
        if end.is_none() && self.bytes.len() >= MOST {
            return self.rest();
        }
        let rest = self.bytes.split_off(end.unwrap_or(0));
        std::mem::replace(&mut self.bytes, rest)
    }

    /// What is left.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_on_whole() {
        let mut whole = FrameBuffer::default();
        assert!(whole.add(&[0x82]).is_empty());
        assert!(whole.add(&[2, b'a']).is_empty());
        assert_eq!(whole.add(&[b'b', 0x89, 0, 0x82]), [0x82, 2, b'a', b'b', 0x89, 0]);
        assert_eq!(whole.rest(), [0x82]);
    }

    #[test]
    fn long_frame_goes_on_in_parts() {
        let mut whole = FrameBuffer::default();
        assert!(whole.add(&[0x82, 127, 0, 0, 0, 0, 0, 2, 0, 0]).is_empty());
        let (mut length, mut largest) = (0, 0);
        for _ in 0..16 {
            length += whole.add(&[7; 8192]).len();
            largest = largest.max(whole.bytes.len());
        }
        assert_eq!(length, 10 + 16 * 8192);
        assert!(largest < MOST);
    }
}
