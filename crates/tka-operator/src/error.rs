//! Every way in which looking after sessions can fail.

use std::time::Duration;

use kube::core::Status;
use thiserror::Error;
use tka_core::{Refusal, RoleName, SessionName};

/// Why something could not be done with a session.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server does not let this server bind the role.
    #[error("this server may not bind the ClusterRole {role}")]
    RoleNotAllowed {
        /// The role.
        role: RoleName,
        /// What the API server says.
        #[source]
        source: Box<Status>,
    },
    /// The cluster has no such role.
    #[error("this cluster has no ClusterRole {0}")]
    NoSuchRole(RoleName),
    /// The cluster has no such namespace.
    #[error("this cluster has no namespace {0}")]
    NoSuchNamespace(String),
    /// The rule does not allow it.
    #[error(transparent)]
    Refused(Refusal),
    /// The session has no account to issue a credential for: it is not provisioned yet, or no longer.
    #[error("the session {0} has no ServiceAccount")]
    NoAccount(SessionName),
    /// Somebody else changed or ended the session at the same moment.
    #[error("the session {0} was changed by another request at the same moment")]
    Contended(String),
    /// It took too long.
    #[error("it took longer than {0:?}")]
    TimedOut(Duration),
    /// A `TkaSignin` holds no session of this server.
    #[error("the TkaSignin {name} is not a session: {why}")]
    NotASession {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The API server answered something that its API does not allow.
    #[error("the Kubernetes API server left out {0} from its answer")]
    Incomplete(&'static str),
    /// The API server refused, failed or could not be reached.
    #[error("the Kubernetes API server did not do what was asked")]
    Api(#[source] Box<kube::Error>),
}

// === impl Error ===

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

impl Error {
    /// Whether trying again, unchanged, may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Contended(_) | Self::TimedOut(_) => true,
            Self::Api(error) => match error.as_ref() {
                kube::Error::Api(status) => status.code == 429 || status.code >= 500,
                _ => true,
            },
            _ => false,
        }
    }
}

/// What `error` says, and what that was caused by, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Many errors repeat what caused them.
        if text.ends_with(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

/// What the API server answered, when it answered.
pub(crate) fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Takes "it is not there" for an answer.
pub(crate) fn found<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if status(&error).is_some_and(Status::is_not_found) => Ok(None),
        Err(error) => Err(error),
    }
}
