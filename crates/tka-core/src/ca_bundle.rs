//! The certificates that clients verify the Kubernetes API server with.

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use crate::private_key;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const CERTIFICATE: &str = "CERTIFICATE";
/// The width of PEM's lines (RFC 7468, section 2).
const LINE_BYTES: usize = 64;

/// One or more X.509 certificates, and nothing else: whatever stood beside them is dropped, so that it is handed to no one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaBundle(Vec<CertificateDer<'static>>);

/// Why a text is no [`CaBundle`]. None shows any of the text: it may be secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CaBundleError {
    /// A private key is in it.
    #[error("it holds a private key: remove the key, and replace it if others could read it")]
    PrivateKey,
    /// It is neither PEM nor base64.
    #[error("it is neither a PEM certificate nor one in base64")]
    NeitherPemNorBase64,
    /// It is base64 of something else.
    #[error("its base64 holds no PEM: encode the file that begins with -----BEGIN CERTIFICATE-----")]
    NotPem,
    /// It is base64 of base64.
    #[error("it is in base64 twice: encode it once")]
    Twice,
    /// It begins with a byte order mark, which keeps kubectl from seeing the first certificate.
    #[error("it begins with a byte order mark: save it as UTF-8 without one")]
    ByteOrderMark,
    /// Line breaks are written as a backslash and an n.
    #[error("its line breaks are written as `\\n`: use real ones, in YAML a block that begins with `|`")]
    EscapedLineBreaks,
    /// Line breaks have become spaces.
    #[error("its lines are folded into one: in YAML, use `|` instead of `>`")]
    Folded,
    /// A marker is not at the beginning of its line.
    #[error("line {line}: `-----BEGIN` or `-----END` is not at the beginning of its line")]
    Indented {
        /// Counted from 1.
        line: usize,
    },
    /// A marker is damaged.
    #[error("line {line}: this is no whole `-----BEGIN …-----` or `-----END …-----`")]
    Marker {
        /// Counted from 1.
        line: usize,
    },
    /// A block has no end, or an end has no block.
    #[error("line {line}: the block is cut off, its `-----BEGIN` or its `-----END` is missing")]
    CutOff {
        /// Counted from 1.
        line: usize,
    },
    /// A certificate in a form that kubectl passes over.
    #[error("line {line}: kubectl does not read a {label}: `openssl x509` turns it into a CERTIFICATE")]
    OtherForm {
        /// Counted from 1.
        line: usize,
        /// Which.
        label: &'static str,
    },
    /// A block that is called a certificate and is none.
    #[error("certificate {number} is not base64 of an X.509 certificate")]
    NotACertificate {
        /// Counted from 1.
        number: usize,
    },
    /// No certificate is in it.
    #[error("it holds no CERTIFICATE block")]
    NoCertificate,
}

// === impl CaBundle ===

impl CaBundle {
    /// Reads PEM, or PEM in base64.
    ///
    /// Where kubectl would pass over a damaged certificate and go on with the others (Go's
    /// [`AppendCertsFromPEM`](https://pkg.go.dev/crypto/x509#CertPool.AppendCertsFromPEM)), the text is refused: it was meant to count.
    pub fn parse(text: &str) -> Result<Self, CaBundleError> {
        let pem = pem(text)?;
        let mut certificates = Vec::new();
        for (number, body) in (1..).zip(certificate_bodies(&pem)?) {
            let certificate = certificate(body).ok_or(CaBundleError::NotACertificate { number })?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(CaBundleError::NoCertificate);
        }
        Ok(Self(certificates))
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// PEM in base64, as a kubeconfig holds it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.to_pem().as_bytes())
    }

    fn to_pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.0 {
            pem += "-----BEGIN CERTIFICATE-----\n";
            let encoded = BASE64.encode(certificate);
            for (at, letter) in encoded.chars().enumerate() {
                if at > 0 && at % LINE_BYTES == 0 {
                    pem.push('\n');
                }
                pem.push(letter);
            }
            pem += "\n-----END CERTIFICATE-----\n";
        }
        pem
    }
}

