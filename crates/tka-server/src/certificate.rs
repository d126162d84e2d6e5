//! A certificate with its key: whether it can be used, for which names, until when, and when to look for the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::ExposeSecret;
use thiserror::Error;
use tka_tailnet::CertificatePair;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How often tailscaled is asked for the certificate at least.
const LONGEST_LOOK: Duration = Duration::from_hours(6);
/// How often once a renewal is due. A certificate authority allows five failures an hour (<https://letsencrypt.org/docs/rate-limits/>).
pub const LOOK_WHEN_DUE: Duration = Duration::from_hours(1);
/// Never more often than that.
const SHORTEST_LOOK: Duration = Duration::from_secs(10);

/// What a client may speak over TLS (<https://www.rfc-editor.org/rfc/rfc7301>), what is better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no certificate, or why it cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The tailnet gives no certificates.
    #[error(
        "port 443 is for HTTPS, and this tailnet gives no certificates: enable HTTPS in the tailnet's DNS settings, set tls.certFile and \
         tls.keyFile, or choose another tailscale.port for HTTP"
    )]
    NoDomain,
    /// tailscaled did not give the certificate.
    #[error("no certificate for {domain}")]
    NotGiven {
        /// The domain.
        domain: String,
        /// What tailscaled says.
        #[source]
        source: tka_tailnet::Error,
    },
    /// A file of the certificate cannot be read.
    #[error("cannot read {} (tls.certFile, tls.keyFile)", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// What there is is no PEM.
    #[error("the certificate or its private key is not PEM")]
    NotPem,
    /// There is no certificate.
    #[error("there is no certificate: a PEM block CERTIFICATE is expected, the server's own first")]
    Empty,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// TLS does not take the pair.
    #[error("the certificate and the private key cannot be used together")]
    Unusable(#[source] rustls::Error),
    /// Its time is over.
    #[error("the certificate ended at {0}: renew it")]
    Ended(Timestamp),
    /// Its time has not begun.
    #[error("the certificate begins at {0}, which is not yet: look at this machine's clock")]
    NotBegun(Timestamp),
    /// It is for other names.
    #[error("the certificate is not for {0}")]
    OtherName(String),
}

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    /// TLS with it.
    pub config: Arc<ServerConfig>,
    /// The certificate and those that it depends on.
    chain: Vec<CertificateDer<'static>>,
    begins: Timestamp,
    ends: Timestamp,
}

/// How the certificate that is served stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateState {
    /// When its time is over.
    pub ends: Timestamp,
    /// What is wrong, although it is served.
    pub trouble: Option<String>,
}

// === impl CertificateError ===

impl CertificateError {
    /// How long the certificate authority asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotGiven {
                source: tka_tailnet::Error::RateLimited { retry_after, .. },
                ..
            } => *retry_after,
            _ => None,
        }
    }
}

// === impl Certificate ===

impl Certificate {
    /// The certificate of `pair`, if it can be served at `now`.
    pub fn new(pair: &CertificatePair, now: Timestamp) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(pair.certificate_chain.as_bytes());
        let chain = chain
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CertificateError::NotPem)?;
        let (begins, ends) = times(chain.first().ok_or(CertificateError::Empty)?)?;
        let key = PrivateKeyDer::from_pem_slice(pair.private_key.expose_secret().as_bytes())
            .map_err(|_| CertificateError::NotPem)?;
        let config = tls(&chain, key).map_err(CertificateError::Unusable)?;
        if ends <= now {
            return Err(CertificateError::Ended(ends));
        }
        if now < begins {
            return Err(CertificateError::NotBegun(begins));
        }
        Ok(Self {
            config,
            chain,
            begins,
            ends,
        })
    }

    /// When its time is over.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Whether the other is the same one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain
    }

    /// Whether a client that calls the server `name` accepts it.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let Some(own) = self.chain.first() else { return false };
        let own = webpki::EndEntityCert::try_from(own);
        let name = ServerName::try_from(name);
        matches!((own, name), (Ok(own), Ok(name)) if own.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// How long to wait before the next is asked for. When two thirds of the time are over, tailscaled renews it, and hands out the old one
    /// meanwhile (`feature/acme/cert.go`).
    #[must_use]
    pub fn next_look(&self, now: Timestamp) -> Duration {
        let (third, left) = (self.lifetime() / 3, self.left(now));
        let wait = match left.checked_sub(third) {
            Some(until_due) if !until_due.is_zero() => until_due.min(LONGEST_LOOK),
            _ => (left / 4).min(LOOK_WHEN_DUE),
        };
        wait.max(SHORTEST_LOOK)
    }

    /// How long the next one must at least be good for, when the renewal is late. Asked so, tailscaled renews before it answers, and says
    /// why it cannot.
    #[must_use]
    pub fn required_validity(&self, now: Timestamp) -> Option<Duration> {
        let late = self.lifetime() / 6;
        (self.left(now) < late).then_some(late)
    }

    fn lifetime(&self) -> Duration {
        positive(self.ends.duration_since(self.begins))
    }

    fn left(&self, now: Timestamp) -> Duration {
        positive(self.ends.duration_since(now))
    }
}

