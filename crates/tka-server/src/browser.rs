//! A page in the caller's browser cannot act for them.
//!
//! Who calls is learnt from the connection, so that whatever the caller's browser is made to send would be theirs. A page of another
//! origin must neither write (cross-site request forgery) nor, by a name that it lets point here, read (DNS rebinding).
//!
//! Over plain HTTP a browser says of most GETs neither which page they come from nor that there is one. `Sec-Fetch-Site` is for HTTPS, `Origin` is
//! for CORS, and a page may leave out `Referer`. So a GET that a browser made gets no credential ([`made_by()`]).

mod made_by;

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, REFERER};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tka_tailnet::Status;

use crate::answer::Failure;
use crate::rates::Requester;

pub use made_by::made_by;

/// The hosts by which this server is called: its node's names and addresses, and what the configuration adds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hosts {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

/// Content types that a form of any page may send without asking first
/// (<https://fetch.spec.whatwg.org/#cors-safelisted-request-header>).
const FORM_TYPES: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// By what every answer says which server gave it, and with what it can do, so that callers need not guess (RFC 9110, 10.2.4).
const SERVER: &str = concat!("tka-server/", env!("CARGO_PKG_VERSION"));

/// Which site a page is of that a browser sends a request for (<https://www.w3.org/TR/fetch-metadata/>).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What every answer carries. The API browser brings its own scripts and styles, and nothing from elsewhere.
const HEADERS: [(&str, &str); 7] = [
    ("server", SERVER),
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// === impl Hosts ===

impl Hosts {
    /// The hosts of the node that `status` is of.
    #[must_use]
    pub fn new(status: &Status) -> Self {
        let own = status.self_node.as_ref();
        let full_name = own.map(|node| node.dns_name.to_ascii_lowercase()).unwrap_or_default();
        let short_name = full_name.split('.').next().unwrap_or_default().to_owned();
        let names = [full_name, short_name].into_iter();
        Self {
            names: names.filter(|name| !name.is_empty()).collect(),
            addresses: own.iter().flat_map(|node| node.tailscale_ips.iter().copied()).collect(),
        }
    }

    /// These and `more`, which are the configuration's. As long as the node is not known there are none: nothing is served then.
    #[must_use]
    pub fn and(&self, more: &[String]) -> Self {
        let mut all = self.clone();
        if *self != Self::default() {
            all.names
                .extend(more.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()));
        }
        all
    }

    /// Whether `authority` (`host`, `host:port`, `[address]:port`) is this server.
    fn has(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else {
            return false;
        };
        let host = authority.host();
        // User information is no part of a Host header; a request that has it means to confuse.
        if authority.as_str().contains('@') {
            return false;
        }
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.names.contains(&host.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    /// Whether the origin `scheme://host[:port]` is the server that the request is sent to, as `host` names it. Another port of
    /// the same node is another origin.
    fn has_origin(&self, origin: &str, host: &str) -> bool {
        let mut schemes = ["https://", "http://"].into_iter();
        let authority = schemes.find_map(|scheme| origin.strip_prefix(scheme));
        authority.is_some_and(|authority| self.has(authority) && authority.eq_ignore_ascii_case(host))
    }
}

/// Refuses a request that shows to be caused by a foreign page. Of others it says whether a page may have caused it.
pub fn guard(hosts: &Hosts, request: &Request) -> Result<Requester, Failure> {
    check(hosts, request.method(), request.uri(), request.headers())
}

/// Refuses a request to the cluster's API that shows to be caused by a foreign page. What a form could send is no sign: a program behind the API may take it.
pub fn guard_programs(hosts: &Hosts, request: &Parts) -> Result<(), Failure> {
    check_origin(hosts, &request.uri, &request.headers)
}

/// Refuses what a browser gets by no GET: the page that had it sent may be anybody's, and the answer would be a credential.
#[must_use]
pub fn refuse_issuing(sign: &str) -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        format!(
            "a browser gets no credential by GET, which any page can have it send; this request has its header {sign}"
        ),
        &[
            "use `tka` or another program that sends no header of a browser's",
            "send POST /api/v1alpha1/credential instead",
        ],
    )
}

/// Gives every answer the security headers.
pub async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
    response
}

