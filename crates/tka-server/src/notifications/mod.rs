//! Tells webhooks of decisions that have an audit record.
//!
//! A decision never waits for that. What is to be told is put into a bounded queue in memory. A task of each webhook sends it, again and again until
//! it is taken or too old. The audit log is the record; a notification is a courtesy that is tried hard.

mod backlog;
mod event;
mod post;
mod signature;
mod webhook_state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tka_api::audit::{Decision, Record};
use tka_operator::Clock;
use tka_operator::error::with_causes;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Notifications, Webhook};
use crate::metrics::{Metrics, WebhookMetrics};

use self::backlog::{Backlog, Message, Next};
use self::event::EventSource;
pub use self::post::PostError;
use self::webhook_state::WebhookState;

/// How long one try may take in all.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a stop waits for what was never tried to be sent.
const LAST: Duration = Duration::from_secs(5);

/// Leaves what is told for the webhooks. Clones are the same; without webhooks it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Arc<Shared>);

/// The tasks that send.
#[derive(Debug)]
pub struct Delivery {
    tasks: JoinSet<()>,
    closing: CancellationToken,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    hooks: Vec<Arc<Hook>>,
    cluster: RwLock<String>,
    namespace: String,
}

/// A webhook.
#[derive(Debug)]
struct Hook {
    settings: Webhook,
    backlog: Mutex<Backlog>,
    standing: Mutex<WebhookState>,
    /// Told when something new waits.
    wake: Notify,
    /// How long one try may take.
    limit: Duration,
    metrics: WebhookMetrics,
}

/// Starts what tells the webhooks of `settings` about sessions in `namespace`. Within an async runtime.
pub fn start(settings: &Notifications, namespace: &str, clock: &Clock, metrics: &Metrics) -> (Notifier, Delivery) {
    start_with(settings, namespace, clock, metrics, ATTEMPT)
}

/// The same, where one try may take as long as `limit`.
fn start_with(
    settings: &Notifications,
    namespace: &str,
    clock: &Clock,
    metrics: &Metrics,
    limit: Duration,
) -> (Notifier, Delivery) {
    let hooks = settings.webhooks.iter().map(|webhook| {
        Arc::new(Hook {
            metrics: metrics.notifications.of(&webhook.name),
            settings: webhook.clone(),
            backlog: Mutex::default(),
            standing: Mutex::default(),
            wake: Notify::new(),
            limit,
        })
    });
    let shared = Arc::new(Shared {
        hooks: hooks.collect(),
        cluster: RwLock::default(),
        namespace: namespace.to_owned(),
    });
    let closing = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for hook in &shared.hooks {
        tasks.spawn(Arc::clone(hook).deliver(Arc::clone(clock), closing.clone()));
    }
    let delivery = Delivery {
        tasks,
        closing,
        shared: Arc::clone(&shared),
    };
    (Notifier(shared), delivery)
}

// === impl Notifier ===

impl Notifier {
    /// Calls the cluster so from now on.
    pub fn set_cluster(&self, name: &str) {
        name.clone_into(&mut self.0.cluster.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Leaves `record` for each webhook that is to be told of it. It neither waits nor fails.
    pub fn tell(&self, record: &Record) {
        for hook in self.0.hooks.iter().filter(|hook| hook.wants(record.decision)) {
            let id = Uuid::new_v4().to_string();
            let cluster = self.0.cluster.read().unwrap_or_else(PoisonError::into_inner);
            let place = EventSource {
                cluster: &cluster,
                namespace: &self.0.namespace,
            };
            let body = event::body(hook.settings.format, &id, place, record);
            hook.push(Message {
                id,
                decision: record.decision,
                body,
            });
        }
    }

    /// What is to be said of webhooks, in a sentence each; nothing where all is well, and none where there are no webhooks.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let notes = self.0.hooks.iter().filter_map(|hook| hook.note());
        (!self.0.hooks.is_empty()).then(|| notes.collect::<Vec<_>>().join(". "))
    }
}

// === impl Delivery ===

impl Delivery {
    /// Returns when all that was never tried is sent, or it takes too long. What waits then is lost, and counted.
    pub async fn finish(mut self) {
        self.closing.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What is under way then ends with the process.
        let _ = tokio::time::timeout(LAST, all).await;
        self.tasks.abort_all();
        for hook in &self.shared.hooks {
            hook.lose();
        }
    }
}

// === impl Hook ===

impl Hook {
    fn wants(&self, decision: Decision) -> bool {
        self.settings.events.contains(&decision)
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, WebhookState> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, message: Message) {
        let dropped = {
            let mut backlog = self.backlog();
            let dropped = backlog.push(message, Instant::now());
            self.count(&backlog);
            dropped
        };
        for message in dropped {
            self.gave_up(&message, "too many notifications wait");
        }
        self.wake.notify_one();
    }

