//! The settings, section by section. What a field says of itself is what the reference page says of its key.
//!
//! Marks of a field: `x-live`, a change holds without a restart; `x-inert`, the server does not look at it; `x-chart`, the Helm chart
//! knows it itself, so that its values do not have it. A field without `x-live` needs a restart.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tka_core::{KubeconfigName, Period};

use super::notifications::Notifications;
use super::{addresses, names, values};

/// All settings. A key that is not known refuses the configuration: a misspelt restriction must not widen access.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Log details; never a token.
    pub debug: bool,
    /// How to log.
    pub log: Log,
    /// Where audit records go.
    pub audit: AuditLog,
    /// Who is told of decisions.
    pub notifications: Notifications,
    /// Traces over OTLP.
    pub otel: Otel,
    /// The tailnet, and the node that the server is on it.
    pub tailscale: Tailscale,
    /// A certificate of one's own.
    pub tls: Tls,
    /// The HTTP server.
    pub server: Server,
    /// Sessions in Kubernetes.
    pub operator: Operator,
    /// The HTTP API.
    pub api: Api,
    /// The cluster's API over the tailnet.
    pub gateway: Gateway,
    /// The health listener.
    pub health: Health,
    /// How people reach the Kubernetes API server.
    pub cluster_info: ClusterInfo,
    /// Settings of the CLI, which shares the search path.
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>", extend("x-inert" = true, "x-chart" = true))]
    pub output: IgnoredAny,
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of a line: `json`, or `text` for people. `RUST_LOG` narrows or widens what is logged, but never to what may hold a token:
    /// answers of the API server are not logged whole.
    pub format: LogFormat,
}

/// Where audit records go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditLog {
    /// File that audit records are appended to, apart from the log on standard error; standard output when empty or `-`.
    #[schemars(extend("x-chart" = true))]
    pub path: PathBuf,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = values::one_enum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people to read.
    Text,
}

/// Traces over OTLP (<https://opentelemetry.io/docs/specs/otlp/>).
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otel {
    /// `HOST:PORT` of an OTLP receiver (gRPC) for traces. Without it the standard variables count: `OTEL_EXPORTER_OTLP_ENDPOINT`,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` (`http/protobuf`, `http/json`, `grpc`), `OTEL_TRACES_SAMPLER` and others. Without both no traces are sent.
    #[serde(deserialize_with = "values::collector")]
    #[schemars(schema_with = "values::host_and_port")]
    pub endpoint: String,
    /// Whether traces are sent without TLS.
    pub insecure: bool,
}

/// The tailnet, and the node that the server is on it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Tailscale {
    /// Name of the node, for the CLI, which shares the file. The server does not look at it: the node's name is tailscaled's to give.
    #[schemars(extend("x-inert" = true, "x-chart" = true))]
    pub hostname: String,
    /// Port on the tailnet; HTTPS with the tailnet's certificate on 443, HTTP inside the tailnet's encryption on any other.
    #[serde(deserialize_with = "values::port")]
    #[schemars(range(min = 1), extend("x-chart" = true))]
    pub port: u16,
    /// Name of the tailnet, for the CLI as well.
    #[schemars(extend("x-inert" = true, "x-chart" = true))]
    pub tailnet: String,
    /// The capability whose values are rules.
    #[serde(deserialize_with = "names::capability")]
    #[schemars(schema_with = "names::capability_schema")]
    pub cap_name: String,
    /// The unix socket of the tailscaled beside the server.
    #[serde(deserialize_with = "values::path")]
    #[schemars(length(min = 1), extend("x-chart" = true))]
    pub socket: PathBuf,
    /// How long a session may go on while tailscaled cannot say whether its rule still stands; then it is revoked.
    #[schemars(schema_with = "values::duration", extend("x-live" = true))]
    pub max_unverified: Period,
    /// The state directory of the original's embedded node. No effect; accepted for files of the original.
    #[schemars(extend("x-inert" = true, "x-chart" = true))]
    pub state_dir: String,
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Server {
    /// For a request's body to arrive.
    #[schemars(schema_with = "values::duration", extend("x-live" = true))]
    pub read_timeout: Period,
    /// For a request's head to arrive.
    #[schemars(schema_with = "values::duration")]
    pub read_header_timeout: Period,
    /// For making an answer, and once more for its being read. A server that is told to stop finishes answers for as long, and needs up to 15 s
    /// more for other work. Set `terminationGracePeriodSeconds` to at least that sum.
    #[schemars(schema_with = "values::duration")]
    pub write_timeout: Period,
    /// An idle connection is closed after this or after `server.readHeaderTimeout`, whichever is shorter. One of HTTP/2 is closed after this, and no
    /// sooner than an answer may take.
    #[schemars(schema_with = "values::duration")]
    pub idle_timeout: Period,
    /// Names by which the server is called beside those of its node, without scheme and port. Any other `Host` is refused, so that a page that lets its name point here cannot
    /// act for the caller. `a,b` in the environment.
    #[serde(deserialize_with = "addresses::hosts")]
    #[schemars(schema_with = "addresses::hosts_schema", extend("x-live" = true))]
    pub allowed_hosts: Vec<String>,
    /// How many requests one device may send.
    pub rate_limit: RateLimit,
    /// How often one user may ask others for approval.
    pub approval_rate_limit: ApprovalRateLimit,
    /// How many connections may be open at a time, on each address; one more is closed at once.
    pub max_connections: NonZeroU32,
    /// No effect; the original's example file has it. `debug` is the key that has one.
    #[serde(skip_serializing)]
    #[schemars(with = "serde_json::Value", extend("x-inert" = true, "x-chart" = true))]
    pub debug: IgnoredAny,
    /// No effect; accepted for files of the original.
    #[serde(skip_serializing)]
    #[schemars(with = "serde_json::Value", extend("x-inert" = true, "x-chart" = true))]
    pub host: IgnoredAny,
}

