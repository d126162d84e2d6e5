//! Selects the proxy of a request: the setting, else the environment.
//!
//! The HTTP library ignores the scheme and reads `NO_PROXY` literally, so the proxy is selected here. The rules are those of Go's
//! `net/http`, as in the original. There is a proxy by scheme, `NO_PROXY` has domains, addresses, networks and ports, and the machine
//! itself has no proxy.

use std::net::IpAddr;

use crate::net::server::{Scheme, Server};

/// Looks a variable up in the environment.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A proxy variable with an invalid value. The value is not shown, since it may contain a password.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {variable} does not hold the address of a proxy")]
pub(crate) struct InvalidProxy {
    pub(crate) variable: &'static str,
    source: ureq::Error,
}

/// A proxy, and the variable or setting that names it.
#[derive(Debug)]
pub(crate) struct ChosenProxy {
    pub(crate) proxy: ureq::Proxy,
    pub(crate) variable: &'static str,
    /// Whether the setting of this program names it.
    pub(crate) is_chosen: bool,
}

/// The setting that names a proxy for this program.
const SETTING: &str = "tailscale.proxy";

/// Whether `url` is valid for `tailscale.proxy`. Passwords are refused, since the file is shown.
pub(crate) fn is_url(url: &str) -> bool {
    !url.contains('@') && url.contains("://") && ureq::Proxy::new(&with_remote_dns(url)).is_ok()
}

/// The proxy for requests to `server`: `setting`, which is `tailscale.proxy`, or that of the environment.
pub(crate) fn for_server(
    server: &Server,
    setting: Option<&str>,
    variables: Variables<'_>,
) -> Result<Option<ChosenProxy>, InvalidProxy> {
    match setting {
        Some(_) if is_local(server.host()) => Ok(None),
        Some(url) => named(url, SETTING, true).map(Some),
        None => from_environment(server, variables),
    }
}

fn from_environment(server: &Server, variables: Variables<'_>) -> Result<Option<ChosenProxy>, InvalidProxy> {
    let names: &[&'static str] = match server.scheme() {
        Scheme::Http => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
        Scheme::Https => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
    };
    let set = |name: &str| variables(name).filter(|value| !value.trim().is_empty());
    let Some((variable, address)) = names.iter().find_map(|name| Some((*name, set(name)?))) else {
        return Ok(None);
    };
    if is_local(server.host()) || excluded(server, &["NO_PROXY", "no_proxy"].map(set)) {
        return Ok(None);
    }
    named(&address, variable, false).map(Some)
}

fn named(address: &str, variable: &'static str, is_chosen: bool) -> Result<ChosenProxy, InvalidProxy> {
    let proxy = ureq::Proxy::new(&with_remote_dns(address.trim()));
    Ok(ChosenProxy {
        proxy: proxy.map_err(|source| InvalidProxy { variable, source })?,
        variable,
        is_chosen,
    })
}

/// Lets a SOCKS5 proxy resolve names. The proxy is in the tailnet, and this machine may not be.
fn with_remote_dns(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("socks5") => format!("socks5h://{rest}"),
        _ => address.to_owned(),
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn excluded(server: &Server, lists: &[Option<String>]) -> bool {
    let list = lists.iter().flatten().next().map_or("", String::as_str);
    let mut entries = list.split([',', ' ']).map(str::trim);
    entries.any(|entry| !entry.is_empty() && matches(entry, server))
}

fn matches(entry: &str, server: &Server) -> bool {
    if entry == "*" {
        return true;
    }
    let entry = entry.to_ascii_lowercase();
    if let Ok(host) = server.host().parse::<IpAddr>() {
        return in_network(&entry, host);
    }
    let name = match entry.rsplit_once(':') {
        Some((name, port)) if port.parse() == Ok(server.port()) => name,
        Some(_) => return false,
        None => entry.as_str(),
    };
    let domain = name.trim_start_matches('*');
    match domain.strip_prefix('.') {
        Some(parent) => is_below(server.host(), parent),
        None => server.host() == domain || is_below(server.host(), domain),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|start| start.ends_with('.') && start.len() > 1)
}

/// Whether `entry` is `host` or a network (`100.64.0.0/10`) with `host` in it.
fn in_network(entry: &str, host: IpAddr) -> bool {
    let (address, length) = match entry.split_once('/') {
        Some((address, length)) => (address, length.parse().ok()),
        None => (entry, Some(128)),
    };
    let address = address.trim_matches(['[', ']']);
    match (address.parse(), host, length) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(host), Some(length)) => {
            same_start(network.to_bits().into(), host.to_bits().into(), 32, length)
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(host), Some(length)) => {
            same_start(network.to_bits(), host.to_bits(), 128, length)
        }
        _ => false,
    }
}

