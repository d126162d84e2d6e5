//! What a request is, read from its path and query as the API server reads them.
//!
//! The rules are those of `RequestInfoFactory` (<https://pkg.go.dev/k8s.io/apiserver/pkg/endpoints/request#RequestInfoFactory>): the path is decoded
//! first, so that `%65xec` is `exec`. What a client merely claims in headers or parameters counts for nothing.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::target::Target;

/// A request, as the API server authorises it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestInfo {
    /// The verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`; of other paths the method.
    pub verb: String,
    /// Whether it is about a resource. Else only the verb and the path say what it is.
    pub is_resource: bool,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The resource, such as `pods`.
    pub resource: String,
    /// The subresource, such as `exec`; empty for none.
    pub subresource: String,
    /// The namespace; empty for none.
    pub namespace: String,
    /// The object's name; empty for none.
    pub name: String,
}

/// Why a request is recorded before it is carried, whatever the level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PodAccess {
    /// A command in a container, or its terminal.
    Exec,
    /// Connections to a pod's ports.
    PortForward,
    /// HTTP to a pod, a service or a node's kubelet, which runs commands too.
    Proxy,
    /// A container that is added to a running pod.
    Debug,
    /// Another connection of both ways, such as the console of a virtual machine.
    Upgrade,
}

// === impl RequestInfo ===

impl RequestInfo {
    /// Reads a request of `method` for `target`.
    #[must_use]
    pub fn new(method: &Method, target: &Target) -> Self {
        let path = percent_decode_str(target.path()).decode_utf8_lossy();
        let trimmed = path.trim_matches('/');
        let parts: Vec<&str> = trimmed.split('/').collect();
        let other = Self {
            verb: method.as_str().to_ascii_lowercase(),
            ..Self::default()
        };
        let (group, rest) = match parts.as_slice() {
            ["api", rest @ ..] if rest.len() >= 2 => ("", rest),
            ["apis", group, rest @ ..] if rest.len() >= 2 => (*group, rest),
            _ => return other,
        };
        let mut info = Self {
            verb: verb(method).to_owned(),
            is_resource: true,
            group: group.to_owned(),
            version: rest[0].to_owned(),
            ..Self::default()
        };
        info.read_resource(&rest[1..]);
        info.refine_verb(target.query().unwrap_or_default());
        info
    }

    fn read_resource(&mut self, mut parts: &[&str]) {
        // `/api/v1/watch/…` and `/api/v1/proxy/…`, which are old.
        if let [special @ ("watch" | "proxy"), rest @ ..] = parts {
            (*special).clone_into(&mut self.verb);
            parts = rest;
        }
        if let ["namespaces", namespace, rest @ ..] = parts {
            (*namespace).clone_into(&mut self.namespace);
            let is_of_the_namespace = matches!(rest.first(), None | Some(&("status" | "finalize")));
            if !is_of_the_namespace {
                parts = rest;
            }
        }
        let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
        (self.resource, self.name) = (part(0), part(1));
        if self.verb != "proxy" {
            self.subresource = part(2);
        }
    }

    fn refine_verb(&mut self, query: &str) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb.as_str() {
            "get" => {
                let is_watch = flag(query, "watch");
                let verb = if is_watch { "watch" } else { "list" };
                verb.clone_into(&mut self.verb);
                self.name = named_by_selector(query).unwrap_or_default();
            }
            "delete" => "deletecollection".clone_into(&mut self.verb),
            _ => {}
        }
    }

    /// Whether it only reads.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch" | "head" | "options") && self.interactive().is_none()
    }

    /// Whether it is one of those that are recorded before they are carried.
    #[must_use]
    pub fn interactive(&self) -> Option<PodAccess> {
        if self.verb == "proxy" || self.subresource == "proxy" {
            return Some(PodAccess::Proxy);
        }
        match (self.resource.as_str(), self.subresource.as_str()) {
            // Those of another API are not known to speak as Kubernetes' own do: they are upgrades as any.
            ("pods", "exec" | "attach") if self.group.is_empty() => Some(PodAccess::Exec),
            ("pods", "portforward") => Some(PodAccess::PortForward),
            ("pods", "ephemeralcontainers") if !matches!(self.verb.as_str(), "get" | "list" | "watch") => {
                Some(PodAccess::Debug)
            }
            _ => None,
        }
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The first value of a parameter, decoded as Go's `url.ParseQuery` decodes it.
#[must_use]
pub fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query, name).next()
}

