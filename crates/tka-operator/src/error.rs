//! Every way in which looking after sessions can fail.

use std::error::Error as StdError;
use std::time::Duration;

use kube::core::Status;
use kube::core::response::StatusDetails;
use thiserror::Error;
use tka_core::{Refusal, RoleName, SessionName};

use crate::records::NotRecorded;

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
    /// The API server says, when it is asked, that it would not let this server bind the role there.
    #[error("this server may not bind the ClusterRole {role} {}", place(namespace.as_deref()))]
    RoleNotAllowedThere {
        /// The role.
        role: RoleName,
        /// Where; in the whole cluster when absent.
        namespace: Option<String>,
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
    /// Another request or replica changed or ended the session at the same moment.
    #[error("the session {0} was changed by another request at the same moment")]
    Contended(String),
    /// Another replica, a request or an administrator ended the session before its sign-in was complete.
    #[error("the session {0} was ended by another request before its sign-in was complete")]
    EndedMeanwhile(SessionName),
    /// It was ended on purpose, and its caller has not signed in since. Use does not begin it again.
    #[error("the session {0} was ended on purpose, and use does not begin it again")]
    EndedOnPurpose(SessionName),
    /// Others of its user began at the same moment, and which of them the rule allows is not clear yet.
    #[error("the quota check of the session {0} did not finish: others began at the same moment")]
    Unsettled(SessionName),
    /// It could not be recorded, and nothing is given without a record.
    #[error("the audit record was not written")]
    NotRecorded(#[source] NotRecorded),
    /// It took too long.
    #[error("the request took longer than {0:?}")]
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
    #[error("the request to the Kubernetes API server failed")]
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
            Self::Contended(_)
            | Self::EndedMeanwhile(_)
            | Self::Unsettled(_)
            | Self::NotRecorded(_)
            | Self::TimedOut(_) => true,
            Self::Api(error) => match error.as_ref() {
                kube::Error::Api(status) => matches!(status.code, 409 | 429 | 500..),
                _ => true,
            },
            _ => false,
        }
    }

    /// How long the API server asks to wait before it is asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Api(error) = self else { return None };
        retry_after(status(error)?)
    }

    /// Whether what the rule gives is not, or no longer, to be had in this cluster.
    pub(crate) fn is_about_rule(&self) -> bool {
        matches!(
            self,
            Self::RoleNotAllowed { .. }
                | Self::RoleNotAllowedThere { .. }
                | Self::NoSuchRole(_)
                | Self::NoSuchNamespace(_)
                | Self::Refused(_)
        )
    }
}

fn place(namespace: Option<&str>) -> String {
    namespace.map_or_else(
        || "in the whole cluster".to_owned(),
        |name| format!("in the namespace {name}"),
    )
}

/// What `error` says, and what that was caused by, in one line.
#[must_use]
pub fn with_causes(error: &(dyn StdError + 'static)) -> String {
    messages(error)
        .reduce(|text, cause| {
            // Many errors repeat what caused them.
            if text.ends_with(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        })
        .unwrap_or_default()
}

/// What `error` says, and then what each of its causes says. Of an answer of the API server that is its message: kube prints
/// all that came with it, as a debug print.
pub fn messages(error: &(dyn StdError + 'static)) -> impl Iterator<Item = String> {
    std::iter::successors(Some(error), |&error| error.source()).filter_map(|error| {
        if let Some(status) = boxed_or_not::<Status>(error) {
            return Some(status.message.clone());
        }
        match boxed_or_not(error) {
            Some(kube::Error::Api(_)) => None,
            _ => Some(error.to_string()),
        }
    })
}

fn boxed_or_not<'e, T>(error: &'e (dyn StdError + 'static)) -> Option<&'e T>
where
    Box<T>: StdError,
    T: StdError + 'static,
{
    let boxed = || error.downcast_ref::<Box<T>>().map(Box::as_ref);
    error.downcast_ref().or_else(boxed)
}

/// What the API server answered, when it answered.
pub(crate) fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Whether what was asked for holds for another object than the one that is there, or for another version of it. A patch that names another object by its UID
/// is invalid to the API server, where a deletion is a conflict.
pub(crate) fn is_precondition_failure(status: &Status) -> bool {
    let is_uid = |details: &StatusDetails| details.causes.iter().any(|cause| cause.field == "metadata.uid");
    status.is_conflict() || (status.is_invalid() && status.details.as_ref().is_some_and(is_uid))
}

/// How long an answer asks to wait before the API server is asked again.
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    Some(Duration::from_secs(seconds.into())).filter(|retry_after| !retry_after.is_zero())
}

/// Takes "it is not there" for an answer.
pub(crate) fn ignore_not_found<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if status(&error).is_some_and(Status::is_not_found) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_of_another_uid_is_told_from_what_is_invalid() {
        let status = |code: u16, reason: &str, field: &str| -> Status {
            let details =
                serde_json::json!({"causes": [{"reason": "FieldValueInvalid", "message": "m", "field": field}]});
            let status = serde_json::json!({"status": "Failure", "message": "m", "code": code, "reason": reason, "details": details});
            serde_json::from_value(status).unwrap()
        };
        assert!(is_precondition_failure(&status(409, "Conflict", "")));
        assert!(is_precondition_failure(&status(422, "Invalid", "metadata.uid")));
        assert!(!is_precondition_failure(&status(422, "Invalid", "spec.role")));
        assert!(!is_precondition_failure(&status(403, "Forbidden", "metadata.uid")));
    }

    #[test]
    fn answers_of_the_api_server_are_told_by_their_message() {
        let status = Status::failure("pods is forbidden: no", "Forbidden").with_code(403);
        let error = Error::from(kube::Error::Api(status.boxed()));
        let expected = "the request to the Kubernetes API server failed: pods is forbidden: no";
        assert_eq!(with_causes(&error), expected);
    }
}
