//! Waiting until the server has provisioned a session.

use std::thread;
use std::time::Instant;

use tka_api::exec::ExecCredential;

use crate::api::client::{Client, ClientError, Provisioned};
use crate::api::retry::PollBackoff;
use crate::kubeconfig::server_kubeconfig::{AuthMethod, ServerKubeconfig};

/// Fetches the kubeconfig. Polls until the session is provisioned or the time is up.
pub(crate) fn fetch_when_ready(client: &Client, form: AuthMethod) -> Result<ServerKubeconfig, ClientError> {
    poll(client, || client.kubeconfig(form)).map(|sent| *sent)
}

/// Fetches a credential of `session`. Polls until the session is provisioned or the time is up.
pub(crate) fn fetch_credential(client: &Client, session: &str) -> Result<ExecCredential, ClientError> {
    poll(client, || client.credential(session))
}

fn poll<T>(client: &Client, fetch: impl Fn() -> Result<Provisioned<T>, ClientError>) -> Result<T, ClientError> {
    let mut backoff = PollBackoff::new();
    loop {
        let pause = match fetch()? {
            Provisioned::Ready(fetched) => return Ok(fetched),
            Provisioned::Pending(retry_after) => backoff.next(retry_after),
        };
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}
