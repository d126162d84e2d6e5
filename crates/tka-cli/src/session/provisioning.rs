//! Waiting until the server has provisioned a session.

use std::thread;
use std::time::Instant;

use tka_api::exec::ExecCredential;

use crate::api::client::{Client, ClientError, CredentialResponse, KubeconfigResponse};
use crate::api::retry::PollBackoff;
use crate::kubeconfig::server_kubeconfig::{CredentialForm, ServerKubeconfig};

/// Fetches the kubeconfig. Polls until the session is provisioned or the time is up.
pub(crate) fn fetch_when_ready(client: &Client, form: CredentialForm) -> Result<ServerKubeconfig, ClientError> {
    let mut backoff = PollBackoff::new();
    loop {
        let retry_after = match client.kubeconfig(form == CredentialForm::Plugin)? {
            KubeconfigResponse::Ready(sent) => return Ok(*sent),
            KubeconfigResponse::Pending(retry_after) => retry_after,
        };
        let pause = backoff.next(retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}

/// Fetches a credential of `session`. Polls until the session is provisioned or the time is up.
pub(crate) fn fetch_credential(client: &Client, session: &str) -> Result<ExecCredential, ClientError> {
    let mut backoff = PollBackoff::new();
    loop {
        let retry_after = match client.credential(session)? {
            CredentialResponse::Ready(credential) => return Ok(credential),
            CredentialResponse::Pending(retry_after) => retry_after,
        };
        let pause = backoff.next(retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}
