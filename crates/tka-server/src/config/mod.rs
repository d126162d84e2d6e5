//! What the server is told: from a file, the environment and flags, under the keys of the original TKA.

mod load;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};
use tka_core::Period;
use tka_operator::LONGEST_CREDENTIAL;

pub use load::{ConfigError, Setting, load};

/// More than a person's programs ever need for long, and less than what a cluster would feel.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// A tool that starts fifty kubectl at once, each of which asks.
const BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// What k9s and helm send on a large cluster, with room: client-go's own limit is 50 a second where a program raises it.
const GATEWAY_REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Discovery of a cluster with many custom resources asks for some two hundred documents at once.
const GATEWAY_BURST: NonZeroU32 = NonZeroU32::new(600).unwrap();
/// As many as watches of every resource there is, and a hundred forwarded connections.
const MAX_REQUESTS_PER_SESSION: NonZeroU32 = NonZeroU32::new(400).unwrap();
/// Fewer than connections, so that people can sign in and out whatever is carried.
const MAX_REQUESTS: NonZeroU32 = NonZeroU32::new(700).unwrap();

/// As many as open files by default, less what else is open.
const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::new(900).unwrap();
/// More than anybody has shells, and far from what the API server would feel.
const MAX_SESSIONS_PER_DEVICE: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// As many sessions as a device may have that are for the whole cluster, and a few of those in the most namespaces that a rule may name. The API server looks
/// through all bindings of a namespace, and through those of the cluster, at each request.
const MAX_BINDINGS_PER_DEVICE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// All settings. A key that is not known refuses the configuration: a misspelt restriction must not widen access.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Whether to log details.
    pub debug: bool,
    /// How to log.
    pub log: Log,
    /// Where audit records go.
    pub audit: AuditLog,
    /// Traces over OTLP.
    pub otel: Otel,
    /// The tailnet, and the node that the server is on it.
    pub tailscale: Tailscale,
    /// A certificate from files.
    pub tls: Tls,
    /// Time limits of the HTTP server.
    pub server: Server,
    /// Sessions in Kubernetes.
    pub operator: Operator,
    /// The HTTP API.
    pub api: Api,
    /// The health listener.
    pub health: Health,
    /// The cluster's API over the tailnet.
    pub gateway: Gateway,
    /// How people reach the Kubernetes API server.
    pub cluster_info: ClusterInfo,
    /// Settings of the CLI, which shares the search path.
    pub output: IgnoredAny,
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
}

/// Where audit records go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditLog {
    /// The file that they are appended to; standard output when empty or `-`.
    pub path: PathBuf,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people to read.
    Text,
}

/// Traces over OTLP (<https://opentelemetry.io/docs/specs/otlp/>).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otel {
    /// `HOST:PORT` of the collector's gRPC receiver; no traces when empty.
    pub endpoint: String,
    /// Whether to speak to it without TLS.
    pub insecure: bool,
}

/// The tailnet, and the node that the server is on it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Tailscale {
    /// Name of the node, for the CLI, which shares the file. The server asks tailscaled what its name is.
    pub hostname: String,
    /// Port to listen on. On 443 the server speaks HTTPS with the tailnet's certificate, else HTTP.
    pub port: u16,
    /// Name of the tailnet, for the CLI as well.
    pub tailnet: String,
    /// The capability whose values are rules.
    pub cap_name: String,
    /// The unix socket of the tailscaled beside the server.
    pub socket: PathBuf,
    /// How long a session may go on while tailscaled cannot say whether its rule still stands.
    pub max_unverified: Period,
    /// The state directory of the original's embedded node. Has no effect: tailscaled keeps its own state.
    pub state_dir: String,
}

/// A certificate from files instead of the tailnet's. With it the server speaks HTTPS on any port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// The certificate and those that it depends on, PEM, the server's own first.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

/// Time limits of the HTTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Server {
    /// For reading a request's body.
    pub read_timeout: Period,
    /// For reading a request's head.
    pub read_header_timeout: Period,
    /// For making an answer, and once more for its being read.
    pub write_timeout: Period,
    /// How long an idle connection is kept, where that is shorter than what a request's head may take.
    pub idle_timeout: Period,
    /// Names by which the server is called, beside those of its node.
    #[serde(deserialize_with = "list")]
    pub allowed_hosts: Vec<String>,
    /// How many requests one caller may send from one device.
    pub rate_limit: RateLimit,
    /// How many connections may be open at a time, on each address.
    pub max_connections: NonZeroU32,
}

