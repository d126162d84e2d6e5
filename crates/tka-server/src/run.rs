//! The whole wiring: how the parts meet, how they start, and how they stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use futures::future::join;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tka_operator::controller::SessionController;
use tka_operator::metrics::Metrics as OperatorMetrics;
use tka_operator::{Clients, Clock, Election, Heartbeat, Sessions};
use tka_tailnet::{LocalApi, Status};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::approvals::Worker;
use crate::approvals::emergency::Reminder;
use crate::audit::{Audit, AuditError};
use crate::background::{Background, check_roles, sweep};
use crate::certificate::CertificateState;
use crate::cluster::ClusterError;
use crate::config::{self, Config, Loaded, Source};
use crate::detached_tasks::DetachedTasks;
use crate::gateway::{self, Gateway, GatewayError, GatewaySessions, RecordingArchive};
use crate::health;
use crate::health::Health;
use crate::kubernetes::watch_version;
use crate::listen::{HTTPS, ListenError, bind, serve};
use crate::metrics::Metrics;
use crate::node::{Node, Served};
use crate::notifications;
use crate::reauthorize::{Contact, Reauthorization, Requirements};
use crate::reload::Reload;
use crate::running_config::{AppDependencies, RunningConfig, session_limits};
use crate::serving::{Files, Serving, Source as Certificates, TailnetServer};
use crate::telemetry::{self, TelemetryError, inject_trace};

