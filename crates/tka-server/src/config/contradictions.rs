//! What each setting allows by itself, and all of them together do not.
//!
//! This is asked wherever a configuration is read: by `serve` at the start and again at a reload, and by `config check`. So none of them takes what another
//! refuses.

use std::collections::BTreeMap;

use tka_operator::error::with_causes;

use super::problem::{Location, Problem};
use super::sections::{ClusterInfo, Config, ConfigMapRef};

/// Two settings or more that cannot hold together.
struct Contradiction {
    /// The key that it is about.
    key: &'static str,
    /// Another that is set, where that one may be left out.
    beside: &'static str,
    /// Why, and what to do.
    why: String,
}

/// All that does not fit together in `config`, whose settings stand at `places`.
pub(super) fn contradictions(config: &Config, places: &BTreeMap<&'static str, Location>) -> Vec<Problem> {
    let found = [certificate(config), recordings(config), requests(config), ports(config)];
    let found = found.into_iter().flatten().chain(cluster(&config.cluster_info));
    let problem = |Contradiction { key, beside, why }| {
        let place = places.get(key).or_else(|| places.get(beside)).cloned();
        Problem {
            place: place.unwrap_or(Location::Flags),
            key: key.to_owned(),
            why,
        }
    };
    found.map(problem).collect()
}

/// A certificate without its key would be no HTTPS at all.
fn certificate(config: &Config) -> Option<Contradiction> {
    let [certificate, key] = [&config.tls.cert_file, &config.tls.key_file].map(|path| path.as_os_str().is_empty());
    let (beside, missing) = match (certificate, key) {
        (false, true) => ("tls.certFile", "tls.keyFile"),
        (true, false) => ("tls.keyFile", "tls.certFile"),
        _ => return None,
    };
    Some(Contradiction {
        key: missing,
        beside,
        why: format!("it is missing, and {beside} is set: set both, or neither for the tailnet's certificate"),
    })
}

fn recordings(config: &Config) -> Option<Contradiction> {
    let error = config.gateway.recording.place().err()?;
    let (key, said) = (error.key(), with_causes(&error));
    // The key stands before it.
    let why = said.strip_prefix(key).map(|rest| format!("it{rest}"));
    Some(Contradiction {
        key,
        beside: "gateway.recording.folder",
        why: why.unwrap_or(said),
    })
}

/// Each request that is carried may have a connection of its own, and then none would be left for signing out.
fn requests(config: &Config) -> Option<Contradiction> {
    let (carried, connections) = (config.gateway.max_requests, config.server.max_connections);
    (config.gateway.enabled && carried >= connections).then(|| Contradiction {
        key: "gateway.maxRequests",
        beside: "server.maxConnections",
        why: format!(
            "it is {carried}, and server.maxConnections is {connections}, so that requests could take all connections: make it less, or the other more"
        ),
    })
}

/// The tailnet is served on an address that the health listener would have.
fn ports(config: &Config) -> Option<Contradiction> {
    let (health, port) = (&config.health, config.tailscale.port);
    (health.address.is_unspecified() && health.port == port).then(|| Contradiction {
        key: "health.port",
        beside: "tailscale.port",
        why: format!(
            "it is {port}, as tailscale.port is, and health.address is all addresses: choose another port for one of them, or one address for the health listener"
        ),
    })
}

fn cluster(info: &ClusterInfo) -> Vec<Contradiction> {
    if !info.config_map_ref.enabled {
        return Vec::new();
    }
    let unused = [
        ("clusterInfo.caData", !info.ca_data.trim().is_empty(), "caData"),
        (
            "clusterInfo.insecureSkipTLSVerify",
            info.insecure_skip_tls_verify,
            "insecure",
        ),
    ];
    let unused = unused.into_iter().filter(|(_, is_set, _)| *is_set);
    let unused = unused.map(|(key, _, of_map)| Contradiction {
        key,
        beside: "clusterInfo.configMapRef.enabled",
        why: format!(
            "it is not used, because clusterInfo.configMapRef.enabled is true: leave it out, and write it into the ConfigMap, under clusterInfo.configMapRef.keys.{of_map}"
        ),
    });
    unused.chain(config_map(&info.config_map_ref)).collect()
}

