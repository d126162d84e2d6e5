//! What the operator counts.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Metrics of the reconcile loop.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) reconcile: Histogram,
}

impl Metrics {
    /// Metrics that are served from `registry`, under the names of the original TKA.
    pub fn register(registry: &mut Registry) -> Self {
        let reconcile = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        registry.register(
            "tka_reconciler_duration",
            "How long reconciling one TkaSignin took, in seconds",
            reconcile.clone(),
        );
        Self { reconcile }
    }
}
