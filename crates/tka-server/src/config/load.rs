//! Layers of the configuration: a file, the environment over it, flags on top.

use std::path::{Path, PathBuf};

use figment::providers::Format;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Config;

/// All keys, as a file nests them. The environment variable of a key is `TKA_` and the key in capitals with `_` for `.`.
const KEYS: &[&str] = &[
    "debug",
    "log.format",
    "audit.path",
    "otel.endpoint",
    "otel.insecure",
    "tailscale.hostname",
    "tailscale.port",
    "tailscale.tailnet",
    "tailscale.capName",
    "tailscale.socket",
    "tailscale.maxUnverified",
    "tailscale.stateDir",
    "tls.certFile",
    "tls.keyFile",
    "server.readTimeout",
    "server.readHeaderTimeout",
    "server.writeTimeout",
    "server.idleTimeout",
    "server.allowedHosts",
    "server.rateLimit.requestsPerSecond",
    "server.rateLimit.burst",
    "server.maxConnections",
    "operator.namespace",
    "operator.clusterName",
    "operator.contextPrefix",
    "operator.userPrefix",
    "operator.minPeriod",
    "operator.maxCredentialPeriod",
    "operator.maxSessionsPerDevice",
    "operator.maxBindingsPerDevice",
    "operator.machines",
    "api.retryAfterSeconds",
    "gateway.enabled",
    "gateway.audit",
    "gateway.rateLimit.requestsPerSecond",
    "gateway.rateLimit.burst",
    "gateway.maxRequestsPerSession",
    "gateway.maxRequests",
    "gateway.unreadTimeout",
    "health.address",
    "health.port",
    "clusterInfo.apiEndpoint",
    "clusterInfo.caData",
    "clusterInfo.insecureSkipTLSVerify",
    "clusterInfo.labels",
    "clusterInfo.configMapRef.enabled",
    "clusterInfo.configMapRef.name",
    "clusterInfo.configMapRef.namespace",
    "clusterInfo.configMapRef.keys.apiEndpoint",
    "clusterInfo.configMapRef.keys.caData",
    "clusterInfo.configMapRef.keys.insecure",
    "clusterInfo.configMapRef.keys.kubeconfig",
];

/// Keys whose values are numbers or switches; all others are text, be it text that looks like a number.
const TYPED_KEYS: &[&str] = &[
    "debug",
    "otel.insecure",
    "tailscale.port",
    "server.rateLimit.requestsPerSecond",
    "server.rateLimit.burst",
    "server.maxConnections",
    "operator.maxSessionsPerDevice",
    "operator.maxBindingsPerDevice",
    "operator.machines",
    "api.retryAfterSeconds",
    "gateway.enabled",
    "gateway.rateLimit.requestsPerSecond",
    "gateway.rateLimit.burst",
    "gateway.maxRequestsPerSession",
    "gateway.maxRequests",
    "health.port",
    "clusterInfo.insecureSkipTLSVerify",
    "clusterInfo.configMapRef.enabled",
];

