//! What the server counts, under the names of the original TKA. A user name is no label: it would make as many series as there
//! are people, and metrics would tell who they are.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tka_operator::{Leadership, WatchedSessions};

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

/// What the server counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    attempts: Family<Attempt, Counter>,
    sign_ins: Family<Role, Counter>,
    /// Refusals without an audit record, because the budget of these is spent.
    pub audit_suppressed: Counter,
    /// Audit records that could not be written.
    pub audit_lost: Counter,
    config_reloads: Family<Reload, Counter>,
    config_good: Gauge,
}

/// The sessions that are active, counted at each scrape, so that the number cannot drift. One replica counts them, or a sum over
/// replicas would be a multiple.
struct ActiveSessions {
    watched: WatchedSessions,
    leadership: Leadership,
}

// === impl Metrics ===

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
        let cluster_role = role.unwrap_or_default().to_owned();
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
}

/// Serves the number of active sessions in `watched` from `registry`, and whether counting them is this replica's.
pub fn register_sessions(registry: &mut Registry, watched: WatchedSessions, leadership: Leadership) {
    registry.register_collector(Box::new(ActiveSessions { watched, leadership }));
}

// === impl ActiveSessions ===

impl fmt::Debug for ActiveSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveSessions").finish_non_exhaustive()
    }
}

impl Collector for ActiveSessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let is_held = self.leadership.is_held();
        let help = "Whether this replica reconciles: 1 for one of all replicas";
        let lease = encoder.encode_descriptor("tka_lease_held", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(is_held)).encode(lease)?;
        let roles = if is_held {
            self.watched.provisioned_roles()
        } else {
            Vec::new()
        };
        let mut by_role: BTreeMap<String, i64> = BTreeMap::new();
        for role in roles {
            *by_role.entry(role).or_default() += 1;
        }
        let help = "Active sessions, by ClusterRole, at the replica that reconciles";
        let mut family = encoder.encode_descriptor("tka_active_user_sessions", help, None, MetricType::Gauge)?;
        for (cluster_role, count) in by_role {
            let labels = Role { cluster_role };
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_the_original() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.signed_in(Some("view"), None);
        metrics.signed_in(None, Some(StatusCode::FORBIDDEN));
        metrics.signed_in(Some("edit"), Some(StatusCode::SERVICE_UNAVAILABLE));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (role, outcome) in [("view", "success"), ("", "forbidden")] {
            let line = format!(r#"tka_login_attempts_total{{cluster_role="{role}",outcome="{outcome}"}} 1"#);
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains(r#"tka_login_attempts_total{cluster_role="edit",outcome="error"} 1"#));
        assert!(text.contains(r#"tka_user_signins_total{cluster_role="view"} 1"#));
    }
}
