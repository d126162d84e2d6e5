//! Whether a browser made a request.
//!
//! What browsers send was recorded, see `recorded/README.md`. Every request of theirs has `User-Agent` and `Accept-Language`. A page cannot
//! leave out either. It cannot choose the first without a CORS preflight. It can set the second, also to nothing
//! (<https://fetch.spec.whatwg.org/#cors-safelisted-request-header>). The others are sent with some requests, or by some browsers.
//!
//! `Origin` is none of these signs: clients of `WebSocket` that are no browsers send it too, and a foreign one is refused anyway.

use axum::http::header::{
    ACCEPT_LANGUAGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, COOKIE, DNT, HeaderMap, HeaderName,
    REFERER, UPGRADE_INSECURE_REQUESTS, USER_AGENT,
};

/// Headers that browsers add to requests, and programs do not.
const SIGNS: [HeaderName; 15] = [
    ACCEPT_LANGUAGE,
    REFERER,
    UPGRADE_INSECURE_REQUESTS,
    // This server sets none: it is of another server on the node.
    COOKIE,
    DNT,
    ACCESS_CONTROL_REQUEST_METHOD,
    ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderName::from_static("priority"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
    HeaderName::from_static("service-worker"),
    HeaderName::from_static("save-data"),
    HeaderName::from_static("ping-from"),
    HeaderName::from_static("ping-to"),
];

/// The prefix of headers that no page can set (<https://fetch.spec.whatwg.org/#forbidden-request-header>), and those of them that
/// belong to `WebSocket`, which programs use too.
const FORBIDDEN: &str = "sec-";
const WEBSOCKET: &str = "sec-websocket-";

/// The header by which a request shows that a browser made it, if it does.
#[must_use]
pub fn made_by(headers: &HeaderMap) -> Option<HeaderName> {
    let by_name = headers.keys().find(|name| is_sign(name)).cloned();
    let mut agents = headers.get_all(USER_AGENT).iter();
    let names_browser = agents.any(|agent| is_browser(agent.as_bytes()));
    by_name.or_else(|| names_browser.then_some(USER_AGENT))
}

fn is_sign(name: &HeaderName) -> bool {
    let is_forbidden = name.as_str().starts_with(FORBIDDEN) && !name.as_str().starts_with(WEBSOCKET);
    is_forbidden || SIGNS.contains(name)
}

/// All browsers call themselves so (<https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/User-Agent>), and PowerShell does
/// (`Invoke-RestMethod`), which runs no pages.
fn is_browser(agent: &[u8]) -> bool {
    let starts = |prefix: &[u8]| {
        let start = agent.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_powershell = agent.windows(11).any(|part| part.eq_ignore_ascii_case(b"PowerShell/"));
    (starts(b"Mozilla/") || starts(b"Opera/")) && !is_powershell
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSERS: [(&str, &str); 2] = [
        ("chromium", include_str!("recorded/chromium.http")),
        ("firefox", include_str!("recorded/firefox.http")),
    ];
    const PROGRAMS: &str = include_str!("recorded/programs.http");

    /// The request line and the headers of each head in a recording.
    fn heads(recording: &'static str) -> impl Iterator<Item = (&'static str, HeaderMap)> {
        recording.trim().split("\n\n").map(|head| {
            let mut lines = head.lines();
            let line = lines.next().unwrap();
            let headers = lines.map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap())
            });
            (line, headers.collect())
        })
    }

    // cases.md 11.3
    #[test]
    fn recorded_browsers_are_known_by_two_signs() {
        for (browser, recording) in BROWSERS {
            let mut count = 0;
            for (line, mut headers) in heads(recording) {
                assert!(made_by(&headers).is_some(), "{browser}: {line}");
                headers.remove(USER_AGENT);
                assert!(made_by(&headers).is_some(), "{browser} without User-Agent: {line}");
                count += 1;
            }
            assert!(count >= 50, "{browser}: {count}");
            for (line, headers) in heads(recording) {
                let headers = without_signs(headers);
                let sign = made_by(&headers);
                assert_eq!(sign, Some(USER_AGENT), "{browser} by User-Agent alone: {line}");
            }
        }
    }

    // cases.md 11.3
    #[test]
    fn recorded_programs_are_no_browsers() {
        let mut count = 0;
        for (line, headers) in heads(PROGRAMS) {
            assert_eq!(made_by(&headers), None, "{line}");
            count += 1;
        }
        assert!(count >= 8, "{count}");
    }

    #[test]
    fn each_sign_is_enough() {
        let made = |name: &str, value: &str| {
            let headers = HeaderMap::from_iter([(name.parse::<HeaderName>().unwrap(), value.parse().unwrap())]);
            made_by(&headers).is_some()
        };
        for (name, value) in [
            ("accept-language", ""),
            ("sec-fetch-mode", "no-cors"),
            ("sec-ch-ua", "\"Chromium\""),
            ("sec-purpose", "prefetch"),
            ("sec-gpc", "1"),
            ("upgrade-insecure-requests", "1"),
            ("priority", "u=5, i"),
            ("cookie", "a=b"),
            (
                "user-agent",
                "mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
        ] {
            assert!(made(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("sec-websocket-key", "x"),
            ("origin", "http://tka"),
            ("accept", "text/html, image/gif, */*; q=.2"),
            (
                "user-agent",
                "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US) PowerShell/7.4.0",
            ),
            ("user-agent", "kubectl/v1.35.4 (linux/amd64) kubernetes/abc"),
        ] {
            assert!(!made(name, value), "{name}: {value}");
        }
    }

    fn without_signs(headers: HeaderMap) -> HeaderMap {
        let named = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
        named.filter(|(name, _)| !is_sign(name)).collect()
    }
}
