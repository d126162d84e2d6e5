//! How many requests one caller may send. Each costs tailscaled and the API server some, and one caller's storm must not be the others'.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use tka_core::{Caller, Refusal};

use crate::answer::Failure;
use crate::config::{ApprovalRateLimit, RateLimit};

/// After how many requests callers are forgotten who would be let in like strangers.
const FORGET_EVERY: u32 = 1024;

/// How often an Event tells that one caller was refused a session. An Event is a write to the API server, and lies in etcd for an hour.
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// How many of those there may be in all: at once, and then one a second.
const TOLD_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// What is counted of one kind.
type Counts<C> = RateLimiter<String, DashMapStateStore<String>, C, NoOpMiddleware<<C as Clock>::Instant>>;

type Count<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Who made a caller's device send a request. A page that storms must not use up what the caller has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Requester {
    /// The caller, as far as can be told.
    Caller,
    /// A page in their browser that is of another site, or may be.
    BrowserPage,
}

/// What callers have sent.
#[derive(Debug)]
pub struct Rates<C: Clock = MonotonicClock> {
    clock: C,
    requests: Counts<C>,
    events: Counts<C>,
    all_events: Count<C>,
    calls: AtomicU32,
}

/// How often users have asked others for approval. Each request is recorded, and told to others.
#[derive(Debug)]
pub struct ApprovalRates<C: Clock = MonotonicClock> {
    clock: C,
    users: Counts<C>,
    calls: AtomicU32,
}

/// A request that is one too many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany {
    /// After how long there may be another, in seconds.
    pub retry_after: u32,
}

// === impl Rates ===

impl Rates {
    /// Lets each caller send requests as `limit` says.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        Self::with_clock(limit, MonotonicClock)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(limit: RateLimit, clock: C) -> Self {
        let requests = Quota::per_second(limit.requests_per_second).allow_burst(limit.burst);
        let one = |every| Quota::with_period(every).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        let one_a_second = |at_once| Quota::per_second(NonZeroU32::MIN).allow_burst(at_once);
        Self {
            requests: RateLimiter::dashmap_with_clock(requests, clock.clone()),
            events: RateLimiter::dashmap_with_clock(one(TOLD_EVERY), clock.clone()),
            all_events: RateLimiter::direct_with_clock(one_a_second(TOLD_AT_ONCE), clock.clone()),
            clock,
            calls: AtomicU32::new(0),
        }
    }

    /// Counts a request of `caller`, on the device that they send it from.
    pub fn count(&self, caller: &Caller, by: Requester) -> Result<(), TooMany> {
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.forget();
        }
        let mut key = caller.key().as_str().to_owned();
        if by == Requester::BrowserPage {
            key.push_str(" page");
        }
        self.requests.check_key(&key).map_err(|until| TooMany {
            retry_after: seconds(&until, &self.clock),
        })
    }

    /// Whether an Event may be told of `caller`'s being refused a session: it is one of few, however often the caller asks.
    pub fn allow_event(&self, caller: &Caller) -> bool {
        self.events.check_key(&caller.key().as_str().to_owned()).is_ok() && self.all_events.check().is_ok()
    }

    fn forget(&self) {
        self.requests.retain_recent();
        self.events.retain_recent();
    }
}

/// How long `until` is, in whole seconds.
fn seconds<C: Clock>(until: &NotUntil<C::Instant>, clock: &C) -> u32 {
    let wait = until.wait_time_from(clock.now());
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

// === impl ApprovalRates ===

impl ApprovalRates {
    /// Lets each user ask as `limit` says.
    #[must_use]
    pub fn new(limit: ApprovalRateLimit) -> Self {
        Self::with_clock(limit, MonotonicClock)
    }
}

impl<C: Clock + Clone> ApprovalRates<C> {
    fn with_clock(limit: ApprovalRateLimit, clock: C) -> Self {
        let quota = Quota::per_minute(limit.requests_per_minute).allow_burst(limit.burst);
        Self {
            users: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            calls: AtomicU32::new(0),
        }
    }

    /// Counts a new request of `caller`'s user, on whatever device. If it is one too many, the refusal says after how long there may be another.
    pub fn count(&self, caller: &Caller) -> Result<(), Refusal> {
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.users.retain_recent();
        }
        let counted = self.users.check_key(&caller.user_key().as_str().to_owned());
        counted.map_err(|until| Refusal::AskedTooOften {
            retry_after: seconds(&until, &self.clock),
        })
    }
}

