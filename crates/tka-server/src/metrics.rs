//! What the server counts, under the names of the original TKA where it has them. Every label has few values. A user name is no label: it
//! would make as many series as there are people, and metrics would tell who they are.

mod exposition;
mod gateway;
mod labels;
mod notifications;
pub mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tka_core::{Refusal, Revocation};
use tka_operator::{ApprovalDecision, EndReason, Leadership, WatchedSessions};

pub use self::exposition::Exposition;
pub use self::gateway::{GatewayMetrics, InFlightRequest};
pub use self::labels::method_label;
use self::labels::{OTHER, code_label};
pub use self::notifications::{NotificationMetrics, WebhookMetrics};

/// How many roles have series of their own. The tailnet policy may name any number, and each would be a series in every metric by role.
const ROLES: usize = 64;
/// Reasons of refusals that are none of [`Refusal::KINDS`].
const FURTHER_REFUSALS: [&str; 2] = ["TooManyRequests", "Other"];

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Attempt {
    cluster_role: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values as the original writes them")]
enum Outcome {
    success,
    forbidden,
    error,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reload {
    outcome: Outcome,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Role {
    cluster_role: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WhoIs {
    outcome: WhoIsOutcome,
}

/// What came of a WhoIs.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
pub enum WhoIsOutcome {
    /// tailscaled knows the caller.
    resolved,
    /// It does not.
    unknown,
    /// It did not say.
    failed,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ApprovalLabels {
    outcome: ApprovalOutcome,
}

/// What came of asking others.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
enum ApprovalOutcome {
    requested,
    approved,
    denied,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Answered {
    method: &'static str,
    route: String,
    code: &'static str,
}

/// What the server counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    attempts: Family<Attempt, Counter>,
    sign_ins: Family<Role, Counter>,
    refusals: Family<Reason, Counter>,
    ends: Family<Reason, Counter>,
    revocations: Family<Reason, Counter>,
    approvals: Family<ApprovalLabels, Counter>,
    whois: HistogramFamily<WhoIs>,
    requests: HistogramFamily<Answered>,
    roles: Roles,
    /// Credentials that were handed out.
    pub credentials: Counter,
    /// Sign-ins in an emergency.
    pub break_glass: Counter,
    /// Refusals without an audit record, because the budget of these is spent.
    pub audit_suppressed: Counter,
    /// Audit records that could not be written.
    pub audit_lost: Counter,
    config_reloads: Family<Reload, Counter>,
    config_good: Gauge,
    /// Of what the gateway carries.
    pub gateway: GatewayMetrics,
    /// Of webhooks.
    pub notifications: NotificationMetrics,
}

/// The roles that have series of their own: the first that were seen.
#[derive(Clone, Debug, Default)]
pub struct Roles(Arc<Mutex<BTreeSet<String>>>);

/// The sessions that are active, counted at each scrape, so that the number cannot drift. One replica counts them, or a sum over
/// replicas would be a multiple.
struct ActiveSessions {
    watched: WatchedSessions,
    leadership: Leadership,
    roles: Roles,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            sign_ins: Family::default(),
            refusals: each(Refusal::KINDS.into_iter().chain(FURTHER_REFUSALS)),
            ends: each(ENDS),
            revocations: each(Revocation::KINDS),
            approvals: decisions(),
            whois: Family::new_with_constructor(buckets),
            requests: Family::new_with_constructor(buckets),
            roles: Roles::default(),
            credentials: Counter::default(),
            break_glass: Counter::default(),
            audit_suppressed: Counter::default(),
            audit_lost: Counter::default(),
            config_reloads: reloads(),
            config_good: Gauge::default(),
            gateway: GatewayMetrics::default(),
            notifications: NotificationMetrics::default(),
        }
    }
}

fn reloads() -> Family<Reload, Counter> {
    let family = Family::default();
    for outcome in [Outcome::success, Outcome::error] {
        drop(family.get_or_create(&Reload { outcome }));
    }
    family
}

fn decisions() -> Family<ApprovalLabels, Counter> {
    let family = Family::default();
    for outcome in [
        ApprovalOutcome::requested,
        ApprovalOutcome::approved,
        ApprovalOutcome::denied,
    ] {
        drop(family.get_or_create(&ApprovalLabels { outcome }));
    }
    family
}

/// From 1 ms to 16 s.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// A counter for each reason, from the start: an increase from nothing to one is none to Prometheus.
fn each(reasons: impl IntoIterator<Item = &'static str>) -> Family<Reason, Counter> {
    let family = Family::default();
    for reason in reasons {
        drop(family.get_or_create(&Reason { reason }));
    }
    family
}

/// How a session can come to its end.
const ENDS: [&str; 7] = [
    "signed_out",
    "expired",
    "idle",
    "revoked",
    "refused",
    "taken_down",
    "broken",
];

fn end(how: &EndReason) -> &'static str {
    match how {
        EndReason::SignedOut => "signed_out",
        EndReason::Expired => "expired",
        EndReason::Idle => "idle",
        EndReason::Revoked(_) => "revoked",
        EndReason::Refused(_) => "refused",
        EndReason::TakenDown => "taken_down",
        EndReason::Broken => "broken",
    }
}

impl Metrics {
    /// Metrics that are served from `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tka_login_attempts",
            "Attempts to sign in, by ClusterRole (empty when no rule was chosen) and outcome",
            metrics.attempts.clone(),
        );
        registry.register(
            "tka_user_signins",
            "Successful sign-ins, by ClusterRole",
            metrics.sign_ins.clone(),
        );
        registry.register(
            "tka_refusals",
            "Requests that were refused, by the kind of the refusal",
            metrics.refusals.clone(),
        );
        registry.register(
            "tka_credentials_issued",
            "Credentials that were recorded and handed out",
            metrics.credentials.clone(),
        );
        registry.register(
            "tka_sessions_ended",
            "Sessions that ended, by how",
            metrics.ends.clone(),
        );
        registry.register(
            "tka_revocations",
            "Sessions that this replica revoked, by what changed on the tailnet",
            metrics.revocations.clone(),
        );
        registry.register(
            "tka_approvals",
            "Sign-ins that others were asked to approve, and what they decided",
            metrics.approvals.clone(),
        );
        registry.register(
            "tka_break_glass",
            "Sign-ins through rules with break_glass, of which others are alarmed",
            metrics.break_glass.clone(),
        );
        registry.register(
            "tka_whois_duration_seconds",
            "How long tailscaled took to say who sends a request",
            metrics.whois.clone(),
        );
        registry.register(
            "tka_http_request_duration_seconds",
            "How long requests over the tailnet took, by method, route and status code",
            metrics.requests.clone(),
        );
        registry.register(
            "tka_audit_suppressed",
            "Refusals without an audit record, because the budget of these is spent",
            metrics.audit_suppressed.clone(),
        );
        registry.register(
            "tka_audit_lost",
            "Audit records that could not be written; the log has them",
            metrics.audit_lost.clone(),
        );
        registry.register(
            "tka_config_reloads",
            "How often the configuration was read again, by outcome",
            metrics.config_reloads.clone(),
        );
        registry.register(
            "tka_config_last_reload_successful",
            "Whether the configuration file was good when it was last read: 0 means that a restart would fail",
            metrics.config_good.clone(),
        );
        metrics.gateway.register(registry);
        metrics.notifications.register(registry);
        metrics.config_good.set(1);
        metrics
    }

    /// The configuration was read again, and was good or not.
    pub fn config_reloaded(&self, good: bool) {
        let outcome = if good { Outcome::success } else { Outcome::error };
        self.config_reloads.get_or_create(&Reload { outcome }).inc();
        self.config_good.set(good.into());
    }

    /// Whether the configuration was good when it was last read.
    #[cfg(test)]
    pub(crate) fn is_config_good(&self) -> bool {
        self.config_good.get() == 1
    }

    /// Counts an attempt to sign in with `role`, that failed with `status` or did not fail.
    pub fn signed_in(&self, role: Option<&str>, status: Option<StatusCode>) {
        let outcome = match status {
            None => Outcome::success,
            Some(status) if status.is_client_error() => Outcome::forbidden,
            Some(_) => Outcome::error,
        };
        let cluster_role = role.map(|role| self.roles.label(role)).unwrap_or_default();
        self.attempts
            .get_or_create(&Attempt {
                cluster_role: cluster_role.clone(),
                outcome,
            })
            .inc();
        if outcome == Outcome::success {
            self.sign_ins.get_or_create(&Role { cluster_role }).inc();
        }
    }

    /// Counts a request that was answered with `status`, because of a refusal of that `kind` if it was one. A failure is no refusal.
    pub fn refused(&self, status: StatusCode, kind: Option<&'static str>) {
        if !status.is_client_error() {
            return;
        }
        let [too_many, other] = FURTHER_REFUSALS;
        let reason = match kind {
            Some(kind) => kind,
            None if status == StatusCode::TOO_MANY_REQUESTS => too_many,
            None => other,
        };
        self.refusals.get_or_create(&Reason { reason }).inc();
    }

    /// Counts the end of a session.
    pub fn ended(&self, how: &EndReason) {
        self.ends.get_or_create(&Reason { reason: end(how) }).inc();
    }

    /// Counts a revocation of that [kind](Revocation::kind).
    pub fn revoked(&self, kind: &'static str) {
        self.revocations.get_or_create(&Reason { reason: kind }).inc();
    }

    /// Counts a sign-in that waits for others.
    pub fn approval_requested(&self) {
        let outcome = ApprovalOutcome::requested;
        self.approvals.get_or_create(&ApprovalLabels { outcome }).inc();
    }

    /// Counts what one of them decided.
    pub fn approval_decided(&self, decision: ApprovalDecision) {
        let outcome = match decision {
            ApprovalDecision::Approve => ApprovalOutcome::approved,
            ApprovalDecision::Deny => ApprovalOutcome::denied,
        };
        self.approvals.get_or_create(&ApprovalLabels { outcome }).inc();
    }

    /// Counts a WhoIs that took so long.
    pub fn whois_answered(&self, outcome: WhoIsOutcome, took: Duration) {
        self.whois.get_or_create(&WhoIs { outcome }).observe(took.as_secs_f64());
    }

    /// Counts an answer to a request for `route`, which is none of the caller's words.
    pub fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let labels = Answered {
            method: method_label(method),
            route: route.unwrap_or(OTHER).to_owned(),
            code: code_label(status.as_u16()),
        };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Serves the number of active sessions in `watched` from `registry`, and whether counting them is this replica's.
    pub fn register_sessions(&self, registry: &mut Registry, watched: WatchedSessions, leadership: Leadership) {
        let roles = self.roles.clone();
        registry.register_collector(Box::new(ActiveSessions {
            watched,
            leadership,
            roles,
        }));
    }
}