/// How long the parts may take to come to their end.
const END: Duration = Duration::from_secs(10);
/// How long threads that wait for a disk may keep the process after its end.
const LAST_THREADS: Duration = Duration::from_secs(1);
/// Why the server cannot start, or ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// The runtime or a signal handler cannot be set up.
    #[error("the process cannot be set up")]
    Process(#[from] std::io::Error),
    /// Traces cannot be sent where they should go.
    #[error("traces cannot be sent")]
    Telemetry(#[from] TelemetryError),
    /// Decisions cannot be recorded.
    #[error("decisions cannot be recorded")]
    Audit(#[from] AuditError),
    /// There is no way to the API server.
    #[error("how to reach the Kubernetes API server is not known: run in a pod, or give a kubeconfig with KUBECONFIG")]
    NoCluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is not known how people reach the API server.
    #[error("how people reach the Kubernetes API server is not known")]
    NoClusterInfo(#[from] ClusterError),
    /// A part ended that should run as long as the server.
    #[error("{0} ended by itself; the log says why")]
    Background(&'static str),
    /// The cluster's API cannot be carried.
    #[error("the gateway cannot be set up")]
    Gateway(#[from] GatewayError),
    /// The server cannot listen.
    #[error("the server cannot listen")]
    Listen(#[from] ListenError),
}

/// Runs the server until it is told to stop, by what was `loaded` from `source` and is read from there again.
pub fn main(source: Source, loaded: Loaded) -> Result<(), RunError> {
    // Fails only if a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(run(source, loaded));
    // A thread that waits for a disk that hangs would keep the process for ever.
    runtime.shutdown_timeout(LAST_THREADS);
    ended
}

/// Lets the process have as many files open as it may. Each connection is one, and each stream of the gateway that is upgraded is two.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

async fn run(source: Source, loaded: Loaded) -> Result<(), RunError> {
    let config = loaded.config.clone();
    // Until the end: what is traced last must still be sent.
    let _telemetry = telemetry::start(&config)?;
    let stop = stop_on_signal()?;
    // From here on it ends the process no longer.
    let hangup = signal(SignalKind::hangup())?;
    let (registries, metrics) = Registries::new();
    let (kube, clients) = clients(&registries.operator_metrics).await?;
    let clock: Clock = Arc::new(Timestamp::now);
    let (audit, records) = Audit::start(
        &config.audit.path,
        &config.operator.namespace,
        Arc::clone(&clock),
        &metrics,
        carried_at_most(&config.gateway),
    )?;
    let namespace = &config.operator.namespace;
    let (notifier, delivery) = notifications::start(&config.notifications, namespace, &clock, &metrics);
    let audit = audit.telling(notifier.clone());
    let last_word = audit.clone();
    let (node, known) = watch::channel(Node::default());
    let sessions = sessions(&config, clients.clone(), &clock, &audit);
    let reconcile = SessionController::new(&sessions, heartbeat(&config));
    let gateway = gateway(&config, &kube, &clients, &reconcile, &clock, &metrics, &stop)?;
    // The loop's watch is what streams go by, so that it outlives them.
    let drained = gateway
        .as_ref()
        .map_or_else(|| stop.clone(), |_| CancellationToken::new());
    let parts = AppDependencies {
        tailnet: LocalApi::new(&config.tailscale.socket),
        contact: Contact::default(),
        client: clients.requests.clone(),
        gateway: gateway.clone(),
        archive: archive(&config)?,
        sessions,
        audit,
        notifier,
        clock,
        metrics: metrics.clone(),
        tasks: DetachedTasks::default(),
        node: known,
        recent_requests: Arc::default(),
        approvers: Arc::default(),
        rule_checks: Arc::default(),
    };
    let tasks = parts.tasks.clone();
    let status = watch::Sender::default();
    let said = status.subscribe();
    let mut live = RunningConfig::new(parts.clone(), &config)?;
    let router = live.router();
    let (serving, is_serving) = watch::channel(Err("still starting".to_owned()));
    let (standing, certificate) = watch::channel(None);
    let channels = Channels {
        status,
        requirements: live.requirements(),
        apps: live.apps(),
        serving: is_serving,
        certificate,
        drained: drained.clone(),
    };
    let mut background = background(&config, &clients, &parts, reconcile, channels, registries, &stop)?;
    if let Some(gateway) = &gateway {
        let (streams, used) = (gateway.streams().clone(), Arc::clone(&parts.sessions));
        background.spawn("the streams of the gateway", async move {
            streams.run(used).await;
            drained.cancel();
        });
        let keep = gateway::run_retention(config.gateway.recording.clone(), stop.clone());
        background.spawn("the keeping of recordings", keep);
    }
    let apply = Box::new(move |config: &Config| live.apply(config).map_err(Into::into));
    let reload = Reload::new(source, loaded, apply, metrics);
    background.spawn("the reloading of the configuration", reload.run(hangup, stop.clone()));
    let background = tokio::spawn(background.ended(stop.clone()).map_err(RunError::Background));
    let (address, certificates) = served(&config, &parts);
    let server = TailnetServer {
        certificates,
        served: address,
        router,
        limits: config.server.clone(),
        node,
        serving,
        standing,
        clock: Arc::clone(&parts.clock),
    };
    Box::pin(serve_tailnet(&config, said, server, stop.clone())).await;
    stop.cancel();
    // Without an API server the loop may never come to its end, and the process must.
    let (ended, done) = join(tokio::time::timeout(END, background), tasks.done(END)).await;
    let ended = ended.unwrap_or(Ok(Ok(())));
    if !done {
        tracing::error!(
            "shutdown timed out with requests running; the reconcile loop completes or ends their sessions"
        );
    }
    last_word.tell_left_out();
    join(records.finish(), delivery.finish()).await;
    tracing::info!("stopped");
    ended.unwrap_or(Err(RunError::Background("the task supervisor")))
}

/// How often the watch of sessions must be heard of: streams of the gateway go by it.
fn heartbeat(config: &Config) -> Heartbeat {
    if config.gateway.enabled {
        Heartbeat::Brisk
    } else {
        Heartbeat::Calm
    }
}

/// On which port and how the tailnet is served, and by which certificates where that is https.
fn served(config: &Config, parts: &AppDependencies) -> (Served, Certificates) {
    let port = config.tailscale.port;
    let files = config.tls.files();
    let https = port == HTTPS || files.is_some();
    let certificates = match files {
        Some((certificate, key)) => Certificates::Files(Box::new(Files::new(certificate, key))),
        None => Certificates::Tailnet(Box::new(parts.tailnet.clone())),
    };
    (Served { port, https }, certificates)
}

/// The recordings that are kept, for those who may see them.
fn archive(config: &Config) -> Result<Option<Arc<RecordingArchive>>, RunError> {
    let archive = RecordingArchive::open(&config.gateway).map_err(GatewayError::from)?;
    Ok(archive.map(Arc::new))
}

fn sessions(config: &Config, clients: Clients, clock: &Clock, audit: &Audit) -> Arc<Sessions> {
    let (namespace, limits) = (&config.operator.namespace, session_limits(config));
    let (clock, records) = (Arc::clone(clock), Arc::new(audit.clone()));
    Arc::new(Sessions::new(clients, namespace, limits, clock, records))
}

/// What parts tell each other.
struct Channels {
    /// What tailscaled last said of the node.
    status: watch::Sender<Option<Status>>,
    /// By what sessions are checked.
    requirements: watch::Receiver<Requirements>,
    /// What handling a request needs.
    apps: watch::Receiver<Option<Arc<App>>>,
    /// Whether the tailnet is served.
    serving: watch::Receiver<Serving>,
    /// How its certificate stands.
    certificate: watch::Receiver<Option<CertificateState>>,
    /// When the streams of the gateway have ended.
    drained: CancellationToken,
}

/// Starts what runs beside the serving of the tailnet.
fn background(
    config: &Config,
    clients: &Clients,
    parts: &AppDependencies,
    reconcile: SessionController,
    channels: Channels,
    mut registries: Registries,
    stop: &CancellationToken,
) -> Result<Background, RunError> {
    let (sessions, clock) = (&parts.sessions, &parts.clock);
    let namespace = &config.operator.namespace;
    let (election, leadership) = Election::new(clients, namespace, identity(config), Arc::clone(clock));
    parts
        .metrics
        .register_sessions(&mut registries.operator, reconcile.watched(), leadership.clone());
    let reauthorization = Reauthorization {
        tailnet: parts.tailnet.clone(),
        cap_name: config.tailscale.cap_name.clone(),
        requirements: channels.requirements,
        sessions: Arc::clone(sessions),
        watched: reconcile.watched(),
        leadership: leadership.clone(),
        clock: Arc::clone(clock),
        contact: parts.contact.clone(),
        metrics: parts.metrics.clone(),
        status: channels.status,
    };
    let synced = reconcile.synced();
    let (cluster, is_cluster) = watch::channel(None);
    let version = watch_version(clients.requests.clone(), cluster);
    let version = stop.clone().run_until_cancelled_owned(version);
    let (missing_roles, roles) = watch::channel(None);
    let health = Health {
        tailnet: parts.tailnet.clone(),
        contact: parts.contact.clone(),
        serving: channels.serving,
        certificate: channels.certificate,
        cluster: is_cluster,
        clock: Arc::clone(clock),
        sessions: reconcile.watch_health(),
        audit: parts.audit.clone(),
        missing_roles: roles,
        notifications: parts.notifier.clone(),
        metrics: registries.server,
        operator_metrics: registries.operator,
    };
    let listener = bind(SocketAddr::new(config.health.address, config.health.port))?;
    let router = health::router(Arc::new(health));
    let health = serve(listener, router, None, config.server.clone(), stop.clone());
    let reconcile = reconcile.run(
        Arc::clone(sessions),
        leadership.clone(),
        Arc::clone(clock),
        registries.operator_metrics,
        async move { channels.drained.cancelled().await },
    );
    let reauthorize = stop.clone().run_until_cancelled_owned(reauthorization.run(synced));
    let check_roles = check_roles(Arc::clone(sessions), missing_roles, stop.clone());
    let reminder = Reminder {
        app: channels.apps.clone(),
        leadership: leadership.clone(),
    };
    let reminder = stop.clone().run_until_cancelled_owned(reminder.run());
    let approvals = Worker {
        app: channels.apps,
        leadership: leadership.clone(),
    };
    let approvals = stop.clone().run_until_cancelled_owned(approvals.run());
    let sweep = sweep(Arc::clone(sessions), leadership, stop.clone());
    let elect = election.run(parts.contact.is_there(), stop.clone().cancelled_owned());

    let mut background = Background::default();
    background.spawn("re-authorisation", reauthorize);
    background.spawn("the reconcile loop", reconcile);
    background.spawn("the sweep", sweep);
    background.spawn("the sign-ins that wait for approval", approvals);
    background.spawn("the reminder of emergency sign-ins", reminder);
    background.spawn("the check of roles", check_roles);
    background.spawn("the election", elect);
    background.spawn("the version check", version);
    background.spawn("the health listener", async move { log_end("health", health.await) });
    Ok(background)
}

/// What is counted, by who counts.
struct Registries {
    server: Registry,
    operator: Registry,
    operator_metrics: OperatorMetrics,
}

// === impl Registries ===

impl Registries {
    fn new() -> (Self, Metrics) {
        let mut server = Registry::default();
        let metrics = Metrics::register(&mut server);
        let mut operator = Registry::default();
        let operator_metrics = OperatorMetrics::register(&mut operator);
        let registries = Self {
            server,
            operator,
            operator_metrics,
        };
        (registries, metrics)
    }
}

/// Serves the tailnet until `stop`, from when the node is on it.
async fn serve_tailnet(
    config: &Config,
    said: watch::Receiver<Option<Status>>,
    server: TailnetServer,
    stop: CancellationToken,
) {
    tracing::info!(
        port = server.served.port,
        capability = config.tailscale.cap_name,
        "waiting for tailscaled before listening"
    );
    Box::pin(server.run(said, stop)).await;
}

/// What this replica is called among the others. The host is the pod in a cluster; the rest tells apart servers on one machine.
/// One that is restarted has the same.
fn identity(config: &Config) -> String {
    let host = rustix::system::uname();
    let (host, socket) = (host.nodename().to_string_lossy(), config.tailscale.socket.display());
    format!("{host}_{socket}_{}", config.tailscale.port)
}

/// How to reach the API server, and clients that do.
async fn clients(metrics: &OperatorMetrics) -> Result<(kube::Config, Clients), RunError> {
    let config = kube::Config::infer().await;
    let config = config.map_err(|error| RunError::NoCluster(error.into()))?;
    let clients =
        Clients::new(config.clone(), metrics, inject_trace).map_err(|error| RunError::NoCluster(error.into()))?;
    Ok((config, clients))
}

/// How many requests may be carried at a time.
fn carried_at_most(settings: &config::Gateway) -> usize {
    let all = usize::try_from(settings.max_requests.get()).unwrap_or(usize::MAX);
    if settings.enabled { all } else { 0 }
}

/// The gateway, if there is to be one, over the sessions that `reconcile` watches.
fn gateway(
    config: &Config,
    kube: &kube::Config,
    clients: &Clients,
    reconcile: &SessionController,
    clock: &Clock,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<Option<Arc<Gateway>>, RunError> {
    let settings = &config.gateway;
    if !settings.enabled {
        return Ok(None);
    }
    let limit = usize::try_from(settings.max_requests_per_session.get()).unwrap_or(usize::MAX);
    let all = carried_at_most(settings);
    let streams = GatewaySessions::new(
        reconcile.watched(),
        &clients.watch_activity,
        Arc::clone(clock),
        limit,
        all,
        stop.clone(),
        metrics.gateway.clone(),
    );
    Ok(Some(Arc::new(Gateway::new(kube, settings, streams)?)))
}

/// Cancelled by SIGTERM, as the kubelet stops a container, or SIGINT.
fn stop_on_signal() -> Result<CancellationToken, RunError> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        token.cancel();
        // A second signal means not to wait.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(stop)
}

fn log_end(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(listener = what, %error, "a listener failed");
    }
}
