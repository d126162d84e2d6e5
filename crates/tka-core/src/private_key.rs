//! Whether a text holds a private key, in whatever form: it is to be refused where certificates alone belong.

use data_encoding::BASE64;

/// What every marker of a private key says, without its blanks.
const MARK: &str = "PRIVATEKEY";
/// The longest kind that stands before it is `SSH2 ENCRYPTED`.
const KIND_LETTERS: usize = "SSH2ENCRYPTED".len();
/// What a key of `PuTTY` begins with.
const PUTTY: &str = "PUTTY-USER-KEY-FILE";
/// How much of a key in base64 says what it is: a multiple of four letters.
const HEAD_LETTERS: usize = 40;

/// Whether a private key is in `text`: marked as one, however damaged the mark is, or in base64.
pub(crate) fn is_in(text: &str) -> bool {
    is_marked(text) || has_marks_in_base64(text) || text.split(|c| !is_base64(c)).any(is_key_in_base64)
}

/// Marks count folded, indented, cut off and in small letters, with signs between that are not to be seen, and with dashes of a word processor.
fn is_marked(text: &str) -> bool {
    let letters = text.chars().filter_map(|c| match c {
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => Some('-'),
        c => c.is_ascii_alphanumeric().then(|| c.to_ascii_uppercase()),
    });
    let letters: String = letters.collect();
    let is_marker = |part: &str| {
        let rest = part.strip_prefix("BEGIN").or_else(|| part.strip_prefix("END"));
        rest.and_then(|rest| rest.find(MARK))
            .is_some_and(|at| at <= KIND_LETTERS)
    };
    letters.contains(PUTTY) || letters.split('-').any(is_marker)
}

/// Whether base64 of a marker is in `text`, be it over several lines. What base64 makes of a word depends on how many bytes stand before it, of
/// three.
fn has_marks_in_base64(text: &str) -> bool {
    const WORDS: &[u8] = b"PRIVATE KEY";
    let letters: String = text.chars().filter(|c| is_base64(*c)).collect();
    (0..3).any(|before| {
        let encoded = BASE64.encode(&[&[0; 2][..before], WORDS].concat());
        // Letters at the ends hold bits of what stands beside the words.
        let (first, end) = ((before * 8).div_ceil(6), (before + WORDS.len()) * 8 / 6);
        letters.contains(&encoded[first..end])
    })
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/')
}

/// Whether `word` is the first line of a key in base64.
fn is_key_in_base64(word: &str) -> bool {
    let head = word.get(..HEAD_LETTERS);
    let der = head.and_then(|head| BASE64.decode(head.as_bytes()).ok());
    der.is_some_and(|der| der.starts_with(b"openssh-key-v1\0") || is_key(&der))
}

/// Whether DER begins as private keys do, and neither certificates nor public keys.
fn is_key(der: &[u8]) -> bool {
    const PKCS1_OR_DSA: &[u8] = &[0x02, 0x01, 0x00, 0x02];
    const PKCS8: &[u8] = &[0x02, 0x01, 0x00, 0x30];
    /// With the public key beside the private one, as programs write Ed25519 (RFC 5958, RFC 8410).
    const PKCS8_ED25519: &[u8] = &[0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65];
    /// RFC 5915.
    const SEC1: &[u8] = &[0x02, 0x01, 0x01, 0x04];
    /// RFC 7292, which is certificates and keys.
    const PKCS12: &[u8] = &[0x02, 0x01, 0x03, 0x30];
    let kinds = [PKCS1_OR_DSA, PKCS8, PKCS8_ED25519, SEC1, PKCS12];
    let Some(content) = sequence(der) else {
        return false;
    };
    kinds.iter().any(|kind| content.starts_with(kind)) || sequence(content).is_some_and(is_way_to_encrypt)
}

/// The algorithms of PKCS #5 and PKCS #12 that encrypt with a password (RFC 8018, RFC 7292): what begins with one is an encrypted key.
fn is_way_to_encrypt(content: &[u8]) -> bool {
    const PKCS5: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05];
    const PKCS12: &[u8] = &[0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
    content.starts_with(PKCS5) || content.starts_with(PKCS12)
}