/// How many requests one device may send.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RateLimit {
    /// How many requests one device may send for long; more are answered with 429 and `Retry-After`.
    #[schemars(extend("x-live" = true))]
    pub requests_per_second: NonZeroU32,
    /// How many requests one device may send at once, after a pause.
    #[schemars(extend("x-live" = true))]
    pub burst: NonZeroU32,
}

/// How often one user may ask others for approval.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ApprovalRateLimit {
    /// How many new requests for approval one user may make for long, on all their devices; more are answered with 429 and `Retry-After`. Each is recorded,
    /// and told to webhooks.
    #[schemars(extend("x-live" = true))]
    pub requests_per_minute: NonZeroU32,
    /// How many new requests for approval one user may make at once, after a pause.
    #[schemars(extend("x-live" = true))]
    pub burst: NonZeroU32,
}

/// A certificate of one's own, instead of the tailnet's. Then the server speaks HTTPS on any port.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// A certificate with its chain, PEM, the server's own first, instead of the tailnet's; then the server speaks HTTPS on any port. A file that changes is
    /// read again.
    #[schemars(extend("x-chart" = true))]
    pub cert_file: PathBuf,
    /// The private key of `tls.certFile`, PEM. Both are set, or neither.
    #[schemars(extend("x-chart" = true))]
    pub key_file: PathBuf,
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

/// The cluster's API over the tailnet, below `/k8s`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Gateway {
    /// Carry the cluster's API over the tailnet, below `/k8s`.
    pub enabled: bool,
    /// Have `tka login` write the gateway's address, without a token, unless the caller or the rule chooses.
    #[schemars(extend("x-live" = true))]
    pub default: bool,
    /// Which of its requests leave an audit record: `none`, `writes` or `all`. Ways into pods and nodes always do.
    pub audit: GatewayAudit,
    /// How many of its requests one device may send.
    pub rate_limit: GatewayRateLimit,
    /// How many requests, watches and streams of one session may be under way at a time.
    pub max_requests_per_session: NonZeroU32,
    /// How many requests, watches and streams may be under way in all. With the gateway it must be less than `server.maxConnections`, so that people can
    /// sign in and out whatever is carried.
    pub max_requests: NonZeroU32,
    /// How long nothing of an answer may be read before its connection is closed; over HTTP/2 its stream is reset.
    #[schemars(schema_with = "values::duration")]
    pub unread_timeout: Period,
    /// Recordings of exec and attach.
    pub recording: GatewayRecording,
}

