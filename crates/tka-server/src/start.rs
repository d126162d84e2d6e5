//! What serving the tailnet needs before it can begin.
//!
//! Whatever is missing is waited for: a server that ended instead would be started again and again, and no session would come to its
//! end meanwhile.

use std::net::TcpListener;
use std::time::Duration;

use tka_operator::backoff;
use tka_operator::error::with_causes;
use tka_tailnet::{LocalApi, Status};
use tokio::sync::watch;

use crate::listen::{Certificate, ListenError, addresses, bind_all};

/// How soon a tailscaled that is not there, or not on the tailnet, is asked again.
const TAILNET_RETRY: Duration = Duration::from_secs(1);
/// How long a port or a certificate that cannot be had is left alone at the most. Certificates are asked for at an authority that counts
/// failures (<https://letsencrypt.org/docs/rate-limits/>).
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// Whether the tailnet is served, or why not yet.
pub type Serving = Result<(), String>;

/// Everything there.
#[derive(Debug)]
pub struct Start {
    /// The node, as it is now.
    pub status: Status,
    /// That of the tailnet, where the port is the one for HTTPS.
    pub certificate: Option<Certificate>,
    /// One for each address.
    pub listeners: Vec<TcpListener>,
}

// === impl Start ===

impl Start {
    /// Waits until tailscaled is on the tailnet, its certificate is there and all addresses can be listened on. Meanwhile `serving` says
    /// what is missing.
    pub async fn when_possible(tailnet: &LocalApi, port: u16, serving: &watch::Sender<Serving>) -> Self {
        let mut failures = 0;
        loop {
            let status = on_tailnet(tailnet).await;
            match Self::now(tailnet, status, port).await {
                Ok(start) => return start,
                Err(error) => {
                    failures += 1;
                    let (why, wait) = (with_causes(&error), backoff(failures, None, LONGEST_RETRY));
                    tracing::error!(error = why, ?wait, "the tailnet cannot be served yet");
                    drop(serving.send_replace(Err(why)));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn now(tailnet: &LocalApi, status: Status, port: u16) -> Result<Self, ListenError> {
        // Before anything listens: whoever connected then would wait for nothing.
        let certificate = Certificate::of(tailnet, &status, port).await?;
        let listeners = bind_all(&addresses(&status, port))?;
        Ok(Self {
            status,
            certificate,
            listeners,
        })
    }
}

/// Waits until tailscaled is there and on the tailnet.
async fn on_tailnet(tailnet: &LocalApi) -> Status {
    let mut said = String::new();
    loop {
        let why = match tailnet.status().await {
            Ok(status) => match status.require_running() {
                Ok(_) => return status,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if why != said {
            tracing::warn!(why, "waiting for the tailnet");
            said = why;
        }
        tokio::time::sleep(TAILNET_RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_ever_later_and_within_a_minute() {
        let pauses = [1, 2, 3, 6, 7, u32::MAX].map(|failures| backoff(failures, None, LONGEST_RETRY).as_secs());
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60]);
    }
}