/// How many requests one caller may send from one device.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RateLimit {
    /// For as long as they like.
    pub requests_per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// Sessions in Kubernetes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Operator {
    /// Where the sessions live.
    pub namespace: String,
    /// Name of the cluster in kubeconfigs.
    pub cluster_name: String,
    /// What the name of a kubeconfig's context begins with.
    pub context_prefix: String,
    /// What the name of a kubeconfig's user begins with.
    pub user_prefix: String,
    /// The shortest period that a rule may give.
    pub min_period: Period,
    /// How long a credential lives at the most, which is an hour at the most. A session outlives it and gives another.
    #[serde(deserialize_with = "credential_period")]
    pub max_credential_period: Period,
    /// How many sessions one device may have at a time, whatever its rules say: each shell may keep its own.
    pub max_sessions_per_device: NonZeroU32,
    /// How many bindings the sessions of one device may have at a time: each has one for the whole cluster, or one in each of its namespaces.
    pub max_bindings_per_device: NonZeroU32,
    /// Whether tagged nodes may sign in, where a rule reaches them.
    pub machines: bool,
}

/// The HTTP API.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Api {
    /// What `Retry-After` says while a session is not provisioned.
    pub retry_after_seconds: u32,
}

/// The cluster's API over the tailnet, below `/k8s`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Gateway {
    /// Whether there is one.
    pub enabled: bool,
    /// Which requests leave an audit record. Ways into pods and nodes always do.
    pub audit: GatewayAudit,
    /// How many requests one caller may send from one device.
    pub rate_limit: RateLimit,
    /// How many requests, watches and streams of one session may be under way at a time.
    pub max_requests_per_session: NonZeroU32,
    /// How many may be under way in all.
    pub max_requests: NonZeroU32,
    /// How long an answer may go unread before its connection is closed.
    pub unread_timeout: Period,
}

/// Which requests to the cluster's API leave an audit record.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum GatewayAudit {
    /// Ways into pods and nodes.
    None,
    /// These, and what may change something.
    #[default]
    Writes,
    /// All.
    All,
}

/// The health listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Address to listen on. The kubelet asks from outside of the pod.
    pub address: IpAddr,
    /// Port to listen on.
    pub port: u16,
}

/// How people reach the Kubernetes API server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterInfo {
    /// URL of the API server.
    pub api_endpoint: String,
    /// The certificate authority: PEM, or PEM in base64.
    pub ca_data: String,
    /// Whether clients skip verifying the API server's certificate.
    #[serde(rename = "insecureSkipTLSVerify")]
    pub insecure_skip_tls_verify: bool,
    /// Free labels of the cluster.
    #[serde(deserialize_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// A ConfigMap that holds the above instead.
    pub config_map_ref: ConfigMapRef,
}

/// A ConfigMap that says how people reach the Kubernetes API server.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigMapRef {
    /// Whether to read it.
    pub enabled: bool,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which of its keys say what.
    pub keys: ConfigMapKeys,
}

/// Which keys of a ConfigMap say what.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMapKeys {
    /// URL of the API server.
    pub api_endpoint: String,
    /// The certificate authority, PEM in base64.
    pub ca_data: String,
    /// Whether clients skip verifying.
    pub insecure: String,
    /// A kubeconfig that holds endpoint and authority, used when the first two are absent (as in kubeadm's `cluster-info`).
    pub kubeconfig: String,
}

/// A setting that has no effect would be taken for one that has.
fn credential_period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    let period = Period::deserialize(deserializer)?;
    if period.duration() <= LONGEST_CREDENTIAL {
        return Ok(period);
    }
    let why = format!("{period} is too long: a credential lives for an hour at the most");
    Err(D::Error::custom(why))
}

