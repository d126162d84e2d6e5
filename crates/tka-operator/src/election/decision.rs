//! What to do about the Lease, by value.

use std::time::Duration;

use tokio::time::Instant;

/// How long a Lease stands of which nothing new is seen. Then its holder counts as gone.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(10);
/// How long its holder counts on it, from before it asked: shorter, so that it stops before another begins.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(8);
/// How often its holder renews it. A renewal may fail once and be late.
pub(super) const RETRY_PERIOD: Duration = Duration::from_secs(3);

/// What a Lease says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Record {
    /// The replica that holds it; none when it was released.
    pub(super) holder: Option<String>,
    /// Whether its holder yields: it cannot check sessions against the tailnet, and leaves the Lease to a replica that can.
    pub(super) yields: bool,
    /// How often it changed hands.
    pub(super) transitions: i32,
}

/// A Lease as it was last seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ObservedLease {
    pub(super) record: Record,
    /// What the API server calls this state of it.
    pub(super) version: String,
    /// Since when it has been so, by this process' own clock: another's does not tell when a Lease is over.
    pub(super) since: Instant,
}

/// A replica that would reconcile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    /// What it is called in the Lease.
    pub(super) identity: String,
    /// Whether it can check sessions against the tailnet.
    pub(super) can_verify: bool,
    /// When it last wrote the Lease, from before it asked.
    pub(super) renewed: Option<Instant>,
}

/// What a replica does next about the Lease.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// It writes this.
    Write(Record),
    /// Nothing before then, unless something changes.
    Wait(Instant),
}

// === impl Record ===

impl Record {
    pub(super) fn is_held_by(&self, identity: &str) -> bool {
        self.holder.as_deref() == Some(identity)
    }
}

// === impl ObservedLease ===

impl ObservedLease {
    /// Until when its holder counts as one that holds it and can check sessions, if nothing new is seen of it.
    pub(super) fn can_verify_until(&self) -> Option<Instant> {
        let can_verify = self.record.holder.is_some() && !self.record.yields;
        can_verify.then(|| self.since + LEASE_DURATION)
    }
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn step(&self, seen: Option<&ObservedLease>, now: Instant) -> Step {
        let Some(seen) = seen else {
            return Step::Write(self.record(0));
        };
        let (record, transitions) = (&seen.record, seen.record.transitions);
        if record.is_held_by(&self.identity) {
            return self.renewal(record, now);
        }
        let over = seen.since + LEASE_DURATION;
        let is_free = record.holder.is_none() || over <= now || record.yields && self.can_verify;
        if is_free {
            Step::Write(self.record(transitions.saturating_add(1)))
        } else {
            Step::Wait(over)
        }
    }

    /// A replica that finds itself named was restarted, and goes on at once.
    fn renewal(&self, record: &Record, now: Instant) -> Step {
        let desired = self.record(record.transitions);
        match self.renewed.map(|renewed| renewed + RETRY_PERIOD) {
            Some(due) if now < due && desired == *record => Step::Wait(due),
            _ => Step::Write(desired),
        }
    }

    fn record(&self, transitions: i32) -> Record {
        Record {
            holder: Some(self.identity.clone()),
            yields: !self.can_verify,
            transitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        Candidate {
            identity: identity.into(),
            can_verify: true,
            renewed: None,
        }
    }

    fn held_by(holder: &str, since: Instant) -> ObservedLease {
        ObservedLease {
            record: Record {
                holder: Some(holder.into()),
                yields: false,
                transitions: 4,
            },
            version: "1".into(),
            since,
        }
    }

    fn written(step: &Step) -> Option<(&str, i32)> {
        match step {
            Step::Write(record) => Some((record.holder.as_deref()?, record.transitions)),
            Step::Wait(_) => None,
        }
    }

    #[test]
    fn lease_that_is_not_there_or_was_released_is_taken() {
        let now = Instant::now();
        assert_eq!(written(&candidate("a").step(None, now)), Some(("a", 0)));
        let mut released = held_by("b", now);
        released.record.holder = None;
        assert_eq!(written(&candidate("a").step(Some(&released), now)), Some(("a", 5)));
    }

    #[test]
    fn lease_of_another_is_taken_after_its_duration() {
        let now = Instant::now();
        let seen = held_by("b", now);
        let just_before = now + LEASE_DURATION - Duration::from_nanos(1);
        let step = |at| candidate("a").step(Some(&seen), at);
        assert_eq!(step(just_before), Step::Wait(now + LEASE_DURATION));
        assert_eq!(written(&step(now + LEASE_DURATION)), Some(("a", 5)));
    }

    #[test]
    fn holder_stops_before_another_begins() {
        assert!(RENEW_DEADLINE < LEASE_DURATION && RETRY_PERIOD * 2 < RENEW_DEADLINE);
    }

    #[test]
    fn own_lease_is_resumed_at_once_and_renewed_in_time() {
        let now = Instant::now();
        let seen = held_by("a", now);
        let mut candidate = candidate("a");
        assert_eq!(written(&candidate.step(Some(&seen), now)), Some(("a", 4)));
        candidate.renewed = Some(now);
        assert_eq!(candidate.step(Some(&seen), now), Step::Wait(now + RETRY_PERIOD));
        let renewal = candidate.step(Some(&seen), now + RETRY_PERIOD);
        assert_eq!(written(&renewal), Some(("a", 4)));
    }

    #[test]
    fn holder_without_the_tailnet_yields_until_it_has_it() {
        let now = Instant::now();
        let mut seen = held_by("a", now);
        let mut candidate = candidate("a");
        (candidate.renewed, candidate.can_verify) = (Some(now), false);
        let Step::Write(record) = candidate.step(Some(&seen), now) else {
            panic!("it said nothing")
        };
        assert!(record.yields && record.is_held_by("a"));
        seen.record = record;
        assert_eq!(candidate.step(Some(&seen), now), Step::Wait(now + RETRY_PERIOD));
        candidate.can_verify = true;
        assert!(matches!(candidate.step(Some(&seen), now), Step::Write(record) if !record.yields));
    }

    #[test]
    fn yielded_lease_goes_only_to_one_that_can_verify() {
        let now = Instant::now();
        let mut seen = held_by("b", now);
        seen.record.yields = true;
        let mut candidate = candidate("a");
        assert_eq!(written(&candidate.step(Some(&seen), now)), Some(("a", 5)));
        candidate.can_verify = false;
        assert_eq!(candidate.step(Some(&seen), now), Step::Wait(now + LEASE_DURATION));
    }
}