/// The file of the original has empty names where no ConfigMap is read.
fn config_map(reference: &ConfigMapRef) -> Option<Contradiction> {
    let nameless = [
        ("clusterInfo.configMapRef.name", &reference.name),
        ("clusterInfo.configMapRef.namespace", &reference.namespace),
    ];
    let nameless = nameless.into_iter().find(|(_, name)| name.is_empty());
    let without_name = nameless.map(|(key, _)| (key, "it is empty, and clusterInfo.configMapRef.enabled is true: give it a value, or leave it out for the default"));
    let (url, kubeconfig) = (&reference.keys.api_endpoint, &reference.keys.kubeconfig);
    let without_keys = (url.is_empty() && kubeconfig.is_empty()).then_some((
        "clusterInfo.configMapRef.keys.apiEndpoint",
        "it is empty, and so is clusterInfo.configMapRef.keys.kubeconfig: name one of the two, under which the ConfigMap has the URL",
    ));
    without_name.or(without_keys).map(|(key, why)| Contradiction {
        key,
        beside: "clusterInfo.configMapRef.enabled",
        why: why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigError, Source};

    /// What is wrong with a file of that text, as it is said.
    fn wrong(text: &str) -> Vec<String> {
        let loaded = Source::default().resolve_layers(Some("f".into()), text.into(), |_| None);
        match loaded {
            Ok(_) => Vec::new(),
            Err(ConfigError::Wrong(problems)) => problems.0.iter().map(ToString::to_string).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused_on_their_line() {
        for (text, expected) in [
            (
                "tls: {certFile: /c}",
                "f:1: tls.keyFile: it is missing, and tls.certFile is set",
            ),
            (
                "gateway:\n  recording:\n    folder: /r\n    s3:\n      bucket: b\n",
                "f:5: gateway.recording.s3.bucket: gateway.recording.folder and gateway.recording.s3.bucket are both set",
            ),
            (
                "gateway: {recording: {s3: {prefix: p}}}",
                "f:1: gateway.recording.s3.prefix: it has no meaning without gateway.recording.s3.bucket",
            ),
            (
                "gateway: {recording: {s3: {bucket: b}, retentionDays: 9}}",
                "f:1: gateway.recording.retentionDays: ",
            ),
            (
                "gateway: {enabled: true}\nserver: {maxConnections: 5}\n",
                "f:2: gateway.maxRequests: it is 700, and server.maxConnections is 5",
            ),
            (
                "gateway: {enabled: true, maxRequests: 900}\n",
                "f:1: gateway.maxRequests: it is 900, and server.maxConnections is 900",
            ),
            (
                "tailscale: {port: 8080}",
                "f:1: health.port: it is 8080, as tailscale.port is",
            ),
            ("health: {port: 443, address: '::'}", "f:1: health.port: it is 443"),
            (
                "clusterInfo: {caData: x, configMapRef: {enabled: true}}",
                "f:1: clusterInfo.caData: it is not used",
            ),
            (
                "clusterInfo: {insecureSkipTLSVerify: true, configMapRef: {enabled: true}}",
                "f:1: clusterInfo.insecureSkipTLSVerify: it is not used",
            ),
            (
                "clusterInfo:\n  configMapRef:\n    enabled: true\n    name: ''\n",
                "f:4: clusterInfo.configMapRef.name: it is empty",
            ),
            (
                "clusterInfo: {configMapRef: {enabled: true, namespace: ''}}",
                "f:1: clusterInfo.configMapRef.namespace: it is empty",
            ),
            (
                "clusterInfo: {configMapRef: {enabled: true, keys: {apiEndpoint: '', kubeconfig: ''}}}",
                "f:1: clusterInfo.configMapRef.keys.apiEndpoint: it is empty",
            ),
        ] {
            let said = wrong(text);
            assert!(said.len() == 1 && said[0].starts_with(expected), "{text}: {said:?}");
        }
    }

    #[test]
    fn settings_that_fit_together_are_taken() {
        for text in [
            "",
            "server: {maxConnections: 5}",
            "gateway: {enabled: true, maxRequests: 4}\nserver: {maxConnections: 5}",
            "gateway: {recording: {s3: {bucket: b, prefix: p}}}",
            "gateway: {recording: {folder: /r, retentionDays: 9}}",
            "tailscale: {port: 8080}\nhealth: {address: 127.0.0.1}",
            "clusterInfo: {configMapRef: {enabled: false, name: '', namespace: ''}}",
            "clusterInfo: {configMapRef: {enabled: true, keys: {apiEndpoint: ''}}}",
        ] {
            assert_eq!(wrong(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn all_that_does_not_fit_is_said_at_once() {
        assert_eq!(wrong("tls: {certFile: /c}\ntailscale: {port: 8080}").len(), 2);
    }
}
