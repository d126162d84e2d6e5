//! What is counted of webhooks. Their names are the configuration's, so that they are few.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Webhook {
    webhook: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Ended {
    webhook: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
enum Outcome {
    delivered,
    dead,
}

/// Of all webhooks.
#[derive(Clone, Debug, Default)]
pub struct NotificationMetrics {
    ended: Family<Ended, Counter>,
    failures: Family<Webhook, Counter>,
    waiting: Family<Webhook, Gauge>,
}

/// Of one webhook.
#[derive(Clone, Debug, Default)]
pub struct WebhookMetrics {
    /// What was taken.
    pub delivered: Counter,
    /// What was given up, or had no room.
    pub dead: Counter,
    /// Tries that failed.
    pub failures: Counter,
    /// What waits.
    pub waiting: Gauge,
}

// === impl NotificationMetrics ===

impl NotificationMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tka_notifications",
            "Notifications that came to an end, by webhook and outcome: delivered, or dead, which is given up or without room",
            self.ended.clone(),
        );
        registry.register(
            "tka_notification_failures",
            "Tries to deliver a notification that failed, by webhook",
            self.failures.clone(),
        );
        registry.register(
            "tka_notifications_waiting",
            "Notifications that wait to be delivered, by webhook",
            self.waiting.clone(),
        );
    }

    /// Of `webhook`, from zero on: an increase from nothing to one is none to Prometheus.
    #[must_use]
    pub fn of(&self, webhook: &str) -> WebhookMetrics {
        let ended = |outcome| {
            let webhook = webhook.to_owned();
            self.ended.get_or_create(&Ended { webhook, outcome }).clone()
        };
        let labels = Webhook {
            webhook: webhook.to_owned(),
        };
        WebhookMetrics {
            delivered: ended(Outcome::delivered),
            dead: ended(Outcome::dead),
            failures: self.failures.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
        }
    }
}
