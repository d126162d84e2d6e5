//! Waiting until the server has provisioned a session.

use std::thread;
use std::time::Instant;

use tka_api::exec::ExecCredential;

use crate::api::client::{Client, ClientError, Credential, Kubeconfig};
use crate::api::retry::Pauses;
use crate::kubeconfig::server_kubeconfig::{Form, Sent};

/// Asks until the session is provisioned or the time is up.
pub(crate) fn fetch_when_ready(client: &Client, form: Form) -> Result<Sent, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let asked = match client.kubeconfig(form == Form::Plugin)? {
            Kubeconfig::Ready(sent) => return Ok(*sent),
            Kubeconfig::NotYet(asked) => asked,
        };
        let pause = pauses.next(asked);
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
        let asked = match client.credential(session)? {
            Credential::Ready(credential) => return Ok(credential),
            Credential::NotYet(asked) => asked,
        };
        let pause = pauses.next(asked);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}