/// Whether a parameter is set, as the API server reads a flag.
#[must_use]
pub fn flag(query: &str, name: &str) -> bool {
    parameter(query, name).is_some_and(|value| !is_false(&value))
}

/// All values of a parameter. What Go leaves out is none: a pair with a semicolon, or with an escape that is none
/// (<https://pkg.go.dev/net/url#ParseQuery>).
pub fn parameters<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = query
        .split('&')
        .filter(|pair| !pair.contains(';') && has_whole_escapes(pair));
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .filter(move |(key, _)| decoded(key) == name)
        .map(|(_, value)| decoded(value))
}

fn has_whole_escapes(pair: &str) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let mut escapes = pair.split('%').skip(1).map(str::as_bytes);
    escapes.all(|rest| is_hex(rest.first()) && is_hex(rest.get(1)))
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Whether the API server takes a parameter's value for false (`Convert_Slice_string_To_bool`).
fn is_false(value: &str) -> bool {
    value == "0" || value.eq_ignore_ascii_case("false")
}

/// The name that a field selector names.
fn named_by_selector(query: &str) -> Option<String> {
    let selector = parameter(query, "fieldSelector")?;
    let name = selector
        .split(',')
        .find_map(|term| term.strip_prefix("metadata.name="))?;
    Some(name.trim_start_matches('=').to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &str, path: &str) -> RequestInfo {
        let target = Target::parse(&format!("/k8s{path}").parse().unwrap()).unwrap();
        RequestInfo::new(&method.parse().unwrap(), &target)
    }

    /// `verb group/version namespace resource/name/subresource`.
    fn read(method: &str, path: &str) -> String {
        let info = info(method, path);
        if !info.is_resource {
            return info.verb;
        }
        format!(
            "{} {}/{} {} {}/{}/{}",
            info.verb, info.group, info.version, info.namespace, info.resource, info.name, info.subresource
        )
    }

    #[test]
    fn parameters_are_those_that_go_reads() {
        let query =
            "container=web;&container=vault&command=ls;&command=sh&command=%zz&command=%4&command=a%20b&c%6fmmand=c";
        assert_eq!(parameter(query, "container").unwrap(), "vault");
        let command: Vec<_> = parameters(query, "command").collect();
        assert_eq!(command, ["sh", "a b", "c"]);
    }

    // The table of `TestGetAPIRequestInfo`, k8s.io/apiserver/pkg/endpoints/request/requestinfo_test.go.
    #[test]
    fn resources_are_read_as_the_api_server_reads_them() {
        for (method, path, expected) in [
            ("GET", "/api/v1/namespaces", "list /v1  namespaces//"),
            ("GET", "/api/v1/namespaces/other", "get /v1 other namespaces/other/"),
            ("GET", "/api/v1/namespaces/other/pods", "list /v1 other pods//"),
            ("GET", "/api/v1/namespaces/other/pods/foo", "get /v1 other pods/foo/"),
            ("HEAD", "/api/v1/namespaces/other/pods/foo", "get /v1 other pods/foo/"),
            ("GET", "/api/v1/pods", "list /v1  pods//"),
            (
                "GET",
                "/api/v1/proxy/namespaces/other/pods/foo",
                "proxy /v1 other pods/foo/",
            ),
            (
                "GET",
                "/api/v1/proxy/namespaces/other/pods/foo/sub/x",
                "proxy /v1 other pods/foo/",
            ),
            ("GET", "/api/v1/watch/pods", "watch /v1  pods//"),
            ("GET", "/api/v1/watch/namespaces/other/pods", "watch /v1 other pods//"),
            ("GET", "/api/v1/pods?watch=true", "watch /v1  pods//"),
            ("GET", "/api/v1/pods?watch=1", "watch /v1  pods//"),
            ("GET", "/api/v1/pods?watch", "watch /v1  pods//"),
            ("GET", "/api/v1/pods?w%61tch=1", "watch /v1  pods//"),
            ("GET", "/api/v1/pods?watch=False", "list /v1  pods//"),
            ("GET", "/api/v1/pods?watch=0&watch=1", "list /v1  pods//"),
            (
                "GET",
                "/api/v1/pods?fieldSelector=metadata.name%3Dfoo",
                "list /v1  pods/foo/",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/other/pods/foo",
                "delete /v1 other pods/foo/",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/other/pods",
                "deletecollection /v1 other pods//",
            ),
            ("POST", "/api/v1/namespaces/other/pods", "create /v1 other pods//"),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "patch apps/v1 a deployments/b/scale",
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update /v1 a namespaces/a/finalize",
            ),
            ("GET", "/api/v1/namespaces/a/status", "get /v1 a namespaces/a/status"),
            (
                "GET",
                "/apis/metrics.k8s.io/v1beta1/nodes",
                "list metrics.k8s.io/v1beta1  nodes//",
            ),
            ("GET", "/api/v1/nodes/n1/proxy/run/x", "get /v1  nodes/n1/proxy"),
            ("FOO", "/api/v1/pods", " /v1  pods//"),
            ("GET", "/", "get"),
            ("GET", "/api", "get"),
            ("GET", "/api/v1", "get"),
            ("GET", "/apis/apps/v1", "get"),
            ("POST", "/healthz", "post"),
            ("GET", "/openapi/v3/apis/apps/v1", "get"),
        ] {
            assert_eq!(read(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn encoded_words_are_what_they_say() {
        for path in [
            "/api/v1/namespaces/a/pods/b/exec",
            "/api/v1/namespaces/a/pods/b/%65xec?command=sh",
            "/api/v1/namespaces/a/p%6fds/b/exec",
            "/api/v1/namespaces/a/pods/b%2fexec",
            "//api/v1/namespaces/a/pods/b/exec/",
            "/api/v1/namespaces/a/pods/b/attach",
        ] {
            assert_eq!(info("GET", path).interactive(), Some(PodAccess::Exec), "{path}");
            assert!(!info("GET", path).is_read());
        }
    }

    #[test]
    fn ways_into_pods_are_known() {
        for (method, path, expected) in [
            (
                "POST",
                "/api/v1/namespaces/a/pods/b/portforward",
                Some(PodAccess::PortForward),
            ),
            (
                "GET",
                "/api/v1/namespaces/a/services/b:80/proxy/x",
                Some(PodAccess::Proxy),
            ),
            ("GET", "/api/v1/nodes/n/proxy/exec/a/b/c", Some(PodAccess::Proxy)),
            (
                "PATCH",
                "/api/v1/namespaces/a/pods/b/ephemeralcontainers",
                Some(PodAccess::Debug),
            ),
            ("GET", "/api/v1/namespaces/a/pods/b/ephemeralcontainers", None),
            ("GET", "/api/v1/namespaces/a/pods/b/log?follow=true", None),
            ("GET", "/apis/apps/v1/namespaces/a/deployments/b/exec", None),
        ] {
            assert_eq!(info(method, path).interactive(), expected, "{path}");
        }
    }

    #[test]
    fn reads_are_told_from_writes() {
        for (method, path) in [("GET", "/api/v1/pods"), ("GET", "/version"), ("HEAD", "/healthz")] {
            assert!(info(method, path).is_read(), "{path}");
        }
        for (method, path) in [
            ("POST", "/api/v1/namespaces/a/pods"),
            ("DELETE", "/x"),
            ("FOO", "/api/v1/pods"),
        ] {
            assert!(!info(method, path).is_read(), "{path}");
        }
    }
}
