//! The URL by which clients reach the Kubernetes API server.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::shorten;
use crate::text::text_type;

/// The URL of a Kubernetes API server: `https`, a host, perhaps a port and a path, and nothing else.
///
/// kubectl can use each of them, and each leads to one place only. The text is kept as it was written, its scheme in small letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiServerUrl(String);

/// Why a text is no [`ApiServerUrl`]. None shows what stands before an `@` or behind a `?`: that may be secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ApiServerUrlError {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// It contains a user name or password, or seems to.
    #[error("it contains an `@`: a user name or a password has no place in it")]
    UserInfo,
    /// It contains a query or a fragment.
    #[error("it contains a `{0}`: a query or a fragment has no place in it")]
    Extras(char),
    /// It contains a space, a line break, or what is not to be seen.
    #[error("it contains {0:?}: remove it")]
    Blank(char),
    /// Its scheme is another, or none.
    #[error("it does not begin with https://")]
    NotHttps,
    /// It has two schemes.
    #[error("it has a scheme twice")]
    TwoSchemes,
    /// It has no host.
    #[error("it names no host behind https://")]
    NoHost,
    /// Its host is not in ASCII.
    #[error("its host {0:?} is not in ASCII: write it as DNS has it, with xn--")]
    NotAscii(String),
    /// Its host is none.
    #[error("{0:?} is not a host name or an IP address; an IPv6 address is written in brackets")]
    Host(String),
    /// Its port is none.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// Its path holds what no path can.
    #[error(
        "its path contains {0:?}, which has to be written with a percent sign, or a percent sign with no two digits behind"
    )]
    Path(char),
}

// === impl ApiServerUrl ===

impl ApiServerUrl {
    /// Reads a URL. Nothing is corrected: who made a mistake here has perhaps made another.
    pub fn parse(text: &str) -> Result<Self, ApiServerUrlError> {
        if text.is_empty() {
            return Err(ApiServerUrlError::Empty);
        }
        if text.contains('@') {
            return Err(ApiServerUrlError::UserInfo);
        }
        if let Some(extra) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(ApiServerUrlError::Extras(extra));
        }
        if let Some(blank) = text.chars().find(|c| is_blank(*c)) {
            return Err(ApiServerUrlError::Blank(blank));
        }
        let (scheme, rest) = text.split_once("://").ok_or(ApiServerUrlError::NotHttps)?;
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(ApiServerUrlError::NotHttps);
        }
        if rest.contains("://") {
            return Err(ApiServerUrlError::TwoSchemes);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        check_authority(authority)?;
        check_path(path)?;
        Ok(Self(format!("https://{rest}")))
    }

    /// A text that was meant to be a URL, to recognise it by: shortened, and without what may be secret in it.
    #[must_use]
    pub fn redacted(text: &str) -> String {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        match (text[..end].rsplit_once('@'), text.rsplit_once('@')) {
            (Some((_, public)), _) => shorten(&format!("…@{public}")),
            // A password may hold a question mark.
            (None, Some(_)) => "…".into(),
            (None, None) if end < text.len() => shorten(&format!("{}…", &text[..=end])),
            (None, None) => shorten(text),
        }
    }
}

text_type!(ApiServerUrl);

/// Zero-width characters and byte order marks come along when a text is copied, and are not to be seen.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}

fn check_authority(authority: &str) -> Result<(), ApiServerUrlError> {
    let host = || ApiServerUrlError::Host(shorten(authority));
    if authority.is_empty() {
        return Err(ApiServerUrlError::NoHost);
    }
    if !authority.is_ascii() {
        return Err(ApiServerUrlError::NotAscii(shorten(authority)));
    }
    let (name, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(host)?;
        address.parse::<Ipv6Addr>().map_err(|_| host())?;
        if port.is_empty() {
            return Ok(());
        }
        return check_port(port.strip_prefix(':').ok_or_else(host)?);
    } else {
        match authority.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, None),
        }
    };
    if name.is_empty() {
        return Err(ApiServerUrlError::NoHost);
    }
    if authority.matches(':').count() > 1 || !is_host(name) {
        return Err(host());
    }
    port.map_or(Ok(()), check_port)
}

fn check_port(text: &str) -> Result<(), ApiServerUrlError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(1..) if is_number => Ok(()),
        _ => Err(ApiServerUrlError::Port(shorten(text))),
    }
}

/// A DNS name or an IPv4 address.
fn is_host(text: &str) -> bool {
    is_host_name(text) || text.parse::<Ipv4Addr>().is_ok()
}

