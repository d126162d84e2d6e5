//! Recordings that are kept: which there are, what is known of each, and its bytes as they are stored.
//!
//! A reader opens nothing that is sealed, and changes nothing. It reads what [`RecordingName`]s lead to and nothing else.

mod folder;
mod objects;

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::name::RecordingName;
use crate::sink::{Encoding, SinkError, SinkFuture};

/// The longest first line that is read, in bytes. The command of an exec is in it.
const FIRST_LINE: usize = 512 * 1024;

/// The bytes of a recording, piece by piece: no more than a piece is in memory.
pub type Content = BoxStream<'static, Result<Bytes, SinkError>>;

/// Where recordings are read.
pub trait Reader: fmt::Debug + Send + Sync {
    /// The names of all, newest first.
    fn names(&self) -> SinkFuture<'_, Vec<RecordingName>>;

    /// What is known of one; none where there is none of that name.
    fn details(&self, name: &RecordingName) -> SinkFuture<'_, Option<Details>>;

    /// The bytes of one, up to the end of what was last kept as a whole; none where there is none of that name.
    fn content(&self, name: &RecordingName) -> SinkFuture<'_, Option<(Encoding, Content)>>;
}

/// What is known of a recording.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Details {
    /// Whether it is sealed. Who reads it is for its recipients to say then: the first line is inside.
    pub form: Encoding,
    /// Whether it has no end: it is still being written, or was when its server was killed. None where the store does not tell.
    pub is_open: Option<bool>,
    /// How many bytes are stored.
    pub size: u64,
    /// The first line, where it can be read.
    pub first_line: Option<String>,
}

/// The first line of what begins with `bytes`, if it ends there.
fn first_line(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    String::from_utf8(bytes[..end].to_vec()).ok()
}
