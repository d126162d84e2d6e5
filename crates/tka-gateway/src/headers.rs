//! Which headers go on to the API server, and which do not.
//!
//! The account that acts is decided by the server alone. So whatever could say otherwise is taken off, and what the server says is put on last. `HEADER_RULES` says
//! which headers end here; each row has a test. Beside it end those that `Connection` names, and tokens among the subprotocols. Two lengths are refused.
//! Impersonation goes through: the session's own RBAC decides on it, as if it had the token in hand.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
    SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use thiserror::Error;
use tka_api::Token;

/// Whose request it is, and by what the two audit logs are joined.
#[derive(Clone, Debug)]
pub struct UpstreamIdentity<'a> {
    /// The token of the account that acts.
    pub token: &'a Token,
    /// The caller's address on the tailnet. The API server's audit log shows it among the request's addresses.
    pub caller: Option<IpAddr>,
    /// The ID of this request in both audit logs.
    pub audit_id: &'a str,
}

/// Why a request is refused for its headers.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// `Connection` names a header that says who acts, or where a message ends. A proxy that obeyed would drop it.
    #[error("the header Connection names {0}, which is not the connection's")]
    Connection(String),
    /// The length is said twice. Two readers may take two different ones.
    #[error("the request has both Content-Length and Transfer-Encoding")]
    Length,
    /// What is put on cannot be a header.
    #[error("the server cannot build a header for the API server")]
    Value(#[from] InvalidHeaderValue),
}

/// What is done with a header of the caller's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    /// It does not go on.
    Remove,
    /// It does not go on, and the server sets its own.
    Replace,
}