    fn count(&self, backlog: &Backlog) {
        self.metrics
            .waiting
            .set(i64::try_from(backlog.len()).unwrap_or(i64::MAX));
    }

    /// Sends what comes until `closing`, and then what was never tried.
    async fn deliver(self: Arc<Self>, clock: Clock, closing: CancellationToken) {
        loop {
            let (next, has_new) = {
                let backlog = self.backlog();
                (backlog.next(Instant::now()), backlog.has_new())
            };
            let is_closing = closing.is_cancelled();
            match next {
                Next::Send(message) if has_new || !is_closing => {
                    let tried = self.attempt(&message, &clock).await;
                    self.settle(&message, tried);
                }
                _ if is_closing => return,
                Next::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = self.wake.notified() => {}
                        () = closing.cancelled() => {}
                    }
                }
                Next::Idle | Next::Send(_) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = closing.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Tries once, in a thread that may block.
    async fn attempt(self: &Arc<Self>, message: &Arc<Message>, clock: &Clock) -> Result<(), PostError> {
        let (hook, message, now) = (Arc::clone(self), Arc::clone(message), clock());
        let tried = tokio::task::spawn_blocking(move || post::post(&hook.settings, &message, now, hook.limit));
        let panicked = |_| Err(PostError::NoAnswer("sending it panicked".to_owned()));
        tried.await.unwrap_or_else(panicked)
    }

    fn settle(&self, message: &Message, tried: Result<(), PostError>) {
        let webhook = self.settings.name.as_str();
        let Err(error) = tried else {
            let mut backlog = self.backlog();
            backlog.delivered(&message.id);
            self.count(&backlog);
            self.metrics.delivered.inc();
            if self.standing().delivered() {
                tracing::info!(webhook, "notifications are delivered again");
            }
            return;
        };
        self.metrics.failures.inc();
        let why = with_causes(&error);
        if self.standing().failed(why.clone()) {
            tracing::warn!(webhook, error = why, "notification not delivered; it is tried again");
        }
        let dead = {
            let mut backlog = self.backlog();
            let dead = backlog.failed(&message.id, Instant::now(), error.retry_after(), chance());
            self.count(&backlog);
            dead
        };
        if let Some(dead) = dead {
            self.gave_up(&dead, &why);
        }
    }

    /// Counts a dead letter, and says so in the log once in a while.
    fn gave_up(&self, message: &Message, why: &str) {
        self.metrics.dead.inc();
        if let Some(count) = self.standing().gave_up(1, Instant::now()) {
            let (webhook, decision) = (self.settings.name.as_str(), event::name(message.decision));
            tracing::error!(
                webhook,
                count,
                decision,
                error = why,
                "notifications were given up; the audit log has their records"
            );
        }
    }

    fn note(&self) -> Option<String> {
        let waiting = self.backlog().len();
        let note = self.standing().note(waiting, Instant::now())?;
        Some(format!("{}: {note}", self.settings.name))
    }

    /// What waits at the end of the process is given up.
    fn lose(&self) {
        let (waiting, mut standing) = (self.backlog().len() as u64, self.standing());
        self.metrics.dead.inc_by(waiting);
        let count = waiting + standing.take_unlogged();
        if count > 0 {
            let (webhook, error) = (self.settings.name.as_str(), standing.why());
            tracing::error!(
                webhook,
                count,
                error,
                "notifications were given up at the stop; the audit log has their records"
            );
        }
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let (random, ..) = Uuid::new_v4().as_fields();
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
