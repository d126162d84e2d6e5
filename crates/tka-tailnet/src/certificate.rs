//! TLS certificates of this node's names on the tailnet.

use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::Error;
use crate::client::{LocalApi, LocalApiCall, escape};

const ENDPOINT: &str = "cert";

/// A certificate with its key. The key shows in no debug print.
#[derive(Clone, Debug)]
pub struct CertificatePair {
    /// The certificate and those it depends on, PEM, the node's own first.
    pub certificate_chain: String,
    /// Its private key, PEM.
    pub private_key: SecretString,
}

// === impl LocalApi ===

impl LocalApi {
    /// The certificate of `domain`, one of [`Status::cert_domains`](crate::Status::cert_domains).
    ///
    /// tailscaled keeps it and renews it in time, so that asking again now and then is enough to have a valid one. It
    /// obtains the first one while the call waits ([`Limits::certificate`](crate::Limits::certificate)), and later ones
    /// after it answered with the one before. With `min_validity` it answers only with one that is good for so long, and
    /// with an error when it cannot get one.
    ///
    /// # Errors
    /// [`Error::Forbidden`] unless this process may have certificates. It may as root, as tailscaled's own user or as
    /// its operator (`ipnauth.IsReadonlyConn`). It may too if tailscaled's `TS_PERMIT_CERT_UID` names its user ID
    /// (`ipnserver.CanFetchCerts`). [`Error::RateLimited`] by the certificate authority, and as every call.
    pub async fn certificate(&self, domain: &str, min_validity: Option<Duration>) -> Result<CertificatePair, Error> {
        // A duration as Go writes it (`time.ParseDuration`).
        let validity = min_validity.map_or_else(String::new, |least| format!("&min_validity={}s", least.as_secs()));
        let question = LocalApiCall {
            endpoint: ENDPOINT,
            path: &format!("cert/{}?type=pair{validity}", escape(domain)),
            time: self.limits().certificate,
        };
        CertificatePair::read(self.ask(question).await?)
    }
}

// === impl CertificatePair ===

impl CertificatePair {
    /// The answer is the key's one PEM block, then those of the certificates (`localapi.serveKeyPair`). What is wrong
    /// with it is said without any of it, for it may be a key.
    fn read(answer: Vec<u8>) -> Result<Self, Error> {
        let malformed = |why: &str| Error::Malformed {
            endpoint: ENDPOINT,
            why: why.to_owned(),
        };
        let answer = Zeroizing::new(String::from_utf8(answer).map_err(|_| malformed("it is not text"))?);
        let boundary = answer.find("--\n--");
        let boundary = boundary.ok_or_else(|| malformed("it has less than two PEM blocks"))?;
        let (key, certificates) = answer.split_at(boundary + "--\n".len());
        if !key.trim_end().ends_with(" PRIVATE KEY-----") {
            return Err(malformed("it does not begin with a private key"));
        }
        if !certificates.starts_with("-----BEGIN CERTIFICATE-----") || certificates.contains(" PRIVATE KEY-----") {
            return Err(malformed("something else than certificates follows the private key"));
        }
        Ok(Self {
            certificate_chain: certificates.to_owned(),
            private_key: SecretString::from(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n";
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\ncHVibGlj\n-----END CERTIFICATE-----\n";

    #[test]
    fn key_and_certificates_come_apart() {
        let pair = CertificatePair::read(format!("{KEY}{CERTIFICATE}{CERTIFICATE}").into_bytes()).unwrap();
        assert_eq!(pair.private_key.expose_secret(), KEY);
        assert_eq!(pair.certificate_chain, format!("{CERTIFICATE}{CERTIFICATE}"));
        assert!(!format!("{pair:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn nothing_of_a_bad_answer_is_told() {
        for bad in [
            String::new(),
            KEY.to_owned(),
            CERTIFICATE.to_owned(),
            format!("{CERTIFICATE}{KEY}"),
            format!("{KEY}{CERTIFICATE}{KEY}"),
            format!("{KEY}{KEY}"),
        ] {
            let error = CertificatePair::read(bad.into_bytes()).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }));
            assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer: Vec<u8>) {
            let _ = CertificatePair::read(answer);
        }

        #[test]
        fn no_text_panics(text in "(-|\n|-----BEGIN |PRIVATE KEY|CERTIFICATE|é){0,12}") {
            let _ = CertificatePair::read(text.into_bytes());
        }
    }
}

#[cfg(test)]
mod fuzz {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn certificate() {
        bolero::check!().for_each(|answer: &[u8]| {
            if let Ok(pair) = CertificatePair::read(answer.to_vec()) {
                assert!(pair.private_key.expose_secret().contains(" PRIVATE KEY-----"));
                assert!(!pair.certificate_chain.contains(" PRIVATE KEY-----"));
            }
        });
    }
}