/// Recordings of exec and attach, where a rule wants them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayRecording {
    /// Folder in which recordings are kept, a file each; it must be there. Without one a rule that requires recording refuses exec and attach.
    #[schemars(extend("x-chart" = true))]
    pub folder: PathBuf,
    /// A bucket in which recordings are kept instead.
    pub s3: S3,
    /// Whether what people type is in recordings too. Passwords are typed.
    pub stdin: bool,
    /// How many bytes one recording may have. A stream that must be recorded ends there.
    pub max_bytes: NonZeroU64,
    /// How long one recording may last. A stream that must be recorded ends then.
    #[schemars(schema_with = "values::duration")]
    pub max_duration: Period,
    /// Who reads recordings: each is sealed to these recipients of age, `age1…`, and is plain when there is none. `a,b` in the environment.
    #[serde(deserialize_with = "values::recipients", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub recipients: Vec<String>,
    /// How many days after its end a recording is removed from the folder; never when `0`. A bucket has lifecycle rules of its own.
    pub retention_days: u32,
}

/// A bucket in which recordings are kept, a small object for each flush.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct S3 {
    /// Bucket in which recordings are kept instead of a folder. Credentials are those that AWS' programs find: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, a web identity, or the instance's.
    #[serde(deserialize_with = "names::bucket_or_none")]
    #[schemars(schema_with = "names::bucket_or_none_schema")]
    pub bucket: String,
    /// URL of the store, where it is not AWS' own: `https://minio.example.com`.
    #[serde(deserialize_with = "addresses::store")]
    #[schemars(schema_with = "addresses::store_schema")]
    pub endpoint: String,
    /// Region of the bucket; `us-east-1` when empty.
    #[serde(deserialize_with = "names::region_or_none")]
    #[schemars(schema_with = "names::region_or_none_schema")]
    pub region: String,
    /// What objects' names begin with: `tka/recordings`.
    pub prefix: String,
}

// === impl GatewayRecording ===

impl GatewayRecording {
    /// The folder, if there is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        (!self.folder.as_os_str().is_empty()).then_some(self.folder.as_path())
    }
}

/// Which requests to the cluster's API leave an audit record.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = values::one_enum)]
pub enum GatewayAudit {
    /// Ways into pods and nodes.
    None,
    /// These, and what may change something.
    #[default]
    Writes,
    /// All.
    All,
}

/// How many requests to the cluster's API one device may send.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayRateLimit {
    /// How many requests to the cluster's API one device may send for long; more are answered with 429 and `Retry-After`.
    pub requests_per_second: NonZeroU32,
    /// How many requests to the cluster's API one device may send at once, after a pause.
    pub burst: NonZeroU32,
}

impl From<GatewayRateLimit> for RateLimit {
    fn from(limit: GatewayRateLimit) -> Self {
        let GatewayRateLimit {
            requests_per_second,
            burst,
        } = limit;
        Self {
            requests_per_second,
            burst,
        }
    }
}

/// Sessions in Kubernetes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Operator {
    /// Where the sessions live.
    #[serde(deserialize_with = "names::namespace")]
    #[schemars(schema_with = "names::namespace_schema", extend("x-chart" = true))]
    pub namespace: String,
    /// Name of the cluster in kubeconfigs.
    #[serde(deserialize_with = "names::cluster")]
    #[schemars(schema_with = "names::cluster_schema", extend("x-live" = true))]
    pub cluster_name: KubeconfigName,
    /// What the name of a kubeconfig's context begins with.
    #[schemars(schema_with = "names::kubeconfig_name", extend("x-live" = true))]
    pub context_prefix: KubeconfigName,
    /// What the name of a kubeconfig's user begins with.
    #[schemars(schema_with = "names::kubeconfig_name", extend("x-live" = true))]
    pub user_prefix: KubeconfigName,
    /// The shortest period that a rule may give.
    #[schemars(schema_with = "values::duration", extend("x-live" = true))]
    pub min_period: Period,
    /// How long a credential lives at the most, `1h` or less; the session outlives it and gives another. Kubernetes issues none for less than
    /// ten minutes, and each ends with its session.
    #[serde(deserialize_with = "values::credential_period")]
    #[schemars(schema_with = "values::duration_of_credential", extend("x-live" = true))]
    pub max_credential_period: Period,
    /// How many sessions one device may have at a time, whatever its rules say, with and without a label: `tka exec` and `tka shell` have their
    /// own. One more is refused, at whatever replica; extending one that is there is not one more.
    #[schemars(extend("x-live" = true))]
    pub max_sessions_per_device: NonZeroU32,
    /// How many `ClusterRoleBindings` and `RoleBindings` the sessions of one device may have at a time. Each session has one for the whole cluster,
    /// or one in each namespace that its rule names. The API server looks through bindings at each request, so that their number slows a cluster
    /// down.
    #[schemars(extend("x-live" = true))]
    pub max_bindings_per_device: NonZeroU32,
    /// Whether tagged nodes may sign in, where a rule reaches them. The device is the identity then, and keeps its sessions when it is renamed or has
    /// other tags. Once this is off, sessions of tagged nodes are revoked.
    #[schemars(extend("x-live" = true))]
    pub machines: bool,
}

