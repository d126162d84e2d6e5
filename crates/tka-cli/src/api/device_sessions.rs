//! The sessions of this device, as a server tells of them.

use crate::api::client::{Client, ClientError};
use crate::exit::Exit;
use crate::kubeconfig::session_cache::CachedSession;

/// Those that the server has; none where it lets this caller in to none.
pub(crate) fn fetch(client: &Client) -> Result<Vec<CachedSession>, ClientError> {
    match client.sessions() {
        Ok(list) => {
            let here = list.items.into_iter().filter(|session| session.this_device);
            Ok(here.map(CachedSession::from).collect())
        }
        Err(error) if error.is_unsupported() => from_original_server(client),
        Err(error) => none_if_refused(error),
    }
}

/// The one session that the original's server may have.
fn from_original_server(client: &Client) -> Result<Vec<CachedSession>, ClientError> {
    match client.session() {
        Ok(session) => Ok(vec![CachedSession::from(session.login)]),
        Err(error) => none_if_refused(error),
    }
}

/// Whoever may not sign in is not signed in.
fn none_if_refused(error: ClientError) -> Result<Vec<CachedSession>, ClientError> {
    match error.exit() {
        Exit::NotSignedIn | Exit::Refused => Ok(vec![]),
        _ => Err(error),
    }
}