/// The PEM that `text` is, or holds in base64.
fn pem(text: &str) -> Result<String, CaBundleError> {
    refuse_private_key(text)?;
    if text.contains(DASHES) {
        return Ok(text.into());
    }
    let decoded = decode(text).ok_or(CaBundleError::NeitherPemNorBase64)?;
    refuse_private_key(&decoded)?;
    if decoded.contains(DASHES) {
        return Ok(decoded);
    }
    let Some(inner) = decode(&decoded) else {
        return Err(CaBundleError::NotPem);
    };
    refuse_private_key(&inner)?;
    Err(if inner.contains(DASHES) {
        CaBundleError::Twice
    } else {
        CaBundleError::NotPem
    })
}

/// What `base64` holds. Comments may be in any encoding.
fn decode(base64: &str) -> Option<String> {
    let compact: String = base64.split_whitespace().collect();
    let bytes = BASE64.decode(compact.as_bytes()).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// It counts wherever it stands, in a comment too: others can read what the configuration holds.
fn refuse_private_key(text: &str) -> Result<(), CaBundleError> {
    if private_key::is_in(text) {
        return Err(CaBundleError::PrivateKey);
    }
    Ok(())
}

/// The bodies of the certificates in `pem`, if all markers are where kubectl looks for them. A commented-out certificate is none.
fn certificate_bodies(pem: &str) -> Result<Vec<&str>, CaBundleError> {
    if pem.starts_with('\u{feff}') {
        return Err(CaBundleError::ByteOrderMark);
    }
    let (mut bodies, mut open, mut is_folded) = (Vec::new(), None, false);
    let mut at = 0;
    for (line, text) in (1..).zip(pem.split('\n')) {
        let begins = at;
        at += text.len() + 1;
        match (marker(text, line)?, open) {
            (Marker::None, _) => {}
            (Marker::Comment { is_whole_block }, _) => is_folded |= is_whole_block,
            (Marker::Begin(label), None) => {
                refuse_other_form(label, line)?;
                open = Some((label, line, at));
            }
            (Marker::End(label), Some((begun, _, body))) if label == begun => {
                if label == CERTIFICATE {
                    bodies.push(&pem[body..begins]);
                }
                open = None;
            }
            (Marker::Begin(_) | Marker::End(_), Some((_, line, _))) => return Err(CaBundleError::CutOff { line }),
            (Marker::End(_), None) => return Err(CaBundleError::CutOff { line }),
        }
    }
    match open {
        Some((_, line, _)) => Err(CaBundleError::CutOff { line }),
        None if bodies.is_empty() && is_folded => Err(CaBundleError::Folded),
        None => Ok(bodies),
    }
}

/// The certificate whose body that is. Blanks, tabs and line ends do not count, as in Go's
/// [`encoding/pem`](https://cs.opensource.google/go/go/+/master:src/encoding/pem/pem.go).
fn certificate(body: &str) -> Option<CertificateDer<'static>> {
    let base64: String = body
        .chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'))
        .collect();
    let certificate = CertificateDer::from(BASE64.decode(base64.as_bytes()).ok()?);
    is_x509(&certificate).then_some(certificate)
}

enum Marker<'a> {
    None,
    /// One that is commented out. Whether the line has a block from its beginning to its end: perhaps it is a file whose lines are folded into
    /// one, and which begins with a comment.
    Comment {
        is_whole_block: bool,
    },
    Begin(&'a str),
    End(&'a str),
}

/// What a line marks.
fn marker(text: &str, line: usize) -> Result<Marker<'_>, CaBundleError> {
    let text = text.strip_suffix('\r').unwrap_or(text).trim_end_matches([' ', '\t']);
    let found = text.matches(BEGIN).count() + text.matches(END).count();
    if found == 0 {
        return Ok(Marker::None);
    }
    if text.contains("\\n") {
        return Err(CaBundleError::EscapedLineBreaks);
    }
    if text.trim_start().starts_with('#') {
        let is_whole_block = found > 1;
        return Ok(Marker::Comment { is_whole_block });
    }
    let (begin, end) = (text.strip_prefix(BEGIN), text.strip_prefix(END));
    let Some(label) = begin.or(end) else {
        return Err(if found > 1 {
            CaBundleError::Folded
        } else {
            CaBundleError::Indented { line }
        });
    };
    let Some((label, "")) = label.split_once(DASHES) else {
        let is_folded = label.split_once(DASHES).is_some_and(|(_, rest)| rest.starts_with(' '));
        return Err(if is_folded {
            CaBundleError::Folded
        } else {
            CaBundleError::Marker { line }
        });
    };
    Ok(if begin.is_some() {
        Marker::Begin(label)
    } else {
        Marker::End(label)
    })
}