// === impl Roles ===

impl Roles {
    /// `role`, if it has series of its own or can have them.
    fn label(&self, role: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(role) {
            return role.to_owned();
        }
        if known.len() >= ROLES {
            return OTHER.to_owned();
        }
        known.insert(role.to_owned());
        role.to_owned()
    }
}

// === impl ActiveSessions ===

impl fmt::Debug for ActiveSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveSessions").finish_non_exhaustive()
    }
}

impl Collector for ActiveSessions {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let is_held = self.leadership.is_held();
        let roles = if is_held {
            self.watched.provisioned_roles()
        } else {
            Vec::new()
        };
        encode_sessions(encoder, is_held, &roles, &self.roles)
    }
}

/// The gauges of a replica that holds the Lease or does not, and sees provisioned sessions of these `roles`.
fn encode_sessions(mut encoder: DescriptorEncoder<'_>, is_held: bool, roles: &[String], labels: &Roles) -> fmt::Result {
    let help = "Whether this replica reconciles: 1 for one of all replicas";
    let lease = encoder.encode_descriptor("tka_lease_held", help, None, MetricType::Gauge)?;
    ConstGauge::new(i64::from(is_held)).encode(lease)?;
    let mut by_role: BTreeMap<String, i64> = BTreeMap::new();
    for role in roles {
        *by_role.entry(labels.label(role)).or_default() += 1;
    }
    let help = "Active sessions, by ClusterRole, at the replica that reconciles";
    let mut family = encoder.encode_descriptor("tka_active_user_sessions", help, None, MetricType::Gauge)?;
    for (cluster_role, count) in by_role {
        let labels = Role { cluster_role };
        ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} in {text}");
        }
    }

    #[test]
    fn names_and_labels_are_those_of_the_original() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.signed_in(Some("view"), None);
        metrics.signed_in(None, Some(StatusCode::FORBIDDEN));
        metrics.signed_in(Some("edit"), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_lines(
            &text(&registry),
            &[
                r#"tka_login_attempts_total{cluster_role="view",outcome="success"} 1"#,
                r#"tka_login_attempts_total{cluster_role="",outcome="forbidden"} 1"#,
                r#"tka_login_attempts_total{cluster_role="edit",outcome="error"} 1"#,
                r#"tka_user_signins_total{cluster_role="view"} 1"#,
            ],
        );
    }

    #[test]
    fn reasons_are_there_before_they_are_needed_and_counted_by_kind() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.refused(StatusCode::FORBIDDEN, Some(Refusal::NoRule.kind()));
        metrics.refused(StatusCode::TOO_MANY_REQUESTS, None);
        metrics.refused(StatusCode::NOT_FOUND, None);
        metrics.refused(StatusCode::SERVICE_UNAVAILABLE, None);
        metrics.ended(&EndReason::Revoked("of alice".into()));
        metrics.revoked(Revocation::RuleGone.kind());
        let text = text(&registry);
        assert_lines(
            &text,
            &[
                r#"tka_refusals_total{reason="NoRule"} 1"#,
                r#"tka_refusals_total{reason="TooManyRequests"} 1"#,
                r#"tka_refusals_total{reason="Other"} 1"#,
                r#"tka_refusals_total{reason="Ambiguous"} 0"#,
                r#"tka_sessions_ended_total{reason="revoked"} 1"#,
                r#"tka_sessions_ended_total{reason="signed_out"} 0"#,
                r#"tka_revocations_total{reason="RuleGone"} 1"#,
                r#"tka_revocations_total{reason="Unverified"} 0"#,
            ],
        );
        assert!(!text.contains("alice"));
    }

    #[test]
    fn what_callers_say_makes_no_series() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for number in 0..500 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
            metrics.answered(&method, None, StatusCode::NOT_FOUND, Duration::ZERO);
            metrics.signed_in(Some(&format!("role-{number}")), None);
        }
        let text = text(&registry);
        assert_lines(
            &text,
            &[
                r#"tka_http_request_duration_seconds_count{method="other",route="other",code="404"} 500"#,
                r#"tka_user_signins_total{cluster_role="role-63"} 1"#,
                r#"tka_user_signins_total{cluster_role="other"} 436"#,
            ],
        );
        assert_eq!(text.matches("tka_user_signins_total{").count(), ROLES + 1);
    }
}
