//! Which requests can be recorded, and what is refused where all must be. By value.
//!
//! What a request is gets decided on its path as the API server decodes it ([`RequestInfo`](crate::RequestInfo)), never by what the client claims.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Method, Response, StatusCode};
use thiserror::Error;

use crate::headers;
use crate::request_info::PodAccess;
use crate::websocket::Channels;

/// Why a request cannot be recorded.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Unrecordable {
    /// Exec or attach over something else than a WebSocket.
    #[error("exec and attach must be recorded here, and only those over a WebSocket can be recorded")]
    Protocol,
    /// A subprotocol that is not known.
    #[error("exec and attach must be recorded here, in v4.channel.k8s.io or v5.channel.k8s.io")]
    Subprotocol,
    /// A port-forward.
    #[error("what goes into pods must be recorded here, and a port-forward cannot be recorded")]
    PortForward,
    /// HTTP to a pod, a service or a node, which may be a terminal.
    #[error("what goes into pods must be recorded here, and a proxy to pods, services and nodes cannot be recorded")]
    Proxy,
    /// Another container in a pod: what it writes is read as logs.
    #[error("what goes into pods must be recorded here, and an ephemeral container may be read by its logs")]
    Debug,
    /// Another connection of both ways.
    #[error("what goes into pods must be recorded here, and this upgrade cannot be recorded")]
    Upgrade,
}

// === impl Unrecordable ===

impl Unrecordable {
    /// What to do instead.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Protocol | Self::Subprotocol => {
                "use kubectl 1.31 or later, or another client that speaks v4.channel.k8s.io or v5.channel.k8s.io over a WebSocket"
            }
            Self::PortForward | Self::Proxy | Self::Debug | Self::Upgrade => {
                "use kubectl exec or kubectl attach, or a rule without required recording"
            }
        }
    }
}

/// Whether a request can be recorded: true for exec and attach, false for what is not interactive, and needs no recording.
pub fn check(method: &Method, headers: &HeaderMap, interactive: Option<PodAccess>) -> Result<bool, Unrecordable> {
    match interactive {
        None => Ok(false),
        Some(PodAccess::Exec) if !is_websocket(method, headers) => Err(Unrecordable::Protocol),
        Some(PodAccess::Exec) if readable(headers).is_empty() => Err(Unrecordable::Subprotocol),
        Some(PodAccess::Exec) => Ok(true),
        Some(PodAccess::PortForward) => Err(Unrecordable::PortForward),
        Some(PodAccess::Proxy) => Err(Unrecordable::Proxy),
        Some(PodAccess::Debug) => Err(Unrecordable::Debug),
        Some(PodAccess::Upgrade) => Err(Unrecordable::Upgrade),
    }
}

/// Leaves of the subprotocols that a request offers those that can be recorded, so that the API server can choose no other.
pub fn restrict_subprotocols(headers: &mut HeaderMap) {
    let readable = readable(headers).join(", ");
    // They are words of a list that came as a header.
    if let Ok(value) = HeaderValue::try_from(readable) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

/// Whether an answer agrees to what can be recorded.
#[must_use]
pub fn is_recordable_response<B>(answer: &Response<B>) -> bool {
    let protocols: Vec<_> = answer.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
    let is_readable = match protocols.as_slice() {
        [one] => one
            .to_str()
            .is_ok_and(|one| Channels::of(Some(one)) == Channels::Binary),
        _ => false,
    };
    let upgrade = answer.headers().get(UPGRADE);
    let is_websocket = upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && is_websocket
        && is_readable
        && !answer.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS)
}