/// One setting from the environment or a flag: a key and the text given for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The key, as a file nests it: `tailscale.port`.
    pub key: &'static str,
    /// The text.
    pub text: String,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is text in another encoding.
    #[error("the configuration file {} is not UTF-8: save it as UTF-8", path.display())]
    NotUtf8 {
        /// Its path.
        path: PathBuf,
    },
    /// The file is not YAML.
    #[error("the configuration file {} is not YAML: {why}", path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A value is wrong, or a key is not known.
    #[error("the setting {key} from {layer} is wrong: {why}")]
    Wrong {
        /// The key, as a file nests it.
        key: String,
        /// Where it stands.
        layer: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads the configuration: the file, over it the environment, over that `flags`.
///
/// Without a path the file is the first `config.yaml` in `.`, `~/.config/tka` and `/etc/tka`; having none is fine.
pub fn load(
    path: Option<&Path>,
    home: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &[Setting],
) -> Result<Config, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = path.map(Path::to_owned).or_else(|| first_file(home)) {
        let bytes = std::fs::read(&path).map_err(|source| ConfigError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let mut data = parse_file(&path, &utf8(&path, bytes)?)?;
        let name = path.display().to_string();
        settle(&mut data, "").map_err(|key| ConfigError::Wrong {
            key,
            layer: name.clone(),
            why: "it is empty: give it a value, or leave it out for the default".into(),
        })?;
        figment = figment.merge(Layer { name, data });
    }
    let set = KEYS.iter().filter_map(|key| {
        let text = environment(&variable(key)).filter(|text| !text.is_empty())?;
        Some(Setting { key, text })
    });
    let environment: Vec<_> = set.collect();
    for (name, settings) in [("the environment", &*environment), ("the flags", flags)] {
        let (name, data) = (name.to_owned(), nested(settings));
        figment = figment.merge(Layer { name, data });
    }
    let config = typed(&figment)?;
    let [certificate, key] = [&config.tls.cert_file, &config.tls.key_file].map(|path| path.as_os_str().is_empty());
    if certificate != key {
        let (set, missing) = if key {
            ("certFile", "keyFile")
        } else {
            ("keyFile", "certFile")
        };
        return Err(ConfigError::Wrong {
            key: format!("tls.{missing}"),
            layer: figment
                .find_metadata(&format!("tls.{set}"))
                .map_or_else(|| "the configuration".into(), |layer| layer.name.to_string()),
            why: format!("it is missing, and tls.{set} is set: set both, or neither for the tailnet's certificate"),
        });
    }
    Ok(config)
}

/// figment knows which layer a value is from; `serde_path_to_error` knows which value is wrong.
fn typed(figment: &Figment) -> Result<Config, ConfigError> {
    let wrong = |key: String, why: String| {
        let layer = figment.find_metadata(&key);
        let layer = layer.map_or_else(|| "the configuration".into(), |layer| layer.name.to_string());
        ConfigError::Wrong { key, layer, why }
    };
    let merged: serde_json::Value = figment
        .extract()
        .map_err(|error| wrong(error.path.join("."), error.kind.to_string()))?;
    serde_path_to_error::deserialize(merged).map_err(|error| wrong(error.path().to_string(), error.inner().to_string()))
}

fn first_file(home: Option<&Path>) -> Option<PathBuf> {
    let own = home.map(|home| home.join(".config/tka"));
    let folders = [Some(PathBuf::from(".")), own, Some("/etc/tka".into())];
    let folders = folders.into_iter().flatten();
    let mut files = folders.map(|folder| folder.join("config.yaml"));
    files.find(|path| path.is_file())
}

fn variable(key: &str) -> String {
    format!("TKA_{}", key.to_ascii_uppercase().replace('.', "_"))
}

/// UTF-16 of plain text without a byte order mark is UTF-8 as well, with a NUL in every other place.
fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| ConfigError::NotUtf8 { path: path.to_owned() })
}

