//! The sessions of this device, as the server reports them.

use crate::api::client::{Client, ClientError};
use crate::exit::Exit;
use crate::kubeconfig::session_cache::CachedSession;

/// Fetches the sessions of this device. None if the caller may not sign in.
pub(crate) fn fetch(client: &Client) -> Result<Vec<CachedSession>, ClientError> {
    match client.sessions() {
        Ok(list) => {
            let of_this_device = list.items.into_iter().filter(|session| session.this_device);
            Ok(of_this_device.map(CachedSession::from).collect())
        }
        Err(error) if error.is_unsupported() => from_original_server(client),
        Err(error) => none_if_refused(error),
    }
}

/// The only session that the original's server can have.
fn from_original_server(client: &Client) -> Result<Vec<CachedSession>, ClientError> {
    match client.session() {
        Ok(session) => Ok(vec![CachedSession::from(session.login)]),
        Err(error) => none_if_refused(error),
    }
}

/// A caller without access has no session.
fn none_if_refused(error: ClientError) -> Result<Vec<CachedSession>, ClientError> {
    match error.exit() {
        Exit::NotSignedIn | Exit::Refused => Ok(vec![]),
        _ => Err(error),
    }
}