/// The HTTP API.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Api {
    /// What `Retry-After` says while a session is not provisioned.
    #[schemars(extend("x-live" = true))]
    pub retry_after_seconds: u32,
}

/// The health listener.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Address of the health listener, which the kubelet asks from outside of the pod. It serves `/livez`, `/readyz`, `/ready`, `/metrics` and
    /// `/metrics/controller`. `/readyz` and `/ready` say whether the tailnet answers, the sessions are known, and the node is served by the names and
    /// addresses it has. They say whether audit records can be written and the certificate is valid. They also tell what the version of Kubernetes
    /// lacks, which of `roles` the cluster does not have, and how webhooks stand.
    #[serde(deserialize_with = "addresses::ip")]
    #[schemars(schema_with = "addresses::ip_schema", extend("x-chart" = true))]
    pub address: IpAddr,
    /// Port of the health listener.
    #[serde(deserialize_with = "values::port")]
    #[schemars(range(min = 1), extend("x-chart" = true))]
    pub port: u16,
}

/// How people reach the Kubernetes API server.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterInfo {
    /// URL by which people reach the API server: `https://`, a host, perhaps a port and a path.
    #[schemars(extend("x-live" = true, "x-chart" = true))]
    pub api_endpoint: String,
    /// The API server's certificate authority: PEM, or PEM in base64; empty when the system's authorities serve. A private key in it is refused;
    /// certificates alone are handed on.
    #[schemars(extend("x-live" = true, "x-chart" = true))]
    pub ca_data: String,
    /// Clients skip verifying the API server's certificate; never in production.
    #[serde(rename = "insecureSkipTLSVerify")]
    #[schemars(extend("x-live" = true))]
    pub insecure_skip_tls_verify: bool,
    /// Free labels of the cluster; `a=b,c=d` in the environment.
    #[serde(deserialize_with = "values::labels")]
    #[schemars(extend("x-live" = true))]
    pub labels: BTreeMap<String, String>,
    /// A ConfigMap that holds the above instead.
    pub config_map_ref: ConfigMapRef,
}

/// A ConfigMap that says how people reach the Kubernetes API server.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigMapRef {
    /// Read endpoint and authority from a ConfigMap instead; needs `clusterInfo.configMap.enabled` in the chart.
    #[schemars(extend("x-live" = true, "x-chart" = true))]
    pub enabled: bool,
    /// Name of the ConfigMap: kubeadm's by default.
    #[serde(deserialize_with = "names::object_or_none")]
    #[schemars(schema_with = "names::object_or_none_schema", extend("x-live" = true, "x-chart" = true))]
    pub name: String,
    /// Namespace of the ConfigMap.
    #[serde(deserialize_with = "names::namespace_or_none")]
    #[schemars(schema_with = "names::namespace_or_none_schema", extend("x-live" = true, "x-chart" = true))]
    pub namespace: String,
    /// Which of its keys say what.
    pub keys: ConfigMapKeys,
}

/// Which keys of a ConfigMap say what.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMapKeys {
    /// The ConfigMap's key with the URL.
    #[serde(deserialize_with = "names::key_or_none")]
    #[schemars(schema_with = "names::key_or_none_schema", extend("x-live" = true))]
    pub api_endpoint: String,
    /// The ConfigMap's key with the certificate authority, PEM in base64.
    #[serde(deserialize_with = "names::key_or_none")]
    #[schemars(schema_with = "names::key_or_none_schema", extend("x-live" = true))]
    pub ca_data: String,
    /// The ConfigMap's key that says whether clients skip verifying.
    #[serde(deserialize_with = "names::key_or_none")]
    #[schemars(schema_with = "names::key_or_none_schema", extend("x-live" = true))]
    pub insecure: String,
    /// The ConfigMap's key with a kubeconfig, which is used when the first is absent. Of its first cluster count the server, the authority and
    /// `tls-server-name`, as kubectl reads them.
    #[serde(deserialize_with = "names::key_or_none")]
    #[schemars(schema_with = "names::key_or_none_schema", extend("x-live" = true))]
    pub kubeconfig: String,
}
