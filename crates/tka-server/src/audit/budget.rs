//! How many refusals have a record: asking costs nothing, and a full disk would keep everybody from signing in.
//!
//! Only refusals are counted. What is given and what ends has its record always.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use prometheus_client::metrics::counter::Counter;
use tka_core::Caller;

/// How many refusals of one caller have a record: at once, and then one in each [`CALLER_PERIOD`].
const CALLER_BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
const CALLER_PERIOD: Duration = Duration::from_secs(10);

/// How many refusals of all callers have a record: at once, and then one a second.
const TOTAL_BURST: NonZeroU32 = NonZeroU32::new(600).unwrap();

/// The same for requests of unidentified callers. They have a budget of their own, so that they use up no caller's.
const UNIDENTIFIED_BURST: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// How many budgets callers have between them, and their pages as many. It bounds the memory, however many callers there are. Two callers
/// of one slot share its budget; which those are is left to chance by the keyed hash.
const SLOTS: u64 = 4096;

type Slots<C> = RateLimiter<u64, DashMapStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;
type Single<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Whose budget pays for the record of a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) enum RefusalBucket<'a> {
    /// That caller's, on the device that they call from.
    Caller(&'a Caller),
    /// That of the pages in that caller's browser, which must not use up the caller's own.
    BrowserPage(&'a Caller),
    /// The one that all unidentified callers share.
    Unidentified,
}

/// What is left of the records of refusals, and how many were left out.
#[derive(Debug)]
pub(super) struct Budget<C: Clock = MonotonicClock> {
    hasher: RandomState,
    callers: Slots<C>,
    total: Single<C>,
    unidentified: Single<C>,
    /// How many were left out since that was last told.
    untold: AtomicU64,
    /// How many were left out at all.
    suppressed: Counter,
}

// === impl Budget ===

impl Budget {
    /// A whole budget. What it leaves out is counted in `suppressed` too.
    pub(super) fn new(suppressed: Counter) -> Self {
        Self::with_clock(suppressed, MonotonicClock)
    }
}

impl<C: Clock + Clone> Budget<C> {
    fn with_clock(suppressed: Counter, clock: C) -> Self {
        let caller = Quota::with_period(CALLER_PERIOD).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        let one_a_second = |burst| Quota::per_second(NonZeroU32::MIN).allow_burst(burst);
        Self {
            hasher: RandomState::new(),
            callers: RateLimiter::dashmap_with_clock(caller.allow_burst(CALLER_BURST), clock.clone()),
            total: RateLimiter::direct_with_clock(one_a_second(TOTAL_BURST), clock.clone()),
            unidentified: RateLimiter::direct_with_clock(one_a_second(UNIDENTIFIED_BURST), clock),
            untold: AtomicU64::new(0),
            suppressed,
        }
    }

    /// Spends one record of a refusal. Without one left the refusal counts as left out.
    pub(super) fn spend(&self, payer: RefusalBucket<'_>) -> bool {
        let is_paid = match payer {
            // In this order: a caller who has none left takes nothing from the others.
            RefusalBucket::Caller(caller) | RefusalBucket::BrowserPage(caller) => {
                let slot = self.slot(caller, matches!(payer, RefusalBucket::BrowserPage(_)));
                self.callers.check_key(&slot).is_ok() && self.total.check().is_ok()
            }
            RefusalBucket::Unidentified => self.unidentified.check().is_ok(),
        };
        if !is_paid {
            self.untold.fetch_add(1, Ordering::Relaxed);
            self.suppressed.inc();
        }
        is_paid
    }

    /// How many were left out since this was last asked, if any: for the next record, which tells it.
    pub(super) fn left_out(&self) -> Option<u64> {
        Some(self.untold.swap(0, Ordering::Relaxed)).filter(|count| *count > 0)
    }

    fn slot(&self, caller: &Caller, is_page: bool) -> u64 {
        2 * (self.hasher.hash_one(caller.key().as_str()) % SLOTS) + u64::from(is_page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::caller;
    use governor::clock::FakeRelativeClock;

    fn budget() -> (Budget<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Budget::with_clock(Counter::default(), clock.clone()), clock)
    }

    /// How many of `count` refusals of `device` have a record.
    fn recorded(budget: &Budget<FakeRelativeClock>, device: &str, count: usize) -> usize {
        let caller = caller(device);
        (0..count)
            .filter(|_| budget.spend(RefusalBucket::Caller(&caller)))
            .count()
    }

    // cases.md 11.2
    #[test]
    fn storm_is_recorded_from_time_to_time() {
        let (budget, clock) = budget();
        assert_eq!(recorded(&budget, "n1", 1000), 20);
        clock.advance(Duration::from_secs(9));
        assert_eq!(recorded(&budget, "n1", 1000), 0);
        clock.advance(Duration::from_secs(21));
        assert_eq!(recorded(&budget, "n1", 1000), 3);
    }

    // cases.md 11.2
    #[test]
    fn what_is_left_out_is_counted_and_told_once() {
        let (budget, _) = budget();
        assert_eq!(budget.left_out(), None);
        recorded(&budget, "n1", 120);
        assert_eq!(
            (0..61).filter(|_| budget.spend(RefusalBucket::Unidentified)).count(),
            60
        );
        assert_eq!((budget.left_out(), budget.left_out()), (Some(101), None));
        assert_eq!(budget.suppressed.get(), 101);
    }

    // cases.md 11.2
    #[test]
    fn ten_thousand_devices_share_a_total() {
        let (budget, clock) = budget();
        let of = |device| recorded(&budget, &format!("n{device}"), 3);
        let storm = || (0..10_000).map(of).sum::<usize>();
        assert_eq!(storm(), 600);
        clock.advance(Duration::from_mins(1));
        assert_eq!(storm(), 60);
        let callers = budget.callers.len();
        assert!(callers <= usize::try_from(2 * SLOTS).unwrap(), "{callers}");
    }

    #[test]
    fn one_callers_storm_leaves_the_others_theirs() {
        let (budget, _) = budget();
        recorded(&budget, "n1", 100_000);
        // A device in a slot with the first has none; chance has it in 1 of 4096.
        let others = (2..12).filter(|device| recorded(&budget, &format!("n{device}"), 1) == 1);
        assert!(others.count() >= 8);
    }

    #[test]
    fn page_and_unidentified_use_up_their_own_budget() {
        let (budget, clock) = budget();
        let alice = caller("n1");
        assert_eq!(
            (0..100).filter(|_| budget.spend(RefusalBucket::Unidentified)).count(),
            60
        );
        assert_eq!(
            (0..100)
                .filter(|_| budget.spend(RefusalBucket::BrowserPage(&alice)))
                .count(),
            20
        );
        assert_eq!(recorded(&budget, "n1", 100), 20);
        clock.advance(Duration::from_secs(3));
        assert_eq!(
            (0..100).filter(|_| budget.spend(RefusalBucket::Unidentified)).count(),
            3
        );
    }
}
