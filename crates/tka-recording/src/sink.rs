//! Where recordings are kept.

pub mod folder;
pub mod objects;
pub mod s3;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;

use crate::name::RecordingName;

/// What a sink answers, when it has done it.
pub type SinkFuture<'a, T> = BoxFuture<'a, Result<T, SinkError>>;

/// Where recordings are kept.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Begins a recording. Nothing is kept of it before [`RecordingWriter::append`].
    fn begin(&self, name: &RecordingName, form: Encoding) -> SinkFuture<'_, Box<dyn RecordingWriter>>;
}

/// A recording that is being written.
pub trait RecordingWriter: fmt::Debug + Send {
    /// Appends `bytes`, lines that are whole. When this returns well they are kept, whatever happens to this process, and to this machine as far as the sink
    /// promises it. When it does not, or is dropped before it returns, it is not known whether they are, and nothing more can be appended.
    fn append(&mut self, bytes: Bytes) -> SinkFuture<'_, ()>;

    /// It is whole. What was kept before is kept if this fails.
    fn finish(self: Box<Self>) -> SinkFuture<'static, ()>;

    /// It is of a stream that did not begin. What was kept of it is removed.
    fn discard(self: Box<Self>) -> SinkFuture<'static, ()>;
}

/// In which form a recording is kept.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Encoding {
    /// Lines, as they are.
    Plain,
    /// Lines that are sealed, a flush each.
    Sealed,
}

/// Why a recording is not kept.
#[derive(Clone, Debug, Error)]
pub enum SinkError {
    /// The system says no. Its words, without a path: the caller of the stream reads them.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// The store does not say that it keeps it. Its words are in the log: they hold addresses.
    #[error("the store of recordings refused the write")]
    Store,
    /// The store does not give it. Its words are in the log.
    #[error("the store of recordings refused the read")]
    Unread,
    /// It cannot be sealed.
    #[error("it cannot be sealed to its recipients")]
    Seal,
    /// Something before failed, or was given up.
    #[error("it was given up")]
    GivenUp,
}

// === impl Encoding ===

impl Encoding {
    /// The end of a file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Plain => "cast",
            Self::Sealed => "cast.age",
        }
    }

    /// With what each flush ends.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Plain => "\n",
            Self::Sealed => "-----END AGE ENCRYPTED FILE-----\n",
        }
    }
}

// === impl SinkError ===

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
