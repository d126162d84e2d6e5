//! Elevations that acted at this replica, for a while after their end. So a person is told when their programs act with the ordinary role again. By
//! value, without a clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tka_core::{CallerKey, RoleName, RuleKey};

/// For how long after its end requests are told that an elevation is over.
const NOTICE_TTL: SignedDuration = SignedDuration::from_mins(10);
/// Of how many devices this is kept. Beyond it the one is forgotten whose elevation ends first.
const MAX_DEVICES: usize = 10_000;

/// The last elevation that acted, by caller and device.
#[derive(Debug, Default)]
pub(super) struct Elevations(Mutex<HashMap<CallerKey, LastElevation>>);

/// What a device was elevated to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Elevation(RuleKey);

#[derive(Debug)]
struct LastElevation {
    elevation: Elevation,
    /// When it ends, if nothing ends it before.
    until: Timestamp,
    /// Since when it is known to be over.
    over: Option<Timestamp>,
}

// === impl Elevations ===

impl Elevations {
    /// An elevation of the caller of that `key` acts at `now`. It is through `rule`, and lasts until `until` if nothing ends it before.
    pub(super) fn record_active(&self, key: &CallerKey, rule: &RuleKey, until: Timestamp, now: Timestamp) {
        let mut all = self.all();
        let is_new = !all.contains_key(key);
        if is_new {
            all.retain(|_, last| last.is_told(now));
        }
        if is_new && all.len() >= MAX_DEVICES {
            let first = all.iter().min_by_key(|(_, last)| last.until);
            let first = first.map(|(key, _)| key.clone());
            first.and_then(|key| all.remove(&key));
        }
        let last = LastElevation {
            elevation: Elevation(rule.clone()),
            until,
            over: None,
        };
        all.insert(key.clone(), last);
    }

    /// No elevation of the caller of that `key` acts at `now`. The last one ended at its time, or before this is first recorded.
    pub(super) fn record_over(&self, key: &CallerKey, now: Timestamp) {
        let mut all = self.all();
        let Some(last) = all.get_mut(key) else { return };
        last.over.get_or_insert(now.min(last.until));
        if !last.is_told(now) {
            all.remove(key);
        }
    }

    /// The last elevation of the caller of that `key`, if it ended a short while before `now`.
    pub(super) fn over(&self, key: &CallerKey, now: Timestamp) -> Option<Elevation> {
        let all = self.all();
        let last = all.get(key).filter(|last| last.over.is_some() && last.is_told(now))?;
        Some(last.elevation.clone())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<CallerKey, LastElevation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LastElevation ===

impl LastElevation {
    /// Whether requests at `now` are told that it is over, or may be later on.
    fn is_told(&self, now: Timestamp) -> bool {
        now.duration_since(self.over.unwrap_or(self.until)) < NOTICE_TTL
    }
}

// === impl Elevation ===

impl Elevation {
    /// What a request is told that is refused, or that no session is known for yet.
    pub(super) fn ended_notice(&self) -> String {
        let rule = self.0.name.as_ref().map(|name| format!(" (rule {name})"));
        format!("your elevation to {}{} is over", self.0.role, rule.unwrap_or_default())
    }

    /// What a request is told that acts with the role `ordinary` instead.
    pub(super) fn fallback_notice(&self, ordinary: &RoleName) -> String {
        format!("{}: this acts with the role {ordinary}", self.ended_notice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_core::{Caller, Device, Identity, Rule};

    fn caller(device: &str) -> Caller {
        Caller {
            identity: Identity::user(1, "alice@example.com"),
            device: Device::new(device, "laptop"),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const ONCALL: &str = r#"{"role": "cluster-admin", "period": "1h", "name": "oncall"}"#;
    const EDIT: &str = r#"{"role": "edit", "period": "1h"}"#;

    fn key(rule: &str) -> RuleKey {
        Rule::parse(rule).unwrap().key()
    }

    /// The device `device` acts elevated by `rule` at `now`.
    fn record_active(elevations: &Elevations, device: &str, rule: &str, until: i64, now: i64) {
        elevations.record_active(&caller(device).key(), &key(rule), at(until), at(now));
    }

    fn said(elevations: &Elevations, device: &str, now: i64) -> Option<String> {
        let key = caller(device).key();
        elevations.record_over(&key, at(now));
        let over = elevations.over(&key, at(now));
        over.map(|over| over.ended_notice())
    }

    #[test]
    fn end_is_told_for_ten_minutes_to_its_device_alone() {
        let elevations = Elevations::default();
        assert_eq!(said(&elevations, "n1", 0), None, "none has acted");
        record_active(&elevations, "n1", ONCALL, 1800, 0);
        let over = "your elevation to cluster-admin (rule oncall) is over";
        assert_eq!(said(&elevations, "n1", 1801).as_deref(), Some(over));
        assert_eq!(said(&elevations, "n2", 1801), None);
        assert_eq!(said(&elevations, "n1", 2399).as_deref(), Some(over));
        assert_eq!(said(&elevations, "n1", 2400), None);
        assert!(elevations.all().is_empty());
        let role = RoleName::try_from("view".to_owned()).unwrap();
        let elevation = Elevation(key(EDIT));
        assert_eq!(
            elevation.fallback_notice(&role),
            "your elevation to edit is over: this acts with the role view"
        );
    }

    #[test]
    fn one_that_ended_before_its_time_is_told_from_then_on() {
        let elevations = Elevations::default();
        record_active(&elevations, "n1", ONCALL, 3600, 0);
        assert!(said(&elevations, "n1", 100).is_some());
        assert!(said(&elevations, "n1", 699).is_some());
        assert_eq!(said(&elevations, "n1", 700), None);
    }

    #[test]
    fn another_elevation_takes_its_place() {
        let elevations = Elevations::default();
        record_active(&elevations, "n1", ONCALL, 100, 0);
        assert!(said(&elevations, "n1", 100).is_some());
        record_active(&elevations, "n1", EDIT, 5000, 200);
        record_active(&elevations, "n1", EDIT, 5000, 4000);
        assert_eq!(
            said(&elevations, "n1", 5001).as_deref(),
            Some("your elevation to edit is over")
        );
        // The next morning there is nothing to tell.
        assert_eq!(said(&elevations, "n1", 80_000), None);
    }

    #[test]
    fn what_is_told_no_more_is_forgotten_and_there_is_a_bound() {
        let elevations = Elevations::default();
        for device in 0..MAX_DEVICES + 3 {
            let until = i64::try_from(device).unwrap();
            record_active(&elevations, &device.to_string(), EDIT, until, 0);
        }
        assert_eq!(elevations.all().len(), MAX_DEVICES);
        assert_eq!(said(&elevations, "0", 1), None, "the first that ends is forgotten");
        assert!(said(&elevations, &(MAX_DEVICES + 2).to_string(), 1).is_some());
        record_active(&elevations, "n1", EDIT, 100_000, 90_000);
        assert_eq!(elevations.all().len(), 1);
    }
}