/// Takes sections that are empty for their defaults, and numbers and switches in quotes for what they say. Answers the key of a
/// setting that is there without a value: to take it for the default might lift what it was meant to limit.
fn settle(section: &mut Dict, prefix: &str) -> Result<(), String> {
    let key_of = |name: &str| format!("{prefix}{name}");
    section.retain(|name, value| !(matches!(value, Value::Empty(..)) && is_collection(&key_of(name))));
    for (name, value) in section {
        let key = key_of(name);
        match value {
            Value::Dict(_, inner) => settle(inner, &format!("{key}."))?,
            Value::Empty(..) if KEYS.contains(&key.as_str()) => return Err(key),
            Value::String(_, text) if TYPED_KEYS.contains(&key.as_str()) => *value = unquoted(text),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a key holds other keys, labels or a list.
fn is_collection(key: &str) -> bool {
    let is_above = |other: &&str| other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(is_above) || ["clusterInfo.labels", "server.allowedHosts", "output"].contains(&key)
}

/// A number or a switch as the text says it, if that is all it says: neither ` 443` nor `0x1bb` nor `yes`.
fn unquoted(text: &str) -> Value {
    match text {
        "true" => Value::from(true),
        "false" => Value::from(false),
        _ => match text.parse::<u64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::from(text),
        },
    }
}

/// An empty file is an empty configuration.
fn parse_file(path: &Path, text: &str) -> Result<Dict, ConfigError> {
    let parsed: Option<Dict> = Yaml::from_str(text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    Ok(parsed.unwrap_or_default())
}

fn nested(settings: &[Setting]) -> Dict {
    let mut dict = Dict::new();
    for setting in settings {
        insert(&mut dict, setting.key, value(setting));
    }
    dict
}

fn insert(dict: &mut Dict, path: &str, value: Value) {
    let Some((head, rest)) = path.split_once('.') else {
        dict.insert(path.into(), value);
        return;
    };
    if let Value::Dict(_, inner) = dict.entry(head.into()).or_insert_with(|| Dict::new().into()) {
        insert(inner, rest, value);
    }
}

/// Numbers and booleans are read as such, as in a file.
fn value(setting: &Setting) -> Value {
    if !TYPED_KEYS.contains(&setting.key) {
        return Value::from(setting.text.as_str());
    }
    match Yaml::from_str(&setting.text) {
        Ok(Value::String(_, text)) => unquoted(&text),
        Ok(value) => value,
        Err(_) => Value::from(setting.text.as_str()),
    }
}

struct Yaml;

impl Format for Yaml {
    type Error = serde_saphyr::Error;
    const NAME: &'static str = "YAML";

    fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Self::Error> {
        // An excerpt of the file might show a secret that was put into it by mistake.
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
    }
}

/// One layer, named so that an error can say where the wrong value stands.
struct Layer {
    name: String,
    data: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.data.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn from(text: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let file = file(text);
        let environment: BTreeMap<_, _> = environment.iter().copied().collect();
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned()));
        let flags: Vec<_> = flags.map(|(key, text)| Setting { key, text }).collect();
        let lookup = |name: &str| environment.get(name).map(|text| (*text).to_owned());
        load(Some(file.path()), None, lookup, &flags)
    }

    fn why(text: &str, environment: &[(&str, &str)]) -> String {
        from(text, environment, &[]).unwrap_err().to_string()
    }

    /// Keys that the chart's values do not have under `config`: it knows them, or they have no effect in a pod.
    const OF_THE_CHART: &[&str] = &[
        "audit.path",
        "tailscale.hostname",
        "tailscale.port",
        "tailscale.tailnet",
        "tailscale.socket",
        "tailscale.stateDir",
        "tls.certFile",
        "tls.keyFile",
        "operator.namespace",
        "health.address",
        "health.port",
        "clusterInfo.apiEndpoint",
        "clusterInfo.caData",
        "clusterInfo.configMapRef.enabled",
        "clusterInfo.configMapRef.name",
        "clusterInfo.configMapRef.namespace",
    ];

    fn leaves(schema: &serde_json::Value, prefix: &str, found: &mut Vec<String>) {
        let Some(properties) = schema["properties"].as_object() else {
            found.push(prefix.to_owned());
            return;
        };
        assert_eq!(schema["additionalProperties"], false, "{prefix}");
        let join = |name: &str| [prefix, name].join(".").trim_start_matches('.').to_owned();
        properties
            .iter()
            .for_each(|(name, schema)| leaves(schema, &join(name), found));
    }

    #[test]
    fn chart_has_every_key_that_it_does_not_know_itself() {
        let schema = include_str!("../../../../charts/tka/values.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let mut found = OF_THE_CHART.iter().map(ToString::to_string).collect();
        leaves(&schema["properties"]["config"], "", &mut found);
        found.sort();
        let mut keys = KEYS.to_vec();
        keys.sort_unstable();
        assert_eq!(found, keys);
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        let config = from("", &[], &[]).unwrap();
        assert_eq!(config.tailscale.port, 443);
        assert_eq!(config.tailscale.cap_name, "specht-labs.de/cap/tka");
        assert_eq!(config.operator.namespace, "tka-dev");
        assert_eq!(config.operator.min_period.to_string(), "1m0s");
        assert_eq!(config.api.retry_after_seconds, 1);
        assert_eq!(config.health.port, 8080);
        assert_eq!(config.cluster_info.config_map_ref.name, "cluster-info");
    }

    #[test]
    fn every_key_of_the_original_is_known() {
        let config = from(
            "
debug: true
otel: {endpoint: 'otel:4317', insecure: false}
tailscale: {hostname: a, port: 80, stateDir: /s, tailnet: t.ts.net, capName: c/d}
server: {readTimeout: 1s, readHeaderTimeout: 2s, writeTimeout: 3s, idleTimeout: 4s}
operator: {namespace: ns, clusterName: c, contextPrefix: x-, userPrefix: u-}
api: {retryAfterSeconds: 7}
health: {port: 9}
clusterInfo:
  apiEndpoint: https://k
  caData: ''
  insecureSkipTLSVerify: true
  labels: {env: dev}
  configMapRef:
    {enabled: true, name: m, namespace: o, keys: {apiEndpoint: a, caData: b, insecure: c, kubeconfig: d}}
output: {theme: dark, long: true}
",
            &[],
            &[],
        )
        .unwrap();
        assert_eq!(config.server.idle_timeout.to_string(), "4s");
        assert_eq!(config.cluster_info.labels["env"], "dev");
        assert_eq!(config.cluster_info.config_map_ref.keys.kubeconfig, "d");
    }

    #[test]
    fn environment_is_over_the_file_and_flags_are_over_both() {
        let config = from(
            "tailscale: {port: 1, hostname: file, tailnet: file}",
            &[
                ("TKA_TAILSCALE_PORT", "2"),
                ("TKA_TAILSCALE_HOSTNAME", "007"),
                ("TKA_LOG_FORMAT", "text"),
            ],
            &[("tailscale.port", "3")],
        )
        .unwrap();
        assert_eq!(config.tailscale.port, 3);
        assert_eq!(config.tailscale.hostname, "007");
        assert_eq!(config.tailscale.tailnet, "file");
        assert_eq!(config.log.format, LogFormat::Text);
    }

    #[test]
    fn every_key_can_come_from_the_environment() {
        let environment = [
            ("TKA_CLUSTERINFO_LABELS", "env=prod, region=eu"),
            ("TKA_CLUSTERINFO_INSECURESKIPTLSVERIFY", "true"),
            ("TKA_CLUSTERINFO_CONFIGMAPREF_KEYS_CADATA", "ca"),
            ("TKA_SERVER_READTIMEOUT", "90s"),
            ("TKA_OPERATOR_CLUSTERNAME", "prod #1"),
            ("TKA_CLUSTERINFO_CADATA", "-----BEGIN\nx"),
            ("TKA_HEALTH_ADDRESS", "::"),
            ("TKA_HEALTH_PORT", ""),
            ("TKA_SERVER_ALLOWEDHOSTS", "a.example, b.example"),
        ];
        let config = from("", &environment, &[]).unwrap();
        assert_eq!(config.cluster_info.labels["region"], "eu");
        assert!(config.cluster_info.insecure_skip_tls_verify);
        assert_eq!(config.cluster_info.config_map_ref.keys.ca_data, "ca");
        assert_eq!(config.server.read_timeout.to_string(), "1m30s");
        assert_eq!(config.operator.cluster_name, "prod #1");
        assert_eq!(config.cluster_info.ca_data, "-----BEGIN\nx");
        assert_eq!(config.health.address.to_string(), "::");
        assert_eq!(config.health.port, 8080);
        assert_eq!(config.server.allowed_hosts, ["a.example", "b.example"]);
    }

    #[test]
    fn certificate_without_its_key_is_refused() {
        let both = from("tls: {certFile: /a, keyFile: /b}", &[], &[]).unwrap();
        assert_eq!(both.tls.files(), Some(("/a".into(), "/b".into())));
        assert_eq!(from("", &[], &[]).unwrap().tls.files(), None);
        let error = why("tls: {certFile: /a}", &[]);
        assert!(error.contains("the setting tls.keyFile from /"), "{error}");
        let error = why("", &[("TKA_TLS_KEYFILE", "/b")]);
        assert!(
            error.contains("the setting tls.certFile from the environment"),
            "{error}"
        );
        from("tls: {certFile: /a}", &[("TKA_TLS_KEYFILE", "/b")], &[]).unwrap();
    }

    #[test]
    fn wrong_values_are_named() {
        assert!(why("tailscale: {capname: x}", &[]).contains("capname"));
        assert!(why("tailscale: {port: high}", &[]).contains("tailscale.port"));
        assert!(why("server: {readTimeout: soon}", &[]).contains("\"soon\" is not a duration"));
        assert_eq!(
            why("", &[("TKA_TAILSCALE_PORT", "70000")]),
            "the setting tailscale.port from the environment is wrong: invalid value: integer `70000`, expected u16"
        );
        assert_eq!(
            why("", &[("TKA_OPERATOR_MAXCREDENTIALPERIOD", "1h1s")]),
            "the setting operator.maxCredentialPeriod from the environment is wrong: 1h0m1s is too long: a credential lives for \
             an hour at the most"
        );
        assert!(from("operator: {maxCredentialPeriod: 1h}", &[], &[]).is_ok());
        assert!(why("tailscale: [", &[]).contains("is not YAML"));
        assert!(why("- 1", &[]).contains("is not YAML"));
    }

    /// `cases.md 9`
    #[test]
    fn empty_section_is_the_defaults() {
        let text = "tailscale:\nserver: {rateLimit: , allowedHosts: }\nclusterInfo:\n  labels:\n  configMapRef: {keys: ~}\noutput:\n";
        let config = from(text, &[("TKA_TAILSCALE_HOSTNAME", "x")], &[]).unwrap();
        assert_eq!((config.tailscale.port, config.tailscale.hostname.as_str()), (443, "x"));
        assert_eq!(config.cluster_info.config_map_ref.keys.ca_data, "caData");
        assert!(why("tailscael:\n", &[]).contains("tailscael"));
    }

    /// `cases.md 9`
    #[test]
    fn numbers_and_switches_may_stand_in_quotes() {
        let text =
            "tailscale: {port: '80'}\ndebug: \"true\"\noperator: {maxSessionsPerDevice: '7', clusterName: '1e3'}";
        let config = from(text, &[("TKA_HEALTH_PORT", "\"81\"")], &[]).unwrap();
        let read = (config.tailscale.port, config.health.port, config.debug);
        assert_eq!(read, (80, 81, true));
        assert_eq!(config.operator.max_sessions_per_device.get(), 7);
        assert_eq!(config.operator.cluster_name, "1e3");
        for port in [
            "''", "' 443'", "'443 '", "'+443'", "'0443'", "'0x1bb'", "'4_43'", "'443.0'", "'true'", "'70000'", "443.5",
        ] {
            let why = why(&format!("tailscale: {{port: {port}}}"), &[]);
            assert!(why.contains("tailscale.port"), "{port}: {why}");
        }
        for machines in ["'yes'", "'True'", "'1'", "1", "'on'", "''"] {
            let why = why(&format!("operator: {{machines: {machines}}}"), &[]);
            assert!(why.contains("operator.machines"), "{machines}: {why}");
        }
    }

    /// `cases.md 4`: a limit without a value is not no limit.
    #[test]
    fn setting_without_a_value_is_refused() {
        for key in KEYS.iter().filter(|key| !is_collection(key)) {
            let nest = |inner, part| format!("{{{part}: {inner}}}");
            let text = key.rsplit('.').fold("null".to_owned(), nest);
            assert!(why(&text, &[]).contains(&format!("the setting {key} from")), "{text}");
            assert!(why(&text, &[]).contains("it is empty"), "{text}");
        }
    }

    /// `cases.md 9`
    #[test]
    fn file_in_another_encoding_is_refused_with_advice() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let (marked, latin1) = (utf16("\u{feff}debug: true"), b"# M\xe4rz\n".to_vec());
        for bytes in [marked, utf16("debug: true"), latin1] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let error = load(Some(file.path()), None, |_| None, &[]).unwrap_err();
            assert!(error.to_string().ends_with("is not UTF-8: save it as UTF-8"), "{error}");
        }
        assert!(from("\u{feff}debug: true", &[], &[]).unwrap().debug);
    }

    /// `cases.md 3`: a file that is no YAML may hold a key, which no error shows.
    #[test]
    fn error_shows_nothing_of_the_file() {
        let text = "clusterInfo:\n  caData: |\n-----BEGIN PRIVATE KEY-----\nTk9ORQ: [\n";
        assert!(!why(text, &[]).contains("Tk9ORQ"), "{}", why(text, &[]));
    }

    #[test]
    fn missing_file_is_an_error_when_it_was_asked_for() {
        let error = load(Some(Path::new("/nowhere/config.yaml")), None, |_| None, &[]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.yaml"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_refused(text in ".*", port in ".*") {
            let _ = from(&text, &[("TKA_TAILSCALE_PORT", &port), ("TKA_CLUSTERINFO_LABELS", &port)], &[]);
        }
    }
}