/// What is in a SEQUENCE, as far as it is there.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (length, rest) = der.strip_prefix(&[0x30])?.split_first()?;
    // The long form says in how many bytes the length is.
    let more = length.checked_sub(0x80).unwrap_or_default();
    rest.get(usize::from(more)..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("testdata/ca.pem");
    /// The first lines of keys as openssl and ssh-keygen write them, without markers: EC as SEC 1 and PKCS #8, RSA as PKCS #1 and PKCS #8, Ed25519
    /// alone and with its public key, encrypted with PBES2 and as in PKCS #12, PKCS #12 itself, OpenSSH.
    const HEADS: [&str; 10] = [
        "MHcCAQEEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAoAoGCCqGSM49",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA",
        "MIIEpAIBAAKCAQEA1cLVAgJOA8SRH0YtVfbHda8Sj2jH44Dki4PKu2HTtM/+Lz3n",
        "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDukqD5iP7hWqhE",
        "MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "MFECAQEwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiufatQR2v91gICCAAw",
        "MIGxMBwGCiqGSIb3DQEMAQMwDgQIKCoOUj71t2kCAggABIGQGL4M65RNAG86cpR9",
        "MIID/AIBAzCCA7IGCSqGSIb3DQEHAaCCA6MEggOfMIIDmzCCAlIGCSqGSIb3DQEH",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
    ];

    #[test]
    fn marked_key_is_found_however_it_is_written() {
        let key = "-----BEGIN PRIVATE KEY-----\nTk9ORQ==\n-----END PRIVATE KEY-----\n";
        for text in [
            key.to_owned(),
            key.to_lowercase(),
            key.replace('\n', "\\n"),
            key.replace(' ', "\u{200b}"),
            key.replace("E K", "E\u{200b} \u{ad}K"),
            key.replace(' ', "\u{a0}"),
            key.replace("-----", "\u{2013}\u{2013}-"),
            key.replace("KEY-----", "KEY").replace("END", "E N D"),
            key.replace('\n', "\n# "),
            key.replace("KEY", "KEY BLOCK").replace("PRIVATE", "PGP PRIVATE"),
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nx".into(),
            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nAAAA\n".into(),
        ] {
            assert!(is_in(&text), "{text}");
            assert!(is_in(&format!("{CA}{text}")), "{text}");
        }
    }

    #[test]
    fn key_in_base64_is_found() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nTk9ORQ==\n-----END EC PRIVATE KEY-----\n";
        for before in ["", "x", "xy", CA] {
            let encoded = BASE64.encode(format!("{before}{key}").as_bytes());
            let (line, rest) = encoded.split_at(30);
            assert!(is_in(&format!("# key: {encoded}\n{CA}")), "{encoded}");
            assert!(is_in(&format!("# {line}\n# {rest}\n{CA}")), "{encoded}");
        }
        for head in HEADS {
            for text in [
                format!("# {head}\n{CA}"),
                format!("{CA}  {head}\n"),
                format!("key={head}"),
            ] {
                assert!(is_in(&text), "{text}");
            }
        }
    }

    #[test]
    fn what_is_public_is_no_key() {
        let public = [
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAAAAAAAAAAAAAAAAAAAAA",
            "MIIBCgKCAQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            // Parameters of a curve in full, a request for a certificate, PKCS #7.
            "MIH3AgEBMCwGByqGSM49AQECIQD/////AAAAAQAAAAAAAAAAAAAAAP//////////",
            "MIHHMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA",
            "MIIBnAYJKoZIhvcNAQcCoIIBjTCCAYkCAQExADALBgkqhkiG9w0BBwGgggFxMIIB",
        ];
        for text in public.into_iter().chain([
            "",
            "not the private key",
            "- end users do not see where the private key is",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\nthe private key is elsewhere",
            "# keep the PRIVATE KEY apart",
            CA,
        ]) {
            assert!(!is_in(text), "{text}");
            assert!(!is_in(&format!("# {text}\n{CA}")), "{text}");
        }
        assert!(!is_in(&BASE64.encode(CA.as_bytes())));
    }
}
