//! Recordings of others' sessions, for callers with oversight.

pub(crate) mod cast;
pub(crate) mod export;
pub(crate) mod text;

use std::io;
use std::path::PathBuf;

use crate::api::client::ClientError;

/// Why a recording cannot be read, or is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    /// The server does not give it.
    #[error("{}", .0.what())]
    Client(ClientError),
    /// The connection broke in the middle, or the server could not read on.
    #[error("the recording {id} did not come to its end")]
    Cut { id: String, source: io::Error },
    /// Only its recipients read it.
    #[error("the recording {id} is sealed")]
    Sealed { id: String },
    /// It is no asciicast.
    #[error("what the server sent as the recording {id} is no recording")]
    NoCast { id: String },
    /// There is a file already.
    #[error("there is a file {} already", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
}

// === impl RecordingError ===

impl From<ClientError> for RecordingError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl RecordingError {
    /// What to do.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Client(error) => error.advice(),
            Self::Cut { .. } => vec!["try again; if it persists, look at the server's log".into()],
            Self::Sealed { id } => vec![format!(
                "write it to a file with `tka recordings export {id}`, and open that with age and the identity of a recipient: docs/recording.md has the lines"
            )],
            Self::NoCast { .. } => vec!["ask the server's administrator to look at where recordings are kept".into()],
            Self::Exists(_) => vec!["replace it with --force, or name another with --file".into()],
            Self::Write { .. } => vec!["name a file that you may write with --file: is the disk full?".into()],
            Self::Print(_) => vec!["check where the output goes: is the disk full?".into()],
        }
    }
}
