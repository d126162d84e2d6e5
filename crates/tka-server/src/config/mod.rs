//! What the server is told: from a file, the environment and flags, under the keys of the original TKA.
//!
//! [`Config`] is the one source. Its fields say which keys there are, which values they take, what they mean and whether a change needs a
//! restart ([`keys`] reads that). The reference page, the JSON schema and the chart's values come from it ([`mod@reference`]), and so do the
//! errors ([`Source::load`]).

mod addresses;
mod contradictions;
mod defaults;
mod document;
mod given;
pub mod keys;
mod load;
mod merge;
mod names;
mod nearest;
mod notifications;
mod problem;
mod recordings;
pub mod reference;
mod sections;
mod values;

pub use load::{Loaded, Setting, Source};
pub use merge::{Change, merge};
pub use notifications::{Notifications, UrlError, Webhook, WebhookFormat, WebhookUrl, is_loopback};
pub use problem::{ConfigError, Location, Problem, Problems};
pub use recordings::{RecordingPlace, RecordingsError};
pub use sections::{
    Api, ApprovalRateLimit, AuditLog, ClusterInfo, Config, ConfigMapKeys, ConfigMapRef, Gateway, GatewayAudit,
    GatewayRecording, Health, Log, LogFormat, Operator, Otel, RateLimit, S3, Server, Tailscale, Tls,
};
