//! Which rule an address below `/k8s` means, and which path of the API server.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use thiserror::Error;
use tka_core::names::NameError;
use tka_core::{RoleName, RuleName, RuleSelector, SessionLabel, shorten};

/// Below which path the API server is.
pub const PREFIX: &str = tka_api::http::GATEWAY;

/// How many parameters a query may have. Of one that has more Go reads none (`urlmaxqueryparams`, <https://go.dev/doc/godebug>).
const PARAMETERS: usize = 10_000;

/// What a request's address asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The rule that is meant.
    pub choice: RuleSelector,
    /// The label of the session, where it has one.
    pub label: Option<SessionLabel>,
    /// The path on the API server, percent-encoded as it came, and the query.
    path_and_query: PathAndQuery,
}

/// Why an address leads to no path of the API server.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TargetError {
    /// It is not below [`PREFIX`].
    #[error("the path does not begin with {PREFIX}/")]
    Elsewhere,
    /// The path has a segment `.` or `..`, plain or percent-encoded. It could lead out of the API.
    #[error("the path has a segment that is . or ..")]
    DotSegment,
    /// A percent-encoded control character.
    #[error("the path has a control character")]
    Control,
    /// The query has more parameters than the API server reads.
    #[error("the query has more than {PARAMETERS} parameters")]
    Parameters,
    /// The rule or role that it names cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What is left is no path.
    #[error("{0} is not a path")]
    Path(String),
}

// === impl Target ===

impl Target {
    /// Reads the address of a request: `/k8s/PATH`, `/k8s/rule/NAME/PATH` or `/k8s/role/ROLE/PATH`, each also with `/session/LABEL` behind
    /// `/k8s`.
    pub fn parse(uri: &Uri) -> Result<Self, TargetError> {
        let below = uri.path().strip_prefix(PREFIX).ok_or(TargetError::Elsewhere)?;
        if !below.is_empty() && !below.starts_with('/') {
            return Err(TargetError::Elsewhere);
        }
        check(below)?;
        if uri.query().is_some_and(|query| query.split('&').count() > PARAMETERS) {
            return Err(TargetError::Parameters);
        }
        let (label, below) = label(below)?;
        let (choice, path) = choice(below)?;
        let path = if path.is_empty() { "/" } else { path };
        let text = uri
            .query()
            .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let path_and_query = text.parse().map_err(|_| TargetError::Path(shorten(&text)))?;
        Ok(Self {
            choice,
            label,
            path_and_query,
        })
    }

    /// Whether it names no rule and no session, so that what the caller has decides which one acts.
    #[must_use]
    pub fn is_unqualified(&self) -> bool {
        self.choice == RuleSelector::default() && self.label.is_none()
    }

    /// The path, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    /// Path and query, below the path `base` of an API server that is not at the root of its host.
    #[must_use]
    pub fn below(&self, base: &str) -> String {
        format!("{}{}", base.trim_end_matches('/'), self.path_and_query)
    }
}

/// The API server splits the decoded path, in which an encoded slash is a slash.
fn check(path: &str) -> Result<(), TargetError> {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(TargetError::Control);
    }
    // A backslash is no separator to it, but may be to what is behind it.
    let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    if segments.any(|segment| matches!(segment, b"." | b"..")) {
        return Err(TargetError::DotSegment);
    }
    Ok(())
}

/// The session that is kept apart by a label, as that of one shell is.
fn label(below: &str) -> Result<(Option<SessionLabel>, &str), TargetError> {
    match named("/session/", below) {
        Some((label, rest)) => Ok((Some(SessionLabel::try_from(label)?), rest)),
        None => Ok((None, below)),
    }
}

/// The segment behind `kind`, decoded, and what follows.
fn named<'p>(kind: &str, below: &'p str) -> Option<(String, &'p str)> {
    let rest = below.strip_prefix(kind)?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, path) = rest.split_at(end);
    Some((percent_decode_str(name).decode_utf8_lossy().into_owned(), path))
}