fn is_websocket(method: &Method, headers: &HeaderMap) -> bool {
    let upgrade = headers::upgrade(headers);
    *method == Method::GET && upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn readable(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|protocol| Channels::of(Some(protocol)) == Channels::Binary)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RequestInfo, Target};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn websocket(protocols: &str) -> HeaderMap {
        headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", protocols),
        ])
    }

    fn of(method: &str, path: &str, headers: &HeaderMap) -> Result<bool, Unrecordable> {
        let target = Target::parse(&format!("/k8s{path}").parse().unwrap()).unwrap();
        let method: Method = method.parse().unwrap();
        let info = RequestInfo::new(&method, &target);
        let upgrade = headers::upgrade(headers).map(|_| PodAccess::Upgrade);
        check(&method, headers, info.interactive().or(upgrade))
    }

    #[test]
    fn only_exec_and_attach_over_a_known_websocket_can_be_recorded() {
        let spdy = headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]);
        let (v5, none) = (websocket("v5.channel.k8s.io, v4.channel.k8s.io"), HeaderMap::new());
        let pod = "/api/v1/namespaces/a/pods/b";
        for (method, path, headers, expected) in [
            ("GET", format!("{pod}/exec?command=sh"), &v5, Ok(true)),
            ("GET", format!("{pod}/%65xec?command=sh"), &v5, Ok(true)),
            ("GET", format!("{pod}/attach"), &v5, Ok(true)),
            ("POST", format!("{pod}/exec"), &spdy, Err(Unrecordable::Protocol)),
            ("POST", format!("{pod}/%65xec"), &spdy, Err(Unrecordable::Protocol)),
            ("GET", format!("{pod}/exec"), &spdy, Err(Unrecordable::Protocol)),
            ("POST", format!("{pod}/exec"), &v5, Err(Unrecordable::Protocol)),
            ("GET", format!("{pod}/exec"), &none, Err(Unrecordable::Protocol)),
            ("GET", format!("{pod}/portforward"), &v5, Err(Unrecordable::PortForward)),
            ("GET", format!("{pod}/proxy/x"), &none, Err(Unrecordable::Proxy)),
            (
                "GET",
                "/api/v1/nodes/n/proxy/exec/a/b/c".to_owned(),
                &v5,
                Err(Unrecordable::Proxy),
            ),
            (
                "POST",
                "/api/v1/nodes/n/proxy/run/a/b/c".to_owned(),
                &none,
                Err(Unrecordable::Proxy),
            ),
            (
                "GET",
                "/api/v1/proxy/nodes/n/exec/a/b/c".to_owned(),
                &v5,
                Err(Unrecordable::Proxy),
            ),
            (
                "PATCH",
                format!("{pod}/ephemeralcontainers"),
                &none,
                Err(Unrecordable::Debug),
            ),
            (
                "GET",
                "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/b/console".to_owned(),
                &v5,
                Err(Unrecordable::Upgrade),
            ),
            (
                "GET",
                "/api/v1/pods?watch=1".to_owned(),
                &v5,
                Err(Unrecordable::Upgrade),
            ),
            ("GET", format!("{pod}/log?follow=true"), &none, Ok(false)),
            ("GET", "/api/v1/pods".to_owned(), &none, Ok(false)),
        ] {
            assert_eq!(of(method, &path, headers), expected, "{method} {path}");
        }
    }

    #[test]
    fn unknown_subprotocols_are_refused_and_never_go_on() {
        let path = "/api/v1/namespaces/a/pods/b/exec";
        for protocols in [
            "",
            "channel.k8s.io",
            "v4.base64.channel.k8s.io",
            "V5.channel.k8s.io",
            "x, y",
        ] {
            let refused = of("GET", path, &websocket(protocols));
            assert_eq!(refused, Err(Unrecordable::Subprotocol), "{protocols}");
        }
        let mut mixed = websocket("channel.k8s.io, v4.channel.k8s.io");
        mixed.append(
            SEC_WEBSOCKET_PROTOCOL,
            "v5.channel.k8s.io,base64.channel.k8s.io".parse().unwrap(),
        );
        assert_eq!(of("GET", path, &mixed), Ok(true));
        restrict_subprotocols(&mut mixed);
        let left: Vec<_> = mixed.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
        assert_eq!(left, ["v4.channel.k8s.io, v5.channel.k8s.io"]);
    }

    #[test]
    fn answer_must_agree_to_what_can_be_recorded() {
        let answer = |status: u16, pairs: &[(&'static str, &str)]| {
            let mut answer = Response::builder().status(status).body(()).unwrap();
            *answer.headers_mut() = headers(pairs);
            is_recordable_response(&answer)
        };
        let (upgrade, v5) = (
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        );
        assert!(answer(101, &[upgrade, v5]));
        assert!(!answer(200, &[upgrade, v5]));
        assert!(!answer(101, &[upgrade]));
        assert!(!answer(101, &[("upgrade", "SPDY/3.1"), v5]));
        assert!(!answer(101, &[upgrade, ("sec-websocket-protocol", "channel.k8s.io")]));
        assert!(!answer(
            101,
            &[upgrade, v5, ("sec-websocket-protocol", "channel.k8s.io")]
        ));
        assert!(!answer(
            101,
            &[upgrade, v5, ("sec-websocket-extensions", "permessage-deflate")]
        ));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::header_lines::map_of;

    /// Exec is taken for what can be recorded only over a WebSocket, and only subprotocols that can be read are offered on.
    #[test]
    fn upgrades() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut headers = map_of(bytes);
            for method in [Method::GET, Method::POST] {
                let checked = check(&method, &headers, Some(PodAccess::Exec));
                let protocol = headers::upgrade(&headers);
                let is_websocket = protocol.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
                assert!(checked.is_err() || (is_websocket && method == Method::GET));
            }
            if check(&Method::GET, &headers, Some(PodAccess::Exec)).is_ok() {
                restrict_subprotocols(&mut headers);
                let offered: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
                let [offered] = offered.as_slice() else {
                    panic!("{offered:?}");
                };
                let offered = offered.to_str().unwrap().split(", ");
                assert!(
                    offered
                        .into_iter()
                        .all(|one| Channels::of(Some(one)) == Channels::Binary)
                );
            }
            for access in [
                PodAccess::PortForward,
                PodAccess::Proxy,
                PodAccess::Debug,
                PodAccess::Upgrade,
            ] {
                assert!(check(&Method::GET, &headers, Some(access)).is_err());
            }
        });
    }
}