/// Whether `text` is a DNS name, perhaps with a dot at its end. Underscores are let through, some machines have them. What ends in a number is no name
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = name.rsplit('.').next();
    let ends_in_number = last.is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    !ends_in_number && name.len() <= 253 && name.split('.').all(is_label)
}

/// RFC 3986, section 3.3.
fn check_path(path: &str) -> Result<(), ApiServerUrlError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:".contains(c);
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        let is_fine = match c {
            '%' => {
                rest.next().is_some_and(|c| c.is_ascii_hexdigit()) && rest.next().is_some_and(|c| c.is_ascii_hexdigit())
            }
            _ => is_plain(c),
        };
        if !is_fine {
            return Err(ApiServerUrlError::Path(c));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `cases.md 3`: what kubectl can use is kept as it was written.
    #[test]
    fn url_that_kubectl_can_use_is_kept() {
        for url in [
            "https://k",
            "https://k:6443",
            "https://k8s.example.com:6443/",
            "https://k8s.example.com./k8s/clusters/c-m-abc%20d",
            "https://10.0.0.1:443",
            "https://[fd00::1]:6443",
            "https://[::ffff:10.0.0.1]",
            "https://K8S.example.com",
            "https://my_host-1:1",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(ApiServerUrl::parse(url).unwrap().as_str(), url);
        }
        assert_eq!(ApiServerUrl::parse("HTTPS://k").unwrap().as_str(), "https://k");
    }

    /// `cases.md 3`: all else is refused, and the error says what is wrong and shows no password.
    #[test]
    fn url_that_leads_nowhere_is_refused() {
        use ApiServerUrlError as E;
        for (url, expected) in [
            ("", E::Empty),
            ("k:6443", E::NotHttps),
            ("http://k", E::NotHttps),
            ("https:k", E::NotHttps),
            ("https:/k", E::NotHttps),
            ("https://", E::NoHost),
            ("https:///k", E::NoHost),
            ("https://:6443", E::NoHost),
            ("https://https://k", E::TwoSchemes),
            ("https://k 6443", E::Blank(' ')),
            ("https://k ", E::Blank(' ')),
            (" https://k", E::Blank(' ')),
            ("https://k\n", E::Blank('\n')),
            ("https://k\t:6443", E::Blank('\t')),
            ("\u{feff}https://k", E::Blank('\u{feff}')),
            ("https://k\u{200b}", E::Blank('\u{200b}')),
            ("https://user:hunter2@k", E::UserInfo),
            ("https://user:hun?ter2@k", E::UserInfo),
            ("https://k?x=1", E::Extras('?')),
            ("https://k/#x", E::Extras('#')),
            ("https://k:99999", E::Port("99999".into())),
            ("https://k:0", E::Port("0".into())),
            ("https://k:", E::Port(String::new())),
            ("https://k:+443", E::Port("+443".into())),
            ("https://k:https", E::Port("https".into())),
            ("https://fd00::1", E::Host("fd00::1".into())),
            ("https://[fd00::1", E::Host("[fd00::1".into())),
            ("https://[k]", E::Host("[k]".into())),
            ("https://[fd00::1]6443", E::Host("[fd00::1]6443".into())),
            ("https://10.0.0.256", E::Host("10.0.0.256".into())),
            ("https://k..example", E::Host("k..example".into())),
            ("https://-k", E::Host("-k".into())),
            ("https://k\\x", E::Host("k\\x".into())),
            ("https://bücher.example", E::NotAscii("bücher.example".into())),
            ("https://k/%zz", E::Path('%')),
            ("https://k/ä", E::Path('ä')),
        ] {
            assert_eq!(ApiServerUrl::parse(url), Err(expected), "{url}");
            assert!(!ApiServerUrl::redacted(url).contains("hun"), "{url}");
        }
    }

    #[test]
    fn text_is_shown_without_its_secrets() {
        let redacted = ApiServerUrl::redacted;
        assert_eq!(redacted("https://k:6443"), "https://k:6443");
        assert_eq!(redacted("https://a:pw@k:6443/x"), "…@k:6443/x");
        assert_eq!(redacted("https://a:p@w@k"), "…@k");
        assert_eq!(redacted("https://a:p?w@k"), "…");
        assert_eq!(redacted("https://k?token=x"), "https://k?…");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_a_plain_address(text in "(https://)?[a-z@:/?# .\\[\\]0-9]{0,20}|.*") {
            let _ = ApiServerUrl::redacted(&text);
            if let Ok(url) = ApiServerUrl::parse(&text) {
                prop_assert!(url.as_str().starts_with("https://") && !url.as_str().contains(['@', '?', '#', ' ', '\n']));
                prop_assert_eq!(ApiServerUrl::parse(url.as_str()), Ok(url));
            }
        }
    }
}
