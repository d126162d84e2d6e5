#![doc = include_str!("../README.md")]

pub mod answer;
pub mod approvals;
pub mod args;
pub mod audit;
pub mod audit_context;
pub mod authorize;
mod background;
pub mod browser;
pub mod certificate;
mod check;
pub mod cluster;
pub mod config;
mod connections;
pub mod detached_tasks;
#[cfg(test)]
mod examples;
pub mod file_watch;
pub mod gateway;
pub mod health;
pub mod http;
pub mod identified;
pub mod identify;
mod idle_timeout;
pub mod kubernetes;
pub mod listen;
pub mod metrics;
pub mod node;
pub mod notifications;
pub mod overseer;
pub mod rates;
pub mod ready;
pub mod reauthorize;
mod reload;
pub mod rule_checks;
pub mod run;
mod running_config;
pub mod serving;
pub mod sign_in;
pub mod telemetry;
mod timer;
mod write_timeout;

use std::sync::Arc;
use std::time::Duration;

use tka_core::{KubeconfigName, Limits};
use tka_operator::{Clock, Sessions, WatchedSessions};
use tka_tailnet::LocalApi;
use tokio::sync::watch;

use crate::approvals::{ApproverDirectory, RecentRequests};
use crate::audit::Audit;
use crate::cluster::ClusterSource;
use crate::detached_tasks::DetachedTasks;
use crate::gateway::RecordingArchive;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::rates::{ApprovalRates, Rates};
use crate::reauthorize::Contact;
use crate::rule_checks::RuleChecks;

/// What handling a request needs, by one configuration. A change of the configuration makes another, so that a request sees one of them.
pub struct App {
    /// The tailscaled beside the server.
    pub tailnet: LocalApi,
    /// Whether its answers are the tailnet's present word.
    pub contact: Contact,
    /// The capability whose values are rules.
    pub cap_name: String,
    /// The namespace of the sessions.
    pub namespace: String,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// Where every decision leaves a record.
    pub audit: Audit,
    /// How people reach the API server.
    pub cluster: ClusterSource,
    /// How kubeconfigs name their entries.
    pub names: KubeconfigNames,
    /// What is given, whatever a rule says.
    pub limits: Limits,
    /// Whether the cluster's API is carried.
    pub has_gateway: bool,
    /// The sessions as requests through the gateway find them, where there is one.
    pub watched: Option<WatchedSessions>,
    /// Whether sign-ins go through the gateway unless the caller or the rule chooses.
    pub gateway_default: bool,
    /// Where recordings are read, if this server keeps any.
    pub archive: Option<Arc<RecordingArchive>>,
    /// Whether tagged nodes may sign in.
    pub machines: bool,
    /// This server's node on the tailnet.
    pub node: watch::Receiver<Node>,
    /// Names by which the server is called beside those of its node.
    pub allowed_hosts: Vec<String>,
    /// How long the body of a request may take to arrive.
    pub read_timeout: Duration,
    /// How long an answer may take.
    pub write_timeout: Duration,
    /// What `Retry-After` says while a session is not provisioned.
    pub retry_after_seconds: u32,
    /// Tells the time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// What goes on when its caller hangs up.
    pub tasks: DetachedTasks,
    /// Which sign-ins waited for approval a moment ago.
    pub recent_requests: Arc<RecentRequests>,
    /// Who may approve sign-ins, as it was a moment ago.
    pub approvers: Arc<ApproverDirectory>,
    /// What the cluster said of rules a moment ago.
    pub rule_checks: Arc<RuleChecks>,
    /// What callers have sent.
    pub rates: Arc<Rates>,
    /// How often users have asked others for approval.
    pub approval_rates: Arc<ApprovalRates>,
}

/// How kubeconfigs name their entries.
#[derive(Clone, Debug)]
pub struct KubeconfigNames {
    /// Name of the cluster.
    pub cluster: KubeconfigName,
    /// What the name of a context begins with.
    pub context_prefix: KubeconfigName,
    /// What the name of a user begins with.
    pub user_prefix: KubeconfigName,
}
