//! Hot pure parts, so often: `cargo xtask bench --check` counts the instructions that they take. Those do not wobble, as times do.

use std::hint::black_box;
use std::process::ExitCode;

use http::{HeaderMap, HeaderValue, Method, Uri};
use jiff::Timestamp;
use tka_api::Token;
use tka_core::{ApplicableRules, Caller, Device, Identity, Limits, Request, RuleSelector, Session};
use tka_gateway::{RequestInfo, Target, headers};

/// How often each is done.
const TIMES: u32 = 1000;
/// Rules as a tailnet policy has them.
const RULES: [&str; 3] = [
    r#"{"role": "view", "period": "8h", "priority": 10}"#,
    r#"{"role": "edit", "period": "1h", "priority": 50, "namespaces": ["shop", "pay"], "name": "oncall"}"#,
    r#"{"role": "cluster-admin", "period": "15m", "priority": 100, "require_reason": true, "name": "admin"}"#,
];
/// Headers as kubectl sends them.
const HEADERS: [(&str, &str); 6] = [
    ("host", "tka.tailnet.test:8080"),
    ("user-agent", "kubectl/v1.35.4 (linux/amd64) kubernetes/1234567"),
    (
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    ),
    ("accept-encoding", "gzip"),
    ("kubectl-command", "kubectl get"),
    ("kubectl-session", "11111111-2222-3333-4444-555555555555"),
];

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: Option<&str>) -> Result<(), Failure> {
    let part: fn() -> Result<(), Failure> = match what {
        // What all others take for starting and for the loop.
        Some("nothing") => || Ok(()),
        Some("rules") => rules,
        Some("session") => session,
        Some("request") => request,
        Some("headers") => gateway_headers,
        _ => return Err("say which part: nothing, rules, session, request or headers".into()),
    };
    for _ in 0..TIMES {
        part()?;
    }
    Ok(())
}

/// The rules of a caller are read, and one is chosen.
fn rules() -> Result<(), Failure> {
    let rules = ApplicableRules::parse(black_box(RULES))?;
    black_box(rules.choose(&RuleSelector::default())?);
    Ok(())
}

/// A session is made, and named.
fn session() -> Result<(), Failure> {
    let caller = Caller {
        identity: Identity::user(7, "alice@example.com"),
        device: Device::new("n1", "laptop"),
    };
    let rules = ApplicableRules::parse(black_box([RULES[0]]))?;
    let rule = rules.choose(&RuleSelector::default())?;
    let session = Session::new(caller, rule, &Request::default(), Limits::none(), Timestamp::UNIX_EPOCH)?;
    black_box(session.name());
    Ok(())
}

/// A request to the cluster's API is understood.
fn request() -> Result<(), Failure> {
    let uri: Uri = black_box("/k8s/api/v1/namespaces/shop/pods/web-7c9d8/log?container=web&follow=true").parse()?;
    let target = Target::parse(&uri)?;
    black_box(RequestInfo::new(&Method::GET, &target));
    Ok(())
}

/// The headers go on with which it is carried.
fn gateway_headers() -> Result<(), Failure> {
    let mut sent = HeaderMap::new();
    for (name, value) in black_box(HEADERS) {
        sent.insert(name, HeaderValue::from_static(value));
    }
    let token = Token::from("a.b.c".to_owned());
    let identity = headers::UpstreamIdentity {
        token: &token,
        caller: Some([100, 64, 0, 2].into()),
        audit_id: "11111111-2222-3333-4444-555555555555",
    };
    black_box(headers::request(
        &sent,
        &HeaderValue::from_static("127.0.0.1:6443"),
        &identity,
    )?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_does_what_it_is_counted_for() {
        for part in ["nothing", "rules", "session", "request", "headers"] {
            run(Some(part)).unwrap_or_else(|error| panic!("{part}: {error}"));
        }
        assert!(run(Some("other")).is_err() && run(None).is_err());
    }
}