/// A header, or all whose names begin so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Names {
    One(&'static str),
    Prefix(&'static str),
}

/// What is done with which headers of a request, and why. All others go on as they are.
const HEADER_RULES: &[(Names, Action, &str)] = &[
    (Names::One("authorization"), Action::Replace, "says who acts"),
    (
        Names::One("proxy-authorization"),
        Action::Remove,
        "is for a proxy before us",
    ),
    (
        Names::One("cookie"),
        Action::Remove,
        "is of another server on this node",
    ),
    (
        Names::Prefix("x-remote-"),
        Action::Remove,
        "says who acts, to an API server behind a trusted proxy",
    ),
    (
        Names::Prefix("tailscale-"),
        Action::Remove,
        "says who acts, to what is behind tailscale serve",
    ),
    (
        Names::One("x-forwarded-for"),
        Action::Replace,
        "is a source address in the API server's audit log",
    ),
    (
        Names::Prefix("x-forwarded-"),
        Action::Remove,
        "says through what the request came",
    ),
    (
        Names::One("x-real-ip"),
        Action::Remove,
        "is a source address in the API server's audit log",
    ),
    (
        Names::One("forwarded"),
        Action::Remove,
        "is a source address to what reads it",
    ),
    (
        Names::One("traceparent"),
        Action::Remove,
        "says what is traced, which the server decides",
    ),
    (
        Names::One("tracestate"),
        Action::Remove,
        "is text that would reach traces",
    ),
    (Names::One("baggage"), Action::Remove, "is text that would reach traces"),
    (Names::One("audit-id"), Action::Replace, "joins the two audit logs"),
    (
        Names::One("host"),
        Action::Replace,
        "is this server's name, not the API server's",
    ),
    (
        Names::One("sec-websocket-extensions"),
        Action::Remove,
        "a compressed stream cannot be recorded",
    ),
    (
        Names::One("expect"),
        Action::Remove,
        "is answered by this server when the body is asked for",
    ),
    (Names::One("connection"), Action::Remove, "is about this connection"),
    (Names::One("keep-alive"), Action::Remove, "is about this connection"),
    (
        Names::One("proxy-connection"),
        Action::Remove,
        "is about this connection",
    ),
    (Names::One("te"), Action::Remove, "is about this connection"),
    (Names::One("trailer"), Action::Remove, "is about this connection"),
    (
        Names::One("transfer-encoding"),
        Action::Remove,
        "is about this connection; the body is framed anew",
    ),
    (
        Names::One("upgrade"),
        Action::Remove,
        "is put on again where an upgrade is asked for",
    ),
    (Names::One("http2-settings"), Action::Remove, "is about this connection"),
];

/// Headers of an answer that are about the upstream connection, or would hold for this server's name.
const ANSWER: [&str; 10] = [
    "alt-svc",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "set-cookie",
    "strict-transport-security",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that `Connection` must not name.
const NOT_OF_A_CONNECTION: [&str; 6] = [
    "authorization",
    "audit-id",
    "content-length",
    "host",
    "transfer-encoding",
    "x-forwarded-for",
];
/// Impersonation narrows what a session may do. Nothing on the way may drop it.
const IMPERSONATE: &str = "impersonate-";

/// The prefix of WebSocket subprotocols that are a bearer token (<https://github.com/kubernetes/kubernetes/pull/47740>).
const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

// === impl Names ===

impl Names {
    fn has(self, name: &HeaderName) -> bool {
        match self {
            Self::One(one) => name.as_str() == one,
            Self::Prefix(prefix) => name.as_str().starts_with(prefix),
        }
    }
}

/// The headers with which a request goes on, for the API server `host`.
///
/// An upgrade that the caller asked for ([`upgrade`]) is put on again.
pub fn request(
    headers: &HeaderMap,
    host: &HeaderValue,
    identity: &UpstreamIdentity<'_>,
) -> Result<HeaderMap, HeaderError> {
    let named = named_by_connection(headers)?;
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        return Err(HeaderError::Length);
    }
    let goes_on = |name: &HeaderName| {
        let is_ruled_out = HEADER_RULES.iter().any(|(names, _, _)| names.has(name));
        !is_ruled_out && !named.contains(name)
    };
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers.iter().filter(|(name, _)| goes_on(name)) {
        if name == SEC_WEBSOCKET_PROTOCOL {
            if let Some(value) = without_bearer(value)? {
                out.append(name, value);
            }
        } else {
            out.append(name, value.clone());
        }
    }
    if let Some(protocol) = upgrade(headers) {
        out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        out.insert(UPGRADE, protocol);
    }
    out.insert(HOST, host.clone());
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", identity.token.expose()))?;
    bearer.set_sensitive(true);
    out.insert(AUTHORIZATION, bearer);
    out.insert(
        HeaderName::from_static("audit-id"),
        HeaderValue::try_from(identity.audit_id)?,
    );
    if let Some(caller) = identity.caller {
        out.insert(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::try_from(caller.to_string())?,
        );
    }
    Ok(out)
}

/// Takes off what an answer says of the upstream connection. An upgrade that was agreed on stays.
pub fn answer(headers: &mut HeaderMap, is_upgrade: bool) {
    let protocol = headers.get(UPGRADE).filter(|_| is_upgrade).cloned();
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|name| name.parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in ANSWER {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// The protocol to which the caller asks to upgrade: `Connection` names it (RFC 9110, 7.8). Of several it is the first.
#[must_use]
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    // Another version of HTTP would be requests that are smuggled through this one.
    let is_http = |protocol: &str| {
        let name = protocol.to_ascii_lowercase();
        name.starts_with("h2c") || name.starts_with("http/") || name.starts_with("tls/")
    };
    let protocol = tokens(headers, &UPGRADE).find(|protocol| !is_http(protocol));
    protocol
        .filter(|_| asks)
        .and_then(|protocol| HeaderValue::from_str(protocol).ok())
}

/// The headers that `Connection` names. They are this connection's, and end here (RFC 9110, 7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Result<Vec<HeaderName>, HeaderError> {
    let mut named = Vec::new();
    for token in tokens(headers, &CONNECTION) {
        let name = token.to_ascii_lowercase();
        if NOT_OF_A_CONNECTION.contains(&name.as_str()) || name.starts_with(IMPERSONATE) {
            return Err(HeaderError::Connection(name));
        }
        named.extend(HeaderName::try_from(name));
    }
    Ok(named)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    // What is no text names nothing that could be removed by it.
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// A list of subprotocols without those that are a token; none where nothing is left.
fn without_bearer(value: &HeaderValue) -> Result<Option<HeaderValue>, InvalidHeaderValue> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let protocols = text.split(',').map(str::trim);
    let is_bearer = |protocol: &str| {
        let start = protocol.get(..BEARER_PROTOCOL.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(BEARER_PROTOCOL))
    };
    let left: Vec<&str> = protocols
        .filter(|protocol| !protocol.is_empty() && !is_bearer(protocol))
        .collect();
    if left.is_empty() {
        return Ok(None);
    }
    HeaderValue::try_from(left.join(", ")).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        map
    }

    fn sent(headers: &HeaderMap) -> Result<HeaderMap, HeaderError> {
        let token = Token::from("own".to_owned());
        let identity = UpstreamIdentity {
            token: &token,
            caller: Some("100.64.0.7".parse().unwrap()),
            audit_id: "id-1",
        };
        request(headers, &HeaderValue::from_static("kubernetes:443"), &identity)
    }

    /// What the server says, whatever the caller says.
    const OURS: [(&str, &str); 4] = [
        ("host", "kubernetes:443"),
        ("authorization", "Bearer own"),
        ("audit-id", "id-1"),
        ("x-forwarded-for", "100.64.0.7"),
    ];

    #[test]
    fn each_row_of_the_table_holds() {
        for (names, action, why) in HEADER_RULES {
            let name = match names {
                Names::One(one) => (*one).to_owned(),
                Names::Prefix(prefix) => format!("{prefix}anything"),
            };
            let out = sent(&map(&[(&name, "theirs"), ("accept", "text/plain")])).unwrap();
            let there: Vec<_> = out.get_all(&name).iter().collect();
            let own = OURS.iter().find(|(own, _)| *own == name);
            match action {
                Action::Remove => assert!(there.is_empty(), "{name}: {why}"),
                Action::Replace => assert_eq!(there, [own.unwrap().1], "{name}: {why}"),
            }
            assert_eq!(out["accept"], "text/plain");
        }
    }

    #[test]
    fn all_else_goes_on_in_its_order() {
        let headers = map(&[
            ("accept", "application/vnd.kubernetes.protobuf"),
            ("accept-encoding", "gzip"),
            ("content-length", "7"),
            ("user-agent", "kubectl"),
            ("kubectl-command", "kubectl get"),
            ("impersonate-user", "alice"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ]);
        let mut out = sent(&headers).unwrap();
        for (name, value) in OURS {
            assert_eq!(out.remove(name).unwrap(), value);
        }
        assert_eq!(out, headers);
    }

    #[test]
    fn what_connection_names_ends_here() {
        let out = sent(&map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("x-other", "2"),
        ]))
        .unwrap();
        assert!(!out.contains_key("x-mine"));
        assert!(!out.contains_key("connection"));
        assert_eq!(out["x-other"], "2");
        for name in [
            "Authorization",
            "impersonate-user",
            "Content-Length",
            "host",
            "audit-id",
            "transfer-encoding",
        ] {
            let refused = sent(&map(&[("connection", &format!("keep-alive, {name}"))]));
            assert!(matches!(refused, Err(HeaderError::Connection(_))), "{name}");
        }
    }

    #[test]
    fn two_lengths_are_refused() {
        let both = map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        assert!(matches!(sent(&both), Err(HeaderError::Length)));
    }

    #[test]
    fn upgrades_are_put_on_again() {
        let headers = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("sec-websocket-key", "k"),
        ]);
        let out = sent(&headers).unwrap();
        assert_eq!(
            (&out["connection"], &out["upgrade"]),
            (&"Upgrade".parse().unwrap(), &"SPDY/3.1".parse().unwrap())
        );
        assert_eq!(out["sec-websocket-key"], "k");
        let several = map(&[("connection", "Upgrade"), ("upgrade", "h2c, websocket, x")]);
        assert_eq!(sent(&several).unwrap()["upgrade"], "websocket");
        for no_upgrade in [
            map(&[("upgrade", "websocket")]),
            map(&[("connection", "Upgrade")]),
            map(&[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AA"),
            ]),
        ] {
            let out = sent(&no_upgrade).unwrap();
            assert!(
                ["connection", "upgrade", "http2-settings"]
                    .iter()
                    .all(|name| !out.contains_key(*name))
            );
        }
    }

    #[test]
    fn token_as_a_subprotocol_is_taken_off() {
        let protocols = |value: &str| {
            sent(&map(&[("sec-websocket-protocol", value)]))
                .unwrap()
                .remove("sec-websocket-protocol")
        };
        assert_eq!(
            protocols("base64url.bearer.authorization.k8s.io.dG9rZW4, v5.channel.k8s.io,v4.channel.k8s.io").unwrap(),
            "v5.channel.k8s.io, v4.channel.k8s.io"
        );
        assert_eq!(protocols("Base64URL.bearer.authorization.k8s.io.dG9rZW4"), None);
        assert_eq!(protocols("v4.channel.k8s.io").unwrap(), "v4.channel.k8s.io");
    }

    #[test]
    fn answer_keeps_what_is_the_api_servers() {
        let mut headers = map(&[
            ("content-type", "application/json"),
            ("audit-id", "id-1"),
            ("warning", "299 - \"old\""),
            ("x-kubernetes-pf-flowschema-uid", "u"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
            ("strict-transport-security", "max-age=1"),
            ("upgrade", "websocket"),
        ]);
        answer(&mut headers, false);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), 4, "{left:?}");
        let mut headers = map(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "x"),
        ]);
        answer(&mut headers, true);
        assert_eq!(
            headers,
            map(&[
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-accept", "x")
            ])
        );
    }

    #[test]
    fn token_is_shown_by_no_debug_print() {
        assert!(!format!("{:?}", sent(&HeaderMap::new()).unwrap()).contains("own"));
    }

    proptest! {
        #[test]
        fn who_acts_is_said_once_and_by_the_server(
            headers in proptest::collection::vec(
                ("(authorization|x-remote-user|x-remote-extra-a|connection|audit-id|host|cookie|x-forwarded-for|upgrade|te|sec-websocket-protocol)", "[ -~]{0,40}"),
                0..12,
            )
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
            let Ok(out) = sent(&map(&headers)) else { return Ok(()) };
            for (name, value) in OURS {
                prop_assert_eq!(out.get_all(name).iter().collect::<Vec<_>>(), [value]);
            }
            prop_assert!(!out.keys().any(|name| name.as_str().starts_with("x-remote-") || name == "cookie"));
            let protocols = out.get_all("sec-websocket-protocol").iter().any(|value| {
                value.to_str().unwrap().to_ascii_lowercase().contains(BEARER_PROTOCOL)
            });
            prop_assert!(!protocols);
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::header_lines::map_of;

    /// Whatever a caller sends, the API server is told once who acts, and by the server.
    #[test]
    fn headers() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let token = Token::from("own".to_owned());
            let identity = UpstreamIdentity {
                token: &token,
                caller: Some(std::net::Ipv4Addr::new(100, 64, 0, 7).into()),
                audit_id: "id-1",
            };
            let Ok(out) = request(&map_of(bytes), &HeaderValue::from_static("kubernetes:443"), &identity) else {
                return;
            };
            for (name, value) in [
                ("host", "kubernetes:443"),
                ("authorization", "Bearer own"),
                ("audit-id", "id-1"),
            ] {
                assert_eq!(out.get_all(name).iter().collect::<Vec<_>>(), [value]);
            }
            assert!(
                !out.keys()
                    .any(|name| name.as_str().starts_with("x-remote-") || name == "cookie")
            );
            // One protocol at the most, and none that carries requests.
            let upgrades: Vec<_> = out.get_all(UPGRADE).iter().collect();
            assert!(upgrades.len() <= 1 && out.get_all(CONNECTION).iter().count() == upgrades.len());
            for protocol in upgrades {
                let name = protocol.to_str().unwrap_or_default().to_ascii_lowercase();
                assert!(
                    !name.is_empty() && !name.contains(',') && !name.starts_with("h2c") && !name.starts_with("http/")
                );
            }
        });
    }
}
