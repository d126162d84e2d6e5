#![doc = include_str!("../README.md")]

pub mod answer;
pub mod args;
pub mod authorize;
pub mod cluster;
pub mod config;
pub mod health;
pub mod http;
pub mod identify;
pub mod listen;
pub mod metrics;
pub mod run;
pub mod telemetry;

use std::sync::Arc;

use tka_core::Period;
use tka_operator::{Clock, Sessions};
use tka_tailnet::LocalApi;

use crate::cluster::ClusterSource;
use crate::metrics::Metrics;

/// What handling a request needs.
pub struct App {
    /// The tailscaled beside the server.
    pub tailnet: LocalApi,
    /// The capability whose values are rules.
    pub cap_name: String,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// How people reach the API server.
    pub cluster: ClusterSource,
    /// How kubeconfigs name their entries.
    pub names: KubeconfigNames,
    /// The shortest period that a rule may give.
    pub min_period: Period,
    /// What `Retry-After` says while a session is not provisioned.
    pub retry_after_seconds: u32,
    /// Tells the time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
}

/// How kubeconfigs name their entries.
#[derive(Clone, Debug)]
pub struct KubeconfigNames {
    /// Name of the cluster.
    pub cluster: String,
    /// What the name of a context begins with.
    pub context_prefix: String,
    /// What the name of a user begins with.
    pub user_prefix: String,
}
