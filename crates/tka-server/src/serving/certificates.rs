//! The certificate that the tailnet is served with, and the next one.
//!
//! It changes under the listeners: connections that are open keep what they began with. One that cannot be used changes nothing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use axum_server::tls_rustls::RustlsConfig;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tka_operator::error::with_causes;
use tka_operator::{Clock, backoff};
use tka_tailnet::{CertificatePair, LocalApi};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::certificate::{Certificate, CertificateError, CertificateState, LOOK_WHEN_DUE};
use crate::file_watch::FileWatch;

/// More than any certificate or key has, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Where certificates come from.
pub enum Source {
    /// From tailscaled, for the node's name.
    Tailnet(Box<LocalApi>),
    /// From files, for whatever names an administrator chose.
    Files(Box<Files>),
}

/// A certificate in files.
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    watch: FileWatch,
}

/// The certificate, where it comes from, and how it stands.
pub(super) struct Certificates {
    source: Source,
    clock: Clock,
    standing: watch::Sender<Option<CertificateState>>,
    current: Option<Current>,
    /// Why a newer one is not served.
    trouble: Option<String>,
    /// How often in a row a newer one was asked for in vain.
    failures: u32,
}

struct Current {
    /// What the node is called by the certificate.
    name: String,
    certificate: Certificate,
    /// What all listeners serve with.
    served: RustlsConfig,
    /// When to ask tailscaled again.
    look: Instant,
}

// === impl Files ===

impl Files {
    /// These files, which are watched from now on.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        let watch = FileWatch::new(vec![certificate.clone(), key.clone()]);
        Self {
            certificate,
            key,
            watch,
        }
    }

    /// What they hold now. A file that is slow to read holds up the certificate only.
    async fn read(&self) -> Result<CertificatePair, CertificateError> {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        let read = tokio::task::spawn_blocking(move || {
            let certificate_chain = read(&certificate)?.to_string();
            let private_key = SecretString::from(read(&key)?.as_str());
            Ok(CertificatePair {
                certificate_chain,
                private_key,
            })
        });
        read.await.unwrap_or_else(|error| {
            Err(CertificateError::Unreadable {
                path: self.certificate.clone(),
                source: io::Error::other(error),
            })
        })
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = Zeroizing::new(String::new());
    let read = file.take(LONGEST_FILE).read_to_string(&mut text);
    match read {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(CertificateError::NotPem),
        Err(error) => Err(unreadable(error)),
    }
}

// === impl Certificates ===

impl Certificates {
    pub(super) fn new(source: Source, clock: Clock, standing: watch::Sender<Option<CertificateState>>) -> Self {
        Self {
            source,
            clock,
            standing,
            current: None,
            trouble: None,
            failures: 0,
        }
    }

    /// What a listener serves with.
    pub(super) fn served(&self) -> Option<RustlsConfig> {
        self.current.as_ref().map(|current| current.served.clone())
    }

    /// Sees that there is a certificate for the node, which is called `name`, and `domain` in certificates of the tailnet.
    pub(super) async fn ensure(&mut self, name: &str, domain: Option<&str>) -> Result<(), CertificateError> {
        let is_of_tailnet = matches!(self.source, Source::Tailnet(_));
        let name = match domain {
            _ if !is_of_tailnet => name,
            Some(domain) => domain,
            None => return Err(CertificateError::NoDomain),
        };
        match &mut self.current {
            Some(current) if current.name == name => return Ok(()),
            Some(current) if !is_of_tailnet => {
                name.clone_into(&mut current.name);
                self.tell();
                return Ok(());
            }
            _ => {}
        }
        let certificate = self.obtain(name).await?;
        self.install(name, certificate);
        Ok(())
    }

    /// Returns when there may be another certificate. Cancelling misses none.
    pub(super) async fn due(&mut self) {
        match (&mut self.source, &self.current) {
            (Source::Files(files), _) => files.watch.changed().await,
            (Source::Tailnet(_), Some(current)) => sleep_until(current.look).await,
            (Source::Tailnet(_), None) => std::future::pending().await,
        }
    }

    /// Looks for another certificate than the one that is served. Says whether one is.
    pub(super) async fn look_again(&mut self) -> bool {
        let Some(name) = self.current.as_ref().map(|current| current.name.clone()) else {
            return false;
        };
        match self.obtain(&name).await {
            Ok(certificate) => self.install(&name, certificate),
            Err(error) => self.keep(&error),
        }
        true
    }

    async fn obtain(&self, name: &str) -> Result<Certificate, CertificateError> {
        let now = (self.clock)();
        let pair = match &self.source {
            Source::Tailnet(tailnet) => {
                let current = self.current.as_ref().filter(|current| current.name == name);
                let validity = current.and_then(|current| current.certificate.required_validity(now));
                let given = tailnet.certificate(name, validity).await;
                given.map_err(|source| CertificateError::NotGiven {
                    domain: name.to_owned(),
                    source,
                })?
            }
            Source::Files(files) => files.read().await?,
        };
        let certificate = Certificate::new(&pair, (self.clock)())?;
        if matches!(self.source, Source::Tailnet(_)) && !certificate.is_for(name) {
            return Err(CertificateError::OtherName(name.to_owned()));
        }
        Ok(certificate)
    }

    fn install(&mut self, name: &str, certificate: Certificate) {
        let look = Instant::now() + certificate.next_look((self.clock)());
        let is_new = !self
            .current
            .as_ref()
            .is_some_and(|current| current.certificate.is_same(&certificate));
        if is_new {
            tracing::info!(name, ends = %certificate.ends(), "serving with a new certificate");
        }
        let served = match self.current.take() {
            // The key may be another, be the certificate the same.
            Some(current) => {
                current.served.reload_from_config(certificate.config.clone());
                current.served
            }
            None => RustlsConfig::from_config(certificate.config.clone()),
        };
        self.current = Some(Current {
            name: name.to_owned(),
            certificate,
            served,
            look,
        });
        (self.trouble, self.failures) = (None, 0);
        self.tell();
    }

    /// What is served stays, since there is nothing better.
    fn keep(&mut self, error: &CertificateError) {
        let retry_after = error.retry_after();
        let error = with_causes(error);
        tracing::error!(
            error,
            "cannot serve with a new certificate; the current one stays in use"
        );
        let now = (self.clock)();
        self.failures = self.failures.saturating_add(1);
        // Each try may be one at the certificate authority, which counts failures, also when the time is nearly over.
        let least = backoff(self.failures, retry_after, LOOK_WHEN_DUE);
        if let Some(current) = &mut self.current {
            current.look = Instant::now() + current.certificate.next_look(now).max(least);
        }
        self.trouble = Some(format!("a new certificate cannot be used: {error}"));
        self.tell();
    }

    /// Says how the certificate stands.
    fn tell(&self) {
        let Some(current) = &self.current else { return };
        let other_name = (!current.certificate.is_for(&current.name)).then(|| {
            let name = &current.name;
            format!("the certificate is not for {name}, so that callers by this name refuse it")
        });
        self.standing.send_replace(Some(CertificateState {
            ends: current.certificate.ends(),
            trouble: self.trouble.clone().or(other_name),
        }));
    }
}

#[cfg(test)]
mod tests;