impl From<TooMany> for Failure {
    fn from(too_many: TooMany) -> Self {
        let advice = &[
            "wait as long as Retry-After says",
            "find out which program on this device asks so often",
        ];
        let failure = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "this device sends more requests than the server takes",
            advice,
        );
        Self {
            retry_after: Some(too_many.retry_after),
            ..failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::caller;
    use governor::clock::FakeRelativeClock;

    fn rates() -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limit = RateLimit {
            requests_per_second: NonZeroU32::new(2).unwrap(),
            burst: NonZeroU32::new(3).unwrap(),
        };
        (Rates::with_clock(limit, clock.clone()), clock)
    }

    #[test]
    fn burst_is_let_in_and_what_follows_at_the_rate() {
        let (rates, clock) = rates();
        let count = || rates.count(&caller("n1"), Requester::Caller);
        assert_eq!([count(), count(), count()], [Ok(()); 3]);
        assert_eq!(count().unwrap_err().retry_after, 1);
        clock.advance(Duration::from_millis(500));
        assert_eq!(count(), Ok(()));
        assert!(count().is_err());
    }

    #[test]
    fn one_callers_storm_is_not_anothers() {
        let (rates, _) = rates();
        while rates.count(&caller("n1"), Requester::Caller).is_ok() {}
        assert_eq!(rates.count(&caller("n2"), Requester::Caller), Ok(()));
    }

    #[test]
    fn pages_storm_is_not_the_callers() {
        let (rates, _) = rates();
        let served = (0..9).filter(|_| rates.count(&caller("n"), Requester::BrowserPage).is_ok());
        assert_eq!(served.count(), 3);
        assert!(rates.count(&caller("n"), Requester::Caller).is_ok());
    }

    #[test]
    fn refusals_are_told_once_a_minute_and_once_a_second_in_all() {
        let (rates, clock) = rates();
        let told = |device: &str| (0..100).filter(|_| rates.allow_event(&caller(device))).count();
        assert_eq!((told("n1"), told("n2")), (1, 1));
        clock.advance(TOLD_EVERY);
        assert_eq!(told("n1"), 1);
        let all = (0..100).map(|device| told(&format!("other-{device}"))).sum::<usize>();
        assert_eq!(all, 19, "one was told just now");
        clock.advance(Duration::from_secs(2));
        let all = (100..200).map(|device| told(&format!("other-{device}"))).sum::<usize>();
        assert_eq!(all, 2);
    }

    #[test]
    fn user_asks_for_approval_few_times_on_whatever_device() {
        let clock = FakeRelativeClock::default();
        let rates = ApprovalRates::with_clock(ApprovalRateLimit::default(), clock.clone());
        let ask = |device: &str| rates.count(&caller(device));
        assert_eq!((0..20).filter(|_| ask("n1").is_ok()).count(), 10);
        let minute = Duration::from_mins(1);
        let refused = Err(Refusal::AskedTooOften { retry_after: 60 });
        assert_eq!(ask("n2"), refused, "the same user on another device");
        clock.advance(minute);
        assert_eq!((ask("n2").is_ok(), ask("n1").is_ok()), (true, false));
    }

    #[test]
    fn callers_are_forgotten_after_a_while() {
        let (rates, clock) = rates();
        for device in 0..5000 {
            rates.count(&caller(&device.to_string()), Requester::Caller).unwrap();
            clock.advance(Duration::from_millis(100));
        }
        let known = rates.requests.len();
        assert!(known <= FORGET_EVERY as usize + 100, "{known}");
    }
}
