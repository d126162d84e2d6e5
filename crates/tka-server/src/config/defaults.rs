//! What holds where nothing is set.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use serde::de::IgnoredAny;
use tka_core::{KubeconfigName, Period};

use super::sections::{
    Api, ApprovalRateLimit, ConfigMapKeys, ConfigMapRef, Gateway, GatewayAudit, GatewayRateLimit, GatewayRecording,
    Health, Operator, Otel, RateLimit, S3, Server, Tailscale,
};

/// More than a person's programs ever need for long, and less than what a cluster would feel.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// A tool that starts fifty kubectl at once, each of which asks.
const BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Enough for a person who corrects themselves. Each is told to others.
const APPROVAL_BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// What k9s and helm send on a large cluster, with room: client-go's own limit is 50 a second where a program raises it.
const GATEWAY_REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Discovery of a cluster with many custom resources asks for some two hundred documents at once.
const GATEWAY_BURST: NonZeroU32 = NonZeroU32::new(600).unwrap();
/// As many as watches of every resource there is, and a hundred forwarded connections.
const MAX_REQUESTS_PER_SESSION: NonZeroU32 = NonZeroU32::new(400).unwrap();
/// Fewer than connections, so that people can sign in and out whatever is carried.
const MAX_REQUESTS: NonZeroU32 = NonZeroU32::new(700).unwrap();

/// What a copy of some hundred megabytes needs, which is base64 in a recording.
const MAX_RECORDING: NonZeroU64 = NonZeroU64::new(1024 * 1024 * 1024).unwrap();

/// As many as open files by default, less what else is open.
const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::new(900).unwrap();
/// More than anybody has shells, and far from what the API server would feel.
const MAX_SESSIONS_PER_DEVICE: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Enough for as many sessions for the whole cluster as a device may have. Enough besides for a few sessions in the most namespaces that a rule may
/// name. The API server looks through all bindings of a namespace, and through those of the cluster, at each request.
const MAX_BINDINGS_PER_DEVICE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

#[expect(clippy::expect_used, reason = "a literal; the tests build the defaults")]
fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

#[expect(clippy::expect_used, reason = "a literal; the tests build the defaults")]
fn name(text: &str) -> KubeconfigName {
    text.to_owned().try_into().expect("a name")
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
            // Long enough to put right a tailscaled or a control server, and no longer than a credential lives at the most. By then no credential
            // is in use that the tailnet did not confirm.
            max_unverified: period("1h"),
            state_dir: String::new(),
        }
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
            approval_rate_limit: ApprovalRateLimit::default(),
            max_connections: MAX_CONNECTIONS,
            debug: IgnoredAny,
            host: IgnoredAny,
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

// === impl ApprovalRateLimit ===

impl Default for ApprovalRateLimit {
    fn default() -> Self {
        Self {
            requests_per_minute: NonZeroU32::MIN,
            burst: APPROVAL_BURST,
        }
    }
}

// === impl Operator ===

impl Default for Operator {
    fn default() -> Self {
        Self {
            namespace: "tka-dev".into(),
            cluster_name: name("tka-cluster"),
            context_prefix: name("tka-context-"),
            user_prefix: name("tka-user-"),
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
            default: false,
            audit: GatewayAudit::default(),
            rate_limit: GatewayRateLimit::default(),
            max_requests_per_session: MAX_REQUESTS_PER_SESSION,
            max_requests: MAX_REQUESTS,
            // A pager that a person left open is not read from.
            unread_timeout: period("10m"),
            recording: GatewayRecording::default(),
        }
    }
}

impl Default for GatewayRecording {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            s3: S3::default(),
            stdin: false,
            max_bytes: MAX_RECORDING,
            // Longer than a working day; the API server itself ends a stream that is idle for four hours.
            max_duration: period("24h"),
            recipients: Vec::new(),
            retention_days: 0,
        }
    }
}

impl Default for GatewayRateLimit {
    fn default() -> Self {
        Self {
            requests_per_second: GATEWAY_REQUESTS_PER_SECOND,
            burst: GATEWAY_BURST,
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