/// Whether two addresses of `width` bits agree in their first `length`.
fn same_start(one: u128, other: u128, width: u32, length: u32) -> bool {
    (one ^ other).checked_shr(width.saturating_sub(length)).unwrap_or(0) == 0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Looks variables up in `set`.
    pub(crate) fn variables(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let mut found = set.iter().filter(|(key, _)| *key == name);
            found.next().map(|(_, value)| (*value).to_owned())
        }
    }

    fn chosen(server: &str, set: &[(&str, &str)]) -> Option<String> {
        let server = Server::new(server, 8080, None).unwrap();
        let chosen = for_server(&server, None, &variables(set)).unwrap()?;
        Some(format!("{}={}", chosen.variable, chosen.proxy.uri()))
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let both = [("HTTP_PROXY", "http://p:1"), ("HTTPS_PROXY", "http://p:2")];
        assert_eq!(chosen("http://tka", &both).as_deref(), Some("HTTP_PROXY=http://p:1/"));
        assert_eq!(chosen("https://tka", &both).as_deref(), Some("HTTPS_PROXY=http://p:2/"));
        let by_all = chosen("http://tka", &[("ALL_PROXY", "p:3")]);
        assert_eq!(by_all.as_deref(), Some("ALL_PROXY=http://p:3/"));
        assert_eq!(chosen("http://tka", &[("HTTP_PROXY", "")]), None);
        assert_eq!(chosen("http://tka", &[]), None);
    }

    #[test]
    fn socks_proxies_resolve_names_themselves() {
        let proxied = chosen("tka", &[("ALL_PROXY", "socks5://p:1055")]);
        assert_eq!(proxied.as_deref(), Some("ALL_PROXY=socks5h://p:1055/"));
    }

    #[test]
    fn this_machine_needs_no_proxy() {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(chosen(host, &[("HTTP_PROXY", "p:1")]), None, "{host}");
        }
    }

    #[test]
    fn no_proxy_by_value() {
        for (host, list, direct) in [
            ("tka.example.ts.net", "example.ts.net", true),
            ("tka.example.ts.net", ".example.ts.net", true),
            ("tka.example.ts.net", "*.example.ts.net", true),
            ("tka.example.ts.net", "other,TKA.example.ts.net", true),
            ("tka.example.ts.net", "tka.example.ts.net:8080", true),
            ("tka.example.ts.net", "tka.example.ts.net:443", false),
            ("tka.example.ts.net", "ample.ts.net", false),
            ("example.ts.net", ".example.ts.net", false),
            ("tka", "*", true),
            ("tka", "", false),
            ("100.64.1.2", "100.64.0.0/10", true),
            ("100.128.1.2", "100.64.0.0/10", false),
            ("100.64.1.2", "100.64.1.2", true),
            ("100.64.1.2", "100.64.1.3", false),
            ("100.64.1.2", "0.0.0.0/0", true),
            ("[fd7a::1]", "fd7a::/16", true),
            ("[fd7b::1]", "fd7a::/16", false),
        ] {
            let proxied = chosen(host, &[("HTTP_PROXY", "p:1"), ("NO_PROXY", list)]);
            assert_eq!(proxied.is_none(), direct, "{host} with NO_PROXY={list}");
        }
    }

    #[test]
    fn setting_wins_over_the_environment() {
        let chosen = |host: &str| {
            let server = Server::new(host, 8080, None).unwrap();
            for_server(&server, Some("socks5://q:2"), &|_| Some("p:1".to_owned())).unwrap()
        };
        let found = chosen("tka").unwrap();
        assert_eq!((found.variable, found.is_chosen), ("tailscale.proxy", true));
        assert_eq!(found.proxy.uri().to_string(), "socks5h://q:2/");
        assert!(chosen("localhost").is_none());
        for (url, is) in [
            ("http://p:1", true),
            ("p:1", false),
            ("http://u:pw@p:1", false),
            ("gopher://p", false),
        ] {
            assert_eq!(is_url(url), is, "{url}");
        }
    }

    #[test]
    fn a_bad_proxy_is_an_error_that_shows_no_password() {
        let server = Server::new("tka", 8080, None).unwrap();
        let set = |name: &str| (name == "HTTP_PROXY").then(|| "fake://user:hunter2@host".to_owned());
        let message = for_server(&server, None, &set).unwrap_err().to_string();
        assert!(message.contains("HTTP_PROXY"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
