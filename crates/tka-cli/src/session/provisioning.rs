//! Waiting until the server has provisioned a session.

use std::thread;
use std::time::Instant;

use tka_api::exec::ExecCredential;

use crate::api::client::{Client, ClientError, Credential, Kubeconfig};
use crate::api::retry::Pauses;
use crate::kubeconfig::server_kubeconfig::{CredentialForm, ServerKubeconfig};

/// Asks until the session is provisioned or the time is up.
pub(crate) fn fetch_when_ready(client: &Client, form: CredentialForm) -> Result<ServerKubeconfig, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let retry_after = match client.kubeconfig(form == CredentialForm::Plugin)? {
            Kubeconfig::Ready(sent) => return Ok(*sent),
            Kubeconfig::NotYet(retry_after) => retry_after,
        };
        let pause = pauses.next(retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}

/// A credential of `session`, as soon as that is provisioned.
pub(crate) fn fetch_credential(client: &Client, session: &str) -> Result<ExecCredential, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let retry_after = match client.credential(session)? {
            Credential::Ready(credential) => return Ok(credential),
            Credential::NotYet(retry_after) => retry_after,
        };
        let pause = pauses.next(retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}