fn choice(below: &str) -> Result<(RuleSelector, &str), TargetError> {
    for kind in ["/rule/", "/role/"] {
        let Some((name, path)) = named(kind, below) else {
            continue;
        };
        let mut choice = RuleSelector::default();
        if kind == "/rule/" {
            choice.name = Some(RuleName::try_from(name)?);
        } else {
            choice.role = Some(RoleName::try_from(name)?);
        }
        return Ok((choice, path));
    }
    Ok((RuleSelector::default(), below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(uri: &str) -> Result<(String, RuleSelector), TargetError> {
        let target = Target::parse(&uri.parse().unwrap())?;
        Ok((target.below(""), target.choice))
    }

    fn path(uri: &str) -> String {
        parse(uri).unwrap().0
    }

    #[test]
    fn path_and_query_go_on_as_they_came() {
        assert_eq!(path("/k8s"), "/");
        assert_eq!(path("/k8s/"), "/");
        assert_eq!(path("/k8s?timeout=32s"), "/?timeout=32s");
        assert_eq!(
            path("/k8s/api/v1/pods?watch=1&labelSelector=a%3Db"),
            "/api/v1/pods?watch=1&labelSelector=a%3Db"
        );
        assert_eq!(path("http://tka:8080/k8s/apis"), "/apis");
        assert_eq!(
            path("/k8s/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"
        );
        assert_eq!(path("/k8s//api"), "//api");
    }

    #[test]
    fn address_chooses_the_rule() {
        let (path, choice) = parse("/k8s/rule/oncall/api?x").unwrap();
        assert_eq!((path.as_str(), choice.name.unwrap().as_str()), ("/api?x", "oncall"));
        let (path, choice) = parse("/k8s/role/system%3Aview").unwrap();
        assert_eq!((path.as_str(), choice.role.unwrap().as_str()), ("/", "system:view"));
        let labelled = Target::parse(&"/k8s/session/shell-1/rule/oncall/api".parse().unwrap()).unwrap();
        let label = labelled.label.as_ref().map(SessionLabel::as_str);
        assert_eq!((labelled.path(), label), ("/api", Some("shell-1")));
        assert_eq!(labelled.choice.name.unwrap().as_str(), "oncall");
        let labelled = Target::parse(&"/k8s/session/shell-1".parse().unwrap()).unwrap();
        assert_eq!((labelled.path(), &labelled.choice), ("/", &RuleSelector::default()));
        // Only there: a resource may be called so too.
        assert_eq!(parse("/k8s/rule/oncall/session/x").unwrap().0, "/session/x");
        assert_eq!(parse("/k8s/api/rule/oncall").unwrap().1, RuleSelector::default());
    }

    #[test]
    fn address_is_open_without_rule_role_and_session() {
        let is_unqualified = |uri: &str| Target::parse(&uri.parse().unwrap()).unwrap().is_unqualified();
        assert!(is_unqualified("/k8s/api") && is_unqualified("/k8s") && is_unqualified("/k8s/api/rule/oncall"));
        for uri in [
            "rule/oncall/api",
            "role/view/api",
            "session/shell-1/api",
            "session/elevation/rule/oncall",
        ] {
            assert!(!is_unqualified(&format!("/k8s/{uri}")), "{uri}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for uri in [
            "/k8s/rule/",
            "/k8s/rule//api",
            "/k8s/rule/On%20Call/api",
            "/k8s/role//api",
            "/k8s/role/a%2525b",
        ] {
            assert!(matches!(parse(uri), Err(TargetError::Name(_))), "{uri}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_api() {
        for uri in [
            "/k8s/../login",
            "/k8s/api/..",
            "/k8s/%2e%2e/login",
            "/k8s/api/%2E./x",
            "/k8s/api/v1/..%2f..%2flogin",
            "/k8s/./api",
            "/k8s/rule/%2e%2e/api",
            "/k8s/api/..%5cx",
        ] {
            assert_eq!(parse(uri).unwrap_err(), TargetError::DotSegment, "{uri}");
        }
        for uri in ["/k8sx", "/api", "/", "/K8S/api"] {
            assert_eq!(parse(uri).unwrap_err(), TargetError::Elsewhere, "{uri}");
        }
        for uri in ["/k8s/%00", "/k8s/api%0d%0aX: y", "/k8s/%7f"] {
            let uri = uri.replace(' ', "%20");
            assert_eq!(parse(&uri).unwrap_err(), TargetError::Control, "{uri}");
        }
    }

    #[test]
    fn base_of_the_api_server_is_kept() {
        let target = Target::parse(&Uri::from_static("/k8s/api?x=1")).unwrap();
        assert_eq!(target.below("/k8s/clusters/c-1/"), "/k8s/clusters/c-1/api?x=1");
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_stays_below_the_base(rest in "[/.%25eE2fFa5cC]{0,24}") {
            let Ok(uri) = format!("/k8s/{rest}").parse::<Uri>() else { return Ok(()) };
            if let Ok(target) = Target::parse(&uri) {
                let whole = target.below("/base");
                prop_assert!(whole.starts_with("/base/"));
                let decoded = percent_decode_str(&whole).decode_utf8_lossy().into_owned();
                let leads_out = decoded.split(['/', '\\']).any(|segment| segment == ".." || segment == ".");
                prop_assert!(!leads_out, "{whole}");
            }
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    /// Whatever is let through has no segment that leads up, however it is encoded.
    #[test]
    fn paths() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let Ok(uri) = format!("/k8s/{text}").parse::<Uri>() else {
                return;
            };
            let Ok(target) = Target::parse(&uri) else { return };
            let decoded: Vec<u8> = percent_decode_str(target.path()).collect();
            assert!(target.path().starts_with('/'));
            assert!(!decoded.split(|byte| *byte == b'/').any(|segment| segment == b".."));
        });
    }
}