fn positive(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

/// When a certificate begins and ends.
fn times(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), CertificateError> {
    let malformed = |why: String| CertificateError::Malformed(why);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| malformed(error.to_string()))?;
    let validity = certificate.validity();
    let time = |seconds| Timestamp::from_second(seconds).map_err(|error| malformed(error.to_string()));
    Ok((
        time(validity.not_before.timestamp())?,
        time(validity.not_after.timestamp())?,
    ))
}

/// TLS with that pair. A key that does not belong to the certificate is refused.
fn tls(chain: &[CertificateDer<'static>], key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.to_vec(), key)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

// === impl CertificateState ===

impl CertificateState {
    /// Whether clients accept it at `now`, and what is wrong all the same.
    pub fn check(&self, now: Timestamp) -> Result<Option<String>, String> {
        if now < self.ends {
            return Ok(self.trouble.clone());
        }
        let trouble = self.trouble.as_deref().unwrap_or("no other has come");
        Err(format!("the certificate ended at {}: {trouble}", self.ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    const DAY: u64 = 24 * 60 * 60;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap()
    }

    /// One that begins at 0 and ends after `seconds`.
    fn pair(names: &[&str], seconds: u64) -> CertificatePair {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names: Vec<_> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let begin = std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        params.not_before = begin.into();
        params.not_after = (begin + Duration::from_secs(seconds)).into();
        let key = KeyPair::generate().unwrap();
        CertificatePair {
            certificate_chain: params.self_signed(&key).unwrap().pem(),
            private_key: key.serialize_pem().into(),
        }
    }

    fn certificate(days: u64) -> Certificate {
        Certificate::new(&pair(&["tka.tailnet.test"], days * DAY), at(0)).unwrap()
    }

    #[test]
    fn both_protocols_are_offered() {
        assert_eq!(
            certificate(1).config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }

    #[test]
    fn it_is_for_its_names_only() {
        let made = pair(&["tka.tailnet.test", "*.example.com"], DAY);
        let certificate = Certificate::new(&made, at(0)).unwrap();
        for name in ["tka.tailnet.test", "TKA.tailnet.test", "a.example.com"] {
            assert!(certificate.is_for(name), "{name}");
        }
        for name in ["other.tailnet.test", "example.com", "a.b.example.com", "", "not a name"] {
            assert!(!certificate.is_for(name), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused_and_said() {
        let (good, other) = (pair(&["a"], DAY), pair(&["a"], DAY));
        let with = |chain: &str, key: &CertificatePair| CertificatePair {
            certificate_chain: chain.to_owned(),
            private_key: key.private_key.clone(),
        };
        let swapped = CertificatePair {
            certificate_chain: good.private_key.expose_secret().to_owned(),
            private_key: good.certificate_chain.clone().into(),
        };
        let cut = &good.certificate_chain[..good.certificate_chain.len() / 2];
        for (pair, why) in [
            (with(&good.certificate_chain, &other), "cannot be used together"),
            (with("", &good), "there is no certificate"),
            (with(cut, &good), "not PEM"),
            (swapped, "there is no certificate"),
            (
                with("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &good),
                "cannot be read",
            ),
        ] {
            let error = Certificate::new(&pair, at(0)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            let told = tka_operator::error::with_causes(&error);
            assert!(
                !told.contains("PRIVATE KEY") && !format!("{error:?}").contains("PRIVATE KEY"),
                "{told}"
            );
        }
        for now in [DAY, DAY + 1] {
            let error = Certificate::new(&good, at(now)).unwrap_err();
            assert!(matches!(error, CertificateError::Ended(ended) if ended == at(DAY)));
        }
        let early = at(0) - SignedDuration::from_secs(1);
        let error = Certificate::new(&good, early).unwrap_err();
        assert!(matches!(error, CertificateError::NotBegun(begin) if begin == at(0)));
    }

    #[test]
    fn next_one_is_asked_for_ever_sooner() {
        let hours = |days: u64, passed: u64| certificate(days).next_look(at(passed)).as_secs() / 3600;
        assert_eq!(hours(90, 0), 6);
        assert_eq!(hours(90, 60 * DAY - 7200), 2, "when the renewal is due");
        assert_eq!(hours(90, 60 * DAY), 1);
        assert_eq!(hours(6, 4 * DAY), 1);
        let end = certificate(6).next_look(at(6 * DAY - 60));
        assert_eq!(end, Duration::from_secs(15));
        assert_eq!(certificate(6).next_look(at(7 * DAY)), SHORTEST_LOOK);
    }

    #[test]
    fn late_renewal_is_demanded() {
        let required = |passed: u64| certificate(90).required_validity(at(passed * DAY));
        assert_eq!(required(0), None);
        assert_eq!(required(74), None, "tailscaled has had two weeks");
        assert_eq!(required(76), Some(Duration::from_secs(15 * DAY)));
        assert_eq!(required(100), Some(Duration::from_secs(15 * DAY)));
    }

    #[test]
    fn trouble_is_a_note_until_the_end() {
        let standing = |trouble: Option<&str>| CertificateState {
            ends: at(10),
            trouble: trouble.map(Into::into),
        };
        assert_eq!(standing(None).check(at(9)), Ok(None));
        assert_eq!(standing(Some("bad file")).check(at(9)), Ok(Some("bad file".into())));
        let ended = standing(Some("bad file")).check(at(10)).unwrap_err();
        assert!(ended.contains("ended at 2027") && ended.contains("bad file"), "{ended}");
        assert!(standing(None).check(at(11)).is_err());
    }
}