fn check(hosts: &Hosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Requester, Failure> {
    check_origin(hosts, uri, headers)?;
    let content_types = headers.get_all(CONTENT_TYPE).iter();
    let content_types = content_types.map(|value| value.to_str().unwrap_or_default());
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_form = content_types
        .map(essence)
        .any(|essence| FORM_TYPES.contains(&essence.as_str()));
    if !method.is_safe() && is_form {
        let advice = &["send no body, or JSON with the header `Content-Type: application/json`"];
        let what = "requests of forms are refused";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, advice));
    }
    // What is there was found to be this server's, or typed by the person.
    let signs = [ORIGIN, REFERER, SEC_FETCH_SITE];
    let is_own_page = signs.iter().any(|name| headers.contains_key(name));
    match made_by(headers) {
        Some(_) if !is_own_page && !method.is_safe() => Err(Failure::new(
            StatusCode::FORBIDDEN,
            "a browser does not say which page this request is from",
            &["use `tka`, or a browser that sends `Origin` with every POST"],
        )),
        Some(_) if !is_own_page => Ok(Requester::BrowserPage),
        _ => Ok(Requester::Caller),
    }
}

/// Refuses what is sent to another host, and what a page of another origin had sent.
fn check_origin(hosts: &Hosts, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let refuse = |what: &str, advice: &str| Err(Failure::new(StatusCode::FORBIDDEN, what, &[advice]));
    let of = |name: HeaderName| {
        let values = headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap_or_default())
    };
    let by_uri = uri.authority().map(Authority::as_str);
    if !by_uri.into_iter().chain(of(HOST)).all(|host| hosts.has(host)) {
        return refuse(
            "this server is not the host that the request names",
            "call it by its name on the tailnet, or ask an administrator to add the name to server.allowedHosts",
        );
    }
    let host = of(HOST).next().or(by_uri).unwrap_or_default();
    let mut origins = of(ORIGIN).chain(of(REFERER).map(origin_of));
    if !origins.all(|origin| hosts.has_origin(origin, host)) {
        return refuse(
            "requests from pages of other origins are refused",
            "use `tka`, or this server's own pages",
        );
    }
    if !of(SEC_FETCH_SITE).all(|site| matches!(site, "same-origin" | "none")) {
        return refuse(
            "requests from pages of other sites are refused",
            "use `tka`, or type the address yourself",
        );
    }
    Ok(())
}

