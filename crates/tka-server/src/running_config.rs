//! The parts of the configuration that change without a restart, and what each change makes of them.

use std::sync::Arc;

use axum::Router;
use kube::Client;
use tka_core::Limits;
use tka_operator::{Clock, DeviceQuotas, SessionLimits, Sessions};
use tka_tailnet::LocalApi;
use tokio::sync::watch;

use crate::approvals::{ApproverDirectory, RecentRequests};
use crate::audit::Audit;
use crate::cluster::{ClusterError, ClusterSource};
use crate::config::{ApprovalRateLimit, Config, RateLimit};
use crate::detached_tasks::DetachedTasks;
use crate::gateway::{Gateway, RecordingArchive};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::notifications::Notifier;
use crate::rates::{ApprovalRates, Rates};
use crate::reauthorize::{Contact, Requirements};
use crate::rule_checks::RuleChecks;
use crate::{App, KubeconfigNames, http};

/// What the handlers need, whatever the configuration says.
#[derive(Clone)]
pub(crate) struct AppDependencies {
    pub(crate) tailnet: LocalApi,
    pub(crate) contact: Contact,
    /// Carries the cluster's API, where that is wanted.
    pub(crate) gateway: Option<Arc<Gateway>>,
    /// Where recordings are read.
    pub(crate) archive: Option<Arc<RecordingArchive>>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) audit: Audit,
    /// Tells webhooks of what is recorded.
    pub(crate) notifier: Notifier,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: DetachedTasks,
    pub(crate) node: watch::Receiver<Node>,
    /// Which sign-ins waited for approval a moment ago.
    pub(crate) recent_requests: Arc<RecentRequests>,
    /// Who may approve sign-ins, as it was a moment ago.
    pub(crate) approvers: Arc<ApproverDirectory>,
    /// What the cluster said of rules a moment ago.
    pub(crate) rule_checks: Arc<RuleChecks>,
    /// Reads the ConfigMap of the cluster.
    pub(crate) client: Client,
}

/// What holds of the configuration at the moment.
pub(crate) struct RunningConfig {
    parts: AppDependencies,
    limit: RateLimit,
    rates: Arc<Rates>,
    approval_limit: ApprovalRateLimit,
    approval_rates: Arc<ApprovalRates>,
    /// What answers requests.
    routers: watch::Sender<Router>,
    /// What handling one needs.
    apps: watch::Sender<Option<Arc<App>>>,
    /// By what sessions are checked.
    requirements: watch::Sender<Requirements>,
}

// === impl RunningConfig ===

impl RunningConfig {
    /// What `config` makes of `parts`.
    pub(crate) fn new(parts: AppDependencies, config: &Config) -> Result<Self, ClusterError> {
        let (limit, approval_limit) = (config.server.rate_limit, config.server.approval_rate_limit);
        let mut live = Self {
            parts,
            limit,
            rates: Arc::new(Rates::new(limit)),
            approval_limit,
            approval_rates: Arc::new(ApprovalRates::new(approval_limit)),
            routers: watch::Sender::new(Router::new()),
            apps: watch::Sender::new(None),
            requirements: watch::Sender::new(requirements(config)),
        };
        live.apply(config)?;
        Ok(live)
    }

    /// Answers requests by what holds when each comes.
    pub(crate) fn router(&self) -> Router {
        http::current(self.routers.subscribe())
    }

    /// What handling a request needs, for what is done without one.
    pub(crate) fn apps(&self) -> watch::Receiver<Option<Arc<App>>> {
        self.apps.subscribe()
    }

    /// By what sessions are to be checked.
    pub(crate) fn requirements(&self) -> watch::Receiver<Requirements> {
        self.requirements.subscribe()
    }

    /// Makes `config` hold. Where that is at odds with itself nothing changes.
    ///
    /// What is refused is refused from the next request on. Sessions are checked anew at once, as they are after a start.
    pub(crate) fn apply(&mut self, config: &Config) -> Result<(), ClusterError> {
        let cluster = ClusterSource::new(&config.cluster_info, self.parts.client.clone())?;
        if config.server.rate_limit != self.limit {
            self.limit = config.server.rate_limit;
            self.rates = Arc::new(Rates::new(self.limit));
        }
        if config.server.approval_rate_limit != self.approval_limit {
            self.approval_limit = config.server.approval_rate_limit;
            self.approval_rates = Arc::new(ApprovalRates::new(self.approval_limit));
        }
        self.parts.sessions.set_limits(session_limits(config));
        self.parts.notifier.set_cluster(config.operator.cluster_name.as_str());
        let app = Arc::new(self.app(config, cluster));
        let router = http::router(
            &app,
            config.server.write_timeout.duration(),
            self.parts.gateway.as_ref(),
        );
        drop(self.routers.send_replace(router));
        drop(self.apps.send_replace(Some(app)));
        let new = requirements(config);
        self.requirements
            .send_if_modified(|requirements| std::mem::replace(requirements, new) != new);
        Ok(())
    }

    fn app(&self, config: &Config, cluster: ClusterSource) -> App {
        let parts = self.parts.clone();
        App {
            tailnet: parts.tailnet,
            contact: parts.contact,
            cap_name: config.tailscale.cap_name.clone(),
            namespace: config.operator.namespace.clone(),
            sessions: parts.sessions,
            audit: parts.audit,
            cluster,
            names: KubeconfigNames {
                cluster: config.operator.cluster_name.clone(),
                context_prefix: config.operator.context_prefix.clone(),
                user_prefix: config.operator.user_prefix.clone(),
            },
            limits: Limits::at_least(config.operator.min_period),
            has_gateway: parts.gateway.is_some(),
            watched: parts
                .gateway
                .as_ref()
                .map(|gateway| gateway.streams().watched().clone()),
            gateway_default: config.gateway.default,
            archive: parts.archive,
            machines: config.operator.machines,
            node: parts.node,
            allowed_hosts: config.server.allowed_hosts.clone(),
            write_timeout: config.server.write_timeout.duration(),
            read_timeout: config.server.read_timeout.duration(),
            retry_after_seconds: config.api.retry_after_seconds,
            clock: parts.clock,
            metrics: parts.metrics,
            tasks: parts.tasks,
            recent_requests: parts.recent_requests,
            approvers: parts.approvers,
            rule_checks: parts.rule_checks,
            rates: Arc::clone(&self.rates),
            approval_rates: Arc::clone(&self.approval_rates),
        }
    }
}

/// What sessions may have by `config`.
pub(crate) fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        max_credential: config.operator.max_credential_period.duration(),
        quotas: DeviceQuotas {
            sessions: config.operator.max_sessions_per_device,
            bindings: config.operator.max_bindings_per_device,
        },
    }
}

fn requirements(config: &Config) -> Requirements {
    Requirements {
        machines: config.operator.machines,
        max_unverified: config.tailscale.max_unverified.duration(),
    }
}