/// Labels are a map in a file, and `a=b,c=d` in the environment.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Labels {
        Map(BTreeMap<String, String>),
        Text(String),
    }
    match Labels::deserialize(deserializer)? {
        Labels::Map(map) => Ok(map),
        Labels::Text(text) => parse_labels(&text).map_err(D::Error::custom),
    }
}

/// A list is one in a file, and `a,b` in the environment.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Items(Vec<String>),
        Text(String),
    }
    Ok(match List::deserialize(deserializer)? {
        List::Items(items) => items,
        List::Text(text) => items(&text).map(Into::into).collect(),
    })
}

/// The items of `a,b`.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Reads `a=b,c=d`.
fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let label = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err(format!("{pair:?} is not key=value")),
    };
    items(text).map(label).collect()
}

#[expect(clippy::expect_used, reason = "a literal; the tests build the defaults")]
fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

// === impl Otel ===

impl Default for Otel {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            insecure: true,
        }
    }
}

// === impl Tailscale ===

impl Default for Tailscale {
    fn default() -> Self {
        Self {
            hostname: "tka".into(),
            port: 443,
            tailnet: String::new(),
            cap_name: "specht-labs.de/cap/tka".into(),
            socket: tka_tailnet::DEFAULT_SOCKET.into(),
            // Long enough to put right a tailscaled or a control server, and no longer than a credential lives at the most: by
            // then nothing is in use that the tailnet did not confirm.
            max_unverified: period("1h"),
            state_dir: String::new(),
        }
    }
}

// === impl Tls ===

impl Tls {
    /// The files of certificate and key, if they are set.
    #[must_use]
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        let is_set = !self.cert_file.as_os_str().is_empty();
        is_set.then(|| (self.cert_file.clone(), self.key_file.clone()))
    }
}

// === impl Server ===

impl Default for Server {
    fn default() -> Self {
        Self {
            read_timeout: period("10s"),
            read_header_timeout: period("5s"),
            write_timeout: period("20s"),
            idle_timeout: period("2m"),
            allowed_hosts: Vec::new(),
            rate_limit: RateLimit::default(),
            max_connections: MAX_CONNECTIONS,
        }
    }
}

// === impl RateLimit ===

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            requests_per_second: REQUESTS_PER_SECOND,
            burst: BURST,
        }
    }
}

// === impl Operator ===

impl Default for Operator {
    fn default() -> Self {
        Self {
            namespace: "tka-dev".into(),
            cluster_name: "tka-cluster".into(),
            context_prefix: "tka-context-".into(),
            user_prefix: "tka-user-".into(),
            // A session shorter than this is over before anybody has used it, and costs the API server as much as a long one.
            // Nothing breaks below it: an account that is deleted takes its tokens with it, however long the API server made them.
            min_period: period("1m"),
            max_credential_period: period("1h"),
            max_sessions_per_device: MAX_SESSIONS_PER_DEVICE,
            max_bindings_per_device: MAX_BINDINGS_PER_DEVICE,
            machines: false,
        }
    }
}

// === impl Api ===

impl Default for Api {
    fn default() -> Self {
        Self { retry_after_seconds: 1 }
    }
}

// === impl Gateway ===

impl Default for Gateway {
    fn default() -> Self {
        Self {
            enabled: false,
            audit: GatewayAudit::default(),
            rate_limit: RateLimit {
                requests_per_second: GATEWAY_REQUESTS_PER_SECOND,
                burst: GATEWAY_BURST,
            },
            max_requests_per_session: MAX_REQUESTS_PER_SESSION,
            max_requests: MAX_REQUESTS,
            // A pager that a person left open is not read from.
            unread_timeout: period("10m"),
        }
    }
}

// === impl Health ===

impl Default for Health {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 8080,
        }
    }
}

// === impl ConfigMapRef ===

impl Default for ConfigMapRef {
    fn default() -> Self {
        Self {
            enabled: false,
            name: "cluster-info".into(),
            namespace: "kube-public".into(),
            keys: ConfigMapKeys::default(),
        }
    }
}

// === impl ConfigMapKeys ===

impl Default for ConfigMapKeys {
    fn default() -> Self {
        Self {
            api_endpoint: "apiEndpoint".into(),
            ca_data: "caData".into(),
            insecure: "insecure".into(),
            kubeconfig: "kubeconfig".into(),
        }
    }
}
