//! Which traces are recorded: as `OTEL_TRACES_SAMPLER` says, and of those that callers ask for no more than a fixed rate.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// How many traces of callers are recorded a second, of all together. A ratio would bind no caller: it is taken of the trace's ID, which the
/// caller chooses.
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// A sampler that callers cannot make record more than it should.
#[derive(Clone)]
pub(super) struct RateLimitedSampler<C: Clock = MonotonicClock> {
    sampler: Sampler,
    of_callers: Arc<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>>,
}

// === impl RateLimitedSampler ===

impl RateLimitedSampler {
    /// The sampler of that `name`, with that `argument`, as the variables of the environment have it
    /// (<https://opentelemetry.io/docs/languages/sdk-configuration/general/#otel_traces_sampler>).
    pub(super) fn new(name: Option<&str>, argument: Option<&str>) -> Self {
        Self::by_clock(named(name, argument), MonotonicClock)
    }
}

impl<C: Clock> RateLimitedSampler<C> {
    fn by_clock(sampler: Sampler, clock: C) -> Self {
        let of_callers = RateLimiter::direct_with_clock(Quota::per_second(PER_SECOND), clock);
        Self {
            sampler,
            of_callers: Arc::new(of_callers),
        }
    }
}

/// What is no sampler is the default, as in every SDK.
fn named(name: Option<&str>, argument: Option<&str>) -> Sampler {
    let ratio = argument.and_then(|ratio| ratio.parse::<f64>().ok());
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or(1.0);
    let of_parent = |sampler| Sampler::ParentBased(Box::new(sampler));
    match name {
        Some("always_on") => Sampler::AlwaysOn,
        Some("always_off") => Sampler::AlwaysOff,
        Some("traceidratio") => Sampler::TraceIdRatioBased(ratio),
        Some("parentbased_always_off") => of_parent(Sampler::AlwaysOff),
        Some("parentbased_traceidratio") => of_parent(Sampler::TraceIdRatioBased(ratio)),
        _ => of_parent(Sampler::AlwaysOn),
    }
}

impl<C: Clock> fmt::Debug for RateLimitedSampler<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded")
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

impl<C: Clock + Clone + Send + Sync + 'static> ShouldSample for RateLimitedSampler<C>
where
    C::Instant: Send + Sync,
{
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let of_parent = parent.map(|parent| parent.span().span_context().clone());
        let of_parent = of_parent.filter(SpanContext::is_valid);
        // What the server does within a trace that is not recorded is not recorded either. A ratio would decide that by an ID that a caller chose.
        if of_parent.as_ref().is_some_and(|of| !of.is_remote() && !of.is_sampled()) {
            return SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        let mut result = self
            .sampler
            .should_sample(parent, trace_id, name, kind, attributes, links);
        let is_of_caller = of_parent.is_some_and(|of| of.is_remote());
        if is_of_caller && result.decision != SamplingDecision::Drop && self.of_callers.check().is_err() {
            result.decision = SamplingDecision::Drop;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use opentelemetry::trace::{SpanId, TraceFlags};
    use std::time::Duration;

    const SAMPLED: TraceFlags = TraceFlags::SAMPLED;
    const NOT: TraceFlags = TraceFlags::NOT_SAMPLED;

    fn parent(flags: TraceFlags, is_remote: bool) -> Context {
        let (trace, span) = (TraceId::from(1), SpanId::from(1));
        let parent = SpanContext::new(trace, span, flags, is_remote, TraceState::default());
        Context::new().with_remote_span_context(parent)
    }

    /// How many of `count` are recorded.
    fn recorded<C>(sampler: &RateLimitedSampler<C>, parent: Option<&Context>, count: usize) -> usize
    where
        RateLimitedSampler<C>: ShouldSample,
        C: Clock,
    {
        let sample = |_: &usize| {
            // The smallest ID: every ratio but zero takes it.
            let result = sampler.should_sample(parent, TraceId::from(1), "", &SpanKind::Server, &[], &[]);
            result.decision == SamplingDecision::RecordAndSample
        };
        (0..count).filter(sample).count()
    }

    #[test]
    fn hostile_caller_forces_no_more_than_the_bound() {
        let bound = PER_SECOND.get() as usize;
        for name in [
            "parentbased_always_on",
            "parentbased_traceidratio",
            "traceidratio",
            "always_on",
        ] {
            let clock = FakeRelativeClock::default();
            let sampler = RateLimitedSampler::by_clock(named(Some(name), Some("0.001")), clock.clone());
            let caller = parent(SAMPLED, true);
            assert_eq!(recorded(&sampler, Some(&caller), 1000), bound, "{name}");
            clock.advance(Duration::from_secs(1));
            assert_eq!(recorded(&sampler, Some(&caller), 1000), bound, "{name}");
            // What the server does for a trace that is recorded is recorded, however many spans that are.
            let own = parent(SAMPLED, false);
            if name.starts_with("parentbased") {
                assert_eq!(recorded(&sampler, Some(&own), 100), 100);
            }
            let dropped = parent(NOT, false);
            assert_eq!(recorded(&sampler, Some(&dropped), 100), 0, "{name}");
        }
    }

    #[test]
    fn environment_names_the_sampler() {
        let root = |name, argument| recorded(&RateLimitedSampler::new(name, argument), None, 5);
        assert_eq!(root(None, None), 5);
        assert_eq!(root(Some("nonsense"), None), 5);
        assert_eq!(root(Some("always_off"), None), 0);
        assert_eq!(root(Some("parentbased_always_off"), None), 0);
        assert_eq!(root(Some("traceidratio"), Some("0")), 0);
        assert_eq!(root(Some("parentbased_traceidratio"), Some("0.0")), 0);
        assert_eq!(root(Some("traceidratio"), Some("7")), 5);
        let of = |flags| {
            recorded(
                &RateLimitedSampler::new(Some("always_off"), None),
                Some(&parent(flags, true)),
                5,
            )
        };
        assert_eq!((of(SAMPLED), of(NOT)), (0, 0));
        assert_eq!(
            recorded(&RateLimitedSampler::new(None, None), Some(&parent(NOT, true)), 5),
            0
        );
    }
}