/// Other blocks are left out, such as revocation lists and parameters.
fn refuse_other_form(label: &str, line: usize) -> Result<(), CaBundleError> {
    let forms = ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"];
    match forms.into_iter().find(|form| *form == label) {
        Some(label) => Err(CaBundleError::OtherForm { line, label }),
        None => Ok(()),
    }
}

fn is_x509(certificate: &CertificateDer<'_>) -> bool {
    webpki::anchor_from_trusted_cert(certificate).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("testdata/ca.pem");
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nTk9UIEEgUkVBTCBLRVk=\n-----END EC PRIVATE KEY-----\n";

    /// What becomes of a text, and of the same in base64.
    fn outcome(text: &str) -> Result<String, CaBundleError> {
        let plain = CaBundle::parse(text).map(|bundle| bundle.to_pem());
        let encoded = CaBundle::parse(&BASE64.encode(text.as_bytes())).map(|bundle| bundle.to_pem());
        assert_eq!(plain, encoded, "{text}");
        plain
    }

    /// `cases.md 3`: what kubectl reads is read, be it PEM or base64 of it, and what is kept are the certificates.
    #[test]
    fn certificates_are_kept_and_nothing_else() {
        let commented = format!("# {}\n", CA.trim_end().replace('\n', "\n# "));
        let crl = "-----BEGIN X509 CRL-----\nTUlJQg==\n-----END X509 CRL-----\n";
        for text in [
            CA.to_owned(),
            CA.trim_end().to_owned(),
            format!("# the CA of prod — März\n\n{CA}"),
            format!("subject=CN = kubernetes\nissuer=CN = kubernetes\n{CA}\nthe end"),
            format!("not the private key\n{CA}"),
            CA.replace('\n', "\r\n"),
            CA.replace('\n', " \n"),
            CA.replace('\n', "\t\n"),
            CA.replace('\n', " \t\r\n"),
            CA.replace('\n', "\n\t").replace("\t-----", "-----"),
            CA.replace('\n', "\n\n"),
            format!("{crl}{CA}{crl}"),
            format!("{commented}{CA}"),
            format!("{CA}{commented}"),
            format!("  {}{CA}", commented.replace("# ", "#")),
            format!("# put it between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----\n{CA}"),
            format!("# -----BEGIN CERTIFICATE and so on\n{CA}"),
        ] {
            assert_eq!(outcome(&text).as_deref(), Ok(CA), "{text}");
        }
        assert_eq!(outcome(&format!("{CA}# second\n{CA}")), Ok(format!("{CA}{CA}")));
        let base64 = BASE64.encode(CA.as_bytes());
        let wrapped = format!(" {}\n  {}\n", &base64[..76], &base64[76..]);
        assert_eq!(CaBundle::parse(&wrapped).unwrap().to_base64(), base64);
    }

    /// `cases.md 3`: a private key is refused in whatever form, and no error shows it.
    #[test]
    fn private_key_is_refused_and_never_shown() {
        for key in [
            KEY.to_owned(),
            KEY.replace("EC ", ""),
            KEY.replace("EC ", "ENCRYPTED "),
            KEY.replace('\n', "\r\n"),
            KEY.replace('\n', " "),
            KEY.replace('\n', "\\n"),
            KEY.to_lowercase(),
            KEY.replace("-----END EC PRIVATE KEY-----\n", ""),
            KEY.replace('\n', "\n    "),
            format!("# {}\n", KEY.trim_end().replace('\n', "\n# ")),
            KEY.replace("EC PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
            KEY.replace("PRIVATE KEY", "PRIVATE\u{200b}KEY"),
            format!("# {}\n", BASE64.encode(KEY.as_bytes())),
            "PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\nTk9UIEEgUkVBTCBLRVk=\n".to_owned(),
        ] {
            for text in [
                key.clone(),
                format!("{CA}{key}"),
                format!("{key}{CA}"),
                format!("{CA}{key}{CA}"),
            ] {
                assert_eq!(outcome(&text), Err(CaBundleError::PrivateKey), "{text}");
            }
        }
        let twice = BASE64.encode(BASE64.encode(KEY.as_bytes()).as_bytes());
        assert_eq!(CaBundle::parse(&twice), Err(CaBundleError::PrivateKey));
        assert!(!CaBundleError::PrivateKey.to_string().contains("Tk9U"));
    }

    /// `cases.md 3`: what kubectl would pass over is refused, and the error says what happened to it.
    #[test]
    fn damaged_pem_is_refused_and_the_error_says_how() {
        let body = CA.lines().nth(1).unwrap();
        let cut_off = |line| CaBundleError::CutOff { line };
        let indented = |line| CaBundleError::Indented { line };
        let not_a_certificate = |number| CaBundleError::NotACertificate { number };
        let label = "TRUSTED CERTIFICATE";
        let blank_lines = CA.trim_end().replace('\n', "\n\n");
        let short_end = CA.replace("-----END CERTIFICATE-----", "-----END CERTIFICATE---");
        let encrypted = CA.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1);
        let public_key = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----";
        let no_x509 = public_key.replace("PUBLIC KEY", "CERTIFICATE");
        let other_form = CaBundleError::OtherForm { line: 1, label };
        for (text, expected) in [
            (CA.replace('\n', " "), CaBundleError::Folded),
            (blank_lines.replace("\n\n", " "), CaBundleError::Folded),
            (CA.replace('\n', "\\n"), CaBundleError::EscapedLineBreaks),
            (format!("# the CA {}", CA.replace('\n', " ")), CaBundleError::Folded),
            (
                format!("# the CA\\n{}", CA.replace('\n', "\\n")),
                CaBundleError::EscapedLineBreaks,
            ),
            (CA.replace(body, &format!("# {body}")), not_a_certificate(1)),
            (CA.replace(body, &format!("{body}\u{a0}")), not_a_certificate(1)),
            (CA.replace("-----END", "# -----END"), cut_off(1)),
            (format!("# {CA}"), cut_off(11)),
            (
                CA.replace("E-----\n", "E-----\u{a0}\n"),
                CaBundleError::Marker { line: 1 },
            ),
            (CA.replace('\n', "\n  "), indented(10)),
            (format!("  {CA}"), indented(1)),
            (format!("\u{feff}{CA}"), CaBundleError::ByteOrderMark),
            (CA[..CA.len() / 2].to_owned(), cut_off(1)),
            (CA.replace("-----END CERTIFICATE-----\n", ""), cut_off(1)),
            (short_end, CaBundleError::Marker { line: 11 }),
            (CA.replace("-----BEGIN CERTIFICATE-----\n", ""), cut_off(10)),
            (CA.replace("CERTIFICATE", label), other_form),
            (CA.replace(body, "!!!!"), not_a_certificate(1)),
            (CA.replace(body, ""), not_a_certificate(1)),
            (format!("{CA}{}", CA.replace(body, "")), not_a_certificate(2)),
            (encrypted, not_a_certificate(1)),
            (no_x509, not_a_certificate(1)),
            (public_key.into(), CaBundleError::NoCertificate),
            ("# -----".into(), CaBundleError::NoCertificate),
        ] {
            let line_ten = [indented(10), cut_off(10), cut_off(11)].contains(&expected);
            let found = outcome(&text);
            match (&found, line_ten) {
                (Err(CaBundleError::Indented { .. } | CaBundleError::CutOff { .. }), true) => {}
                _ => assert_eq!(found, Err(expected), "{text}"),
            }
        }
        let base64 = BASE64.encode(CA.as_bytes());
        let parse = |text: &str| CaBundle::parse(text).unwrap_err();
        assert_eq!(parse(&BASE64.encode(base64.as_bytes())), CaBundleError::Twice);
        assert_eq!(parse(&base64[..base64.len() - 3]), CaBundleError::NeitherPemNorBase64);
        assert_eq!(parse("not base64!"), CaBundleError::NeitherPemNorBase64);
        assert_eq!(parse("bm90IGEgY2VydA=="), CaBundleError::NotPem);
        assert_eq!(parse(""), CaBundleError::NotPem);
    }
}