/// The scheme, host and port of `url`; none has no slash after them.
fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[authority..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..authority + end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    pub(super) fn hosts() -> Hosts {
        let status: Status = serde_json::from_value(json!({
            "Version": "1.102.2", "TUN": false, "BackendState": "Running", "CertDomains": null, "Health": null, "Peer": null,
            "Self": {"ID": "n1", "HostName": "tka", "DNSName": "tka.tailnet.test.", "Online": true,
                     "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"]}
        }))
        .unwrap();
        Hosts::new(&status).and(&["Kube.Example.com".into()])
    }

    fn status_of(method: &Method, headers: &[(&str, &str)]) -> u16 {
        let uri = Uri::from_static("/api/v1alpha1/login");
        check(&hosts(), method, &uri, &map(headers)).map_or_else(|failure| failure.status.as_u16(), |_| 200)
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let headers = headers.iter();
        let parsed = headers.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        parsed.collect()
    }

    fn get(headers: &[(&str, &str)]) -> u16 {
        status_of(&Method::GET, headers)
    }

    fn post(headers: &[(&str, &str)]) -> u16 {
        status_of(&Method::POST, headers)
    }

    #[test]
    fn own_names_and_addresses_are_the_hosts() {
        for host in [
            "tka.tailnet.test",
            "TKA.tailnet.test.:8080",
            "tka",
            "tka:8080",
            "100.64.0.1:8080",
            "[fd7a:115c:a1e0::1]:8080",
            "kube.example.com",
        ] {
            assert_eq!(post(&[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "100.64.0.2",
            "127.0.0.1",
            "tka.tailnet.test.evil.example",
            "",
            "evil@tka",
            "tka tka",
        ] {
            assert_eq!(get(&[("host", host)]), 403, "{host}");
        }
        assert_eq!(get(&[("host", "tka"), ("host", "evil.example")]), 403);
    }

    #[test]
    fn without_a_node_no_host_is_the_servers() {
        let none = Hosts::default().and(&["kube.example.com".into()]);
        assert!(!none.has("kube.example.com") && hosts().has("kube.example.com"));
    }

    #[test]
    fn foreign_origins_are_refused() {
        let from = |origin: &str| post(&[("host", "tka:8080"), ("origin", origin)]);
        assert_eq!((from("http://tka:8080"), from("https://TKA:8080")), (200, 200));
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://tka:3000",
            "http://tka",
            "file://tka:8080",
            "tka:8080",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
    }

    #[test]
    fn pages_that_say_where_they_are_from_are_refused() {
        let from = |referer: &str| get(&[("host", "tka:8080"), ("referer", referer)]);
        assert_eq!(["http://tka:8080/swagger/?x#y", "http://tka:8080"].map(from), [200; 2]);
        for referer in [
            "http://evil.example/",
            "http://tka/",
            "http://tka:8080@evil.example/",
            "",
            "about:blank",
            "http://evil.example?http://tka:8080/",
        ] {
            assert_eq!(from(referer), 403, "{referer}");
        }
    }

    // cases.md 11.3
    #[test]
    fn post_of_a_browser_says_which_page_it_is_from() {
        let browser = [
            ("host", "tka:8080"),
            ("user-agent", "Mozilla/5.0"),
            ("accept-language", "en"),
        ];
        let with = |more: (&'static str, &'static str)| post(&[&browser[..], &[more]].concat());
        assert_eq!(post(&browser), 403);
        assert_eq!(with(("origin", "http://tka:8080")), 200);
        assert_eq!(with(("sec-fetch-site", "same-origin")), 200);
        let other_sites = [("origin", "null"), ("sec-fetch-site", "cross-site")];
        assert_eq!(other_sites.map(with), [403; 2]);
        assert_eq!(post(&[("host", "tka"), ("user-agent", "Go-http-client/1.1")]), 200);
    }

    // cases.md 11.3
    #[test]
    fn what_a_page_may_have_caused_is_not_counted_as_the_callers() {
        let uri = Uri::from_static("/");
        let by = |headers: &[(&str, &str)]| check(&hosts(), &Method::GET, &uri, &map(headers)).unwrap();
        let browser = [("host", "tka"), ("accept-language", "en")];
        assert_eq!(by(&browser), Requester::BrowserPage);
        for own in [("referer", "http://tka/swagger/"), ("sec-fetch-site", "same-origin")] {
            assert_eq!(by(&[&browser[..], &[own]].concat()), Requester::Caller, "{own:?}");
        }
        assert_eq!(by(&[("host", "tka"), ("user-agent", "curl/8.5.0")]), Requester::Caller);
    }

    #[test]
    fn other_sites_are_refused() {
        let with = |site: &str| get(&[("host", "tka"), ("sec-fetch-site", site)]);
        assert_eq!(["same-origin", "none"].map(with), [200; 2]);
        assert_eq!(["cross-site", "same-site", "anything"].map(with), [403; 3]);
    }

    #[test]
    fn forms_do_not_write() {
        for form in [
            "application/x-www-form-urlencoded",
            "Text/Plain; charset=utf-8",
            "multipart/form-data; boundary=x",
        ] {
            let headers = [("host", "tka"), ("content-type", form)];
            assert_eq!((post(&headers), get(&headers)), (415, 200), "{form}");
        }
        assert_eq!(post(&[("host", "tka"), ("content-type", "application/json")]), 200);
    }

    #[test]
    fn host_of_an_absolute_target_counts_too() {
        let check = |uri: &'static str| check(&hosts(), &Method::GET, &Uri::from_static(uri), &HeaderMap::new());
        assert!(check("http://tka.tailnet.test:8080/").is_ok());
        assert!(check("http://evil.example/").is_err());
    }

    proptest! {
        #[test]
        fn any_headers_are_let_through_or_refused(
            host: Vec<u8>, origin: Vec<u8>, site: Vec<u8>, media_type: Vec<u8>,
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(HOST, host), (ORIGIN, origin), (HeaderName::from_static("sec-fetch-site"), site), (CONTENT_TYPE, media_type)] {
                // What HTTP does not allow in a header does not come so far.
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            let any = ["host", "origin", "sec-fetch-site"].iter().any(|name| headers.contains_key(*name));
            let passes = check(&hosts(), &Method::POST, &Uri::from_static("/"), &headers).is_ok();
            // Chance makes none of this host's names.
            prop_assert!(!(any && passes));
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::tests::hosts;
    use super::*;

    /// Lines `name: value`: what gets through names this host, and no page of another.
    #[test]
    fn headers() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let headers = headers_of(bytes);
            let uri = Uri::from_static("/api/v1alpha1/login");
            if check(&hosts(), &Method::POST, &uri, &headers).is_err() {
                return;
            }
            let all = |name: &str, good: fn(&HeaderValue) -> bool| headers.get_all(name).iter().all(good);
            assert!(all("host", |host| hosts().has(host.to_str().unwrap_or_default())));
            assert!(all("origin", |origin| origin.as_bytes().starts_with(b"http")));
            assert!(all("sec-fetch-site", |site| site != "cross-site" && site != "same-site"));
        });
    }

    fn headers_of(bytes: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        headers
    }
}
