//! Recordings of others' sessions, for callers with oversight.

pub(crate) mod cast;
pub(crate) mod export;
pub(crate) mod grep;
pub(crate) mod identities;
#[cfg(unix)]
mod keys;
mod lines;
pub(crate) mod offset;
pub(crate) mod opened;
mod plan;
pub(crate) mod play;
mod screen;
mod source;
mod stage;
pub(crate) mod text;

use std::io;
use std::path::PathBuf;

use self::identities::IdentityError;
use self::opened::OpenError;
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
    /// It is sealed to others.
    #[error("the recording {id} is sealed to others than these identities")]
    NotForUs { id: String },
    /// It is sealed, and changed since.
    #[error("the recording {id} cannot be opened")]
    OpenError { id: String, source: io::Error },
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
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
    /// The terminal does not take what a player needs.
    #[error("the terminal cannot be used for playing")]
    Terminal(#[source] io::Error),
}

// === impl RecordingError ===

impl From<ClientError> for RecordingError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl RecordingError {
    /// The recording `id` could not be read.
    pub(crate) fn unread(id: &str, source: io::Error) -> Self {
        let id = id.to_owned();
        match source.get_ref().and_then(|error| error.downcast_ref()) {
            Some(OpenError::NotForUs) => Self::NotForUs { id },
            Some(OpenError::Damaged(_)) => Self::OpenError { id, source },
            None => Self::Cut { id, source },
        }
    }

    /// What to do.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Client(error) => error.advice(),
            Self::Cut { .. } => vec!["try again; if it persists, look at the server's log".into()],
            Self::Sealed { id } => vec![
                "open it with --identity FILE, where you have the identity of a recipient".into(),
                format!(
                    "or write it to a file with `tka recordings export {id}`, and open that with age and the identity of a recipient: docs/recording.md has the lines"
                ),
            ],
            Self::NotForUs { .. } => vec![
                "name the identity of a recipient with --identity: the server's gateway.recording.recipients has the recipients".into(),
            ],
            Self::OpenError { .. } => vec![
                "ask the server's administrator to look at where recordings are kept: something changed it after it was sealed".into(),
            ],
            Self::Identity(error) => error.advice(),
            Self::NoCast { .. } => vec!["ask the server's administrator to look at where recordings are kept".into()],
            Self::Exists(_) => vec!["replace it with --force, or name another with --file".into()],
            Self::Write { .. } => vec!["name a file that you may write with --file: is the disk full?".into()],
            Self::Print(_) => vec!["check where the output goes: is the disk full?".into()],
            Self::Terminal(_) => vec!["print its text with `tka recordings cat` instead".into()],
        }
    }
}
