//! Quotas of sessions and bindings, and whether one of them admits a session beside the others, by value.
//!
//! There are three. One is of the sessions that a user may have through one rule (`max_sessions` in the tailnet policy). Two are of the sessions and
//! the bindings that one device may have (`operator.maxSessionsPerDevice`, `operator.maxBindingsPerDevice`).
//!
//! Nothing in Kubernetes counts for us. So each sign-in writes its `TkaSignin` first and counts then, at any replica, at the same moment as others.
//! Sessions stand in the order in which the API server made them, and:
//!
//! - what is admitted counts for all;
//! - what is undecided counts for those behind it: these are refused rather than let past;
//! - what is undecided and stands behind may have counted already, and be about to be admitted. Where it matters, a session waits until that is
//!   decided, and counts again.
//!
//! No more than a quota are ever admitted. Suppose that too much were, and look at the session that counted last. All others had been written by then,
//! because each writes before it counts. Those admitted or before it, it counted. Those undecided and behind it, it counted too, or else it waited
//! for them and counted again. So it counted them all, and was refused. And nothing waits in a circle, because each session waits only for those
//! behind it. The first of the undecided is refused only for what is admitted. So whenever some begin at once, one is admitted, or the quota is full.
//!
//! It is enough to count what a watch has told of, once that includes the session's own write. To see why, look at the one that was written last.
//!
//! Where several begin at once, one may be refused because of another that is refused, too. It may try again.
//!
//! A session that is admitted may be extended as long as the rule's quota covers it and those before it. Where a rule allows fewer than it did, those
//! that began first go on, and the others come to their end. A device's quotas hold for sessions that begin, and refuse no extension.

use std::borrow::Borrow;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tka_api::resource::TkaSignin;
use tka_core::{Refusal, Session};

use crate::{Error, objects};

/// What sessions may have, whatever their rules say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionLimits {
    /// How long a credential lives at the most.
    pub max_credential: Duration,
    /// How many sessions and bindings there may be.
    pub quotas: DeviceQuotas,
}

/// What one device may have at a time, whatever its rules say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceQuotas {
    /// How many sessions.
    pub sessions: NonZeroU32,
    /// How many bindings: a session has one for the whole cluster, or one in each of its namespaces.
    pub bindings: NonZeroU32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Quota {
    /// So many sessions of one user through one rule.
    RuleSessions(NonZeroU32),
    /// So many sessions of one device.
    DeviceSessions(NonZeroU32),
    /// So many bindings of one device.
    DeviceBindings(NonZeroU32),
}

/// Where a session stands. The API server makes several in a second; their names tell these apart.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct CreatedAt {
    since: Timestamp,
    name: String,
}

/// What one session uses of a quota.
#[derive(Clone, Debug)]
struct Usage {
    place: CreatedAt,
    amount: u64,
    /// Whether it is admitted. Else it is undecided.
    is_admitted: bool,
}

/// Whether one quota admits a session.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Decision {
    Admitted,
    Exceeded,
    /// That depends on what becomes of the session of this name.
    Undecided(String),
}

/// Whether all quotas admit a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Admitted,
    Refused(Refusal),
    /// That depends on what becomes of the session of this name.
    Undecided(String),
}

// === impl DeviceQuotas ===

impl DeviceQuotas {
    /// The quotas that hold for a session that begins, where its rule allows `max_sessions`.
    pub(crate) fn with(self, max_sessions: Option<NonZeroU32>) -> impl Iterator<Item = Quota> + Clone {
        let of_device = [
            Quota::DeviceSessions(self.sessions),
            Quota::DeviceBindings(self.bindings),
        ];
        max_sessions.map(Quota::RuleSessions).into_iter().chain(of_device)
    }
}

// === impl Quota ===

impl Quota {
    /// Whether it counts what a user has on all devices. Else it counts what one device has.
    pub(crate) fn is_of_user(self) -> bool {
        matches!(self, Self::RuleSessions(_))
    }

    fn limit(self) -> NonZeroU32 {
        match self {
            Self::RuleSessions(limit) | Self::DeviceSessions(limit) | Self::DeviceBindings(limit) => limit,
        }
    }

    /// How much of it the session takes that `signin` holds.
    fn amount(self, signin: &TkaSignin) -> u64 {
        match self {
            Self::RuleSessions(_) | Self::DeviceSessions(_) => 1,
            Self::DeviceBindings(_) => u64::try_from(objects::count_bindings(signin)).unwrap_or(u64::MAX),
        }
    }

    fn counts_together(self, session: &Session, other: &Session) -> bool {
        match self {
            Self::RuleSessions(_) => other.rule == session.rule && other.caller.user_key() == session.caller.user_key(),
            Self::DeviceSessions(_) | Self::DeviceBindings(_) => other.caller.key() == session.caller.key(),
        }
    }

    /// Whether the session that `signin` holds takes more by itself. Then nothing need be counted.
    pub(crate) fn cannot_hold(self, signin: &TkaSignin) -> bool {
        self.amount(signin) > u64::from(self.limit().get())
    }

    /// What the session that `signin` holds uses of it, itself.
    fn own(self, signin: &TkaSignin, now: Timestamp) -> Result<Usage, Error> {
        let since = signin.metadata.creation_timestamp.as_ref();
        let since = since.ok_or(Error::Incomplete("metadata.creationTimestamp"))?.0;
        let name = signin.name_any();
        Ok(Usage {
            place: CreatedAt { since, name },
            amount: self.amount(signin),
            is_admitted: objects::is_admitted(signin, now),
        })
    }

    /// What `signin` uses of it at `now` beside `session`: nothing, when it counts by itself, or is over.
    fn beside(self, session: &Session, signin: &TkaSignin, now: Timestamp) -> Result<Option<Usage>, Error> {
        // What is no session is removed by the reconcile loop, and gives no access.
        let Ok(other) = objects::session(signin) else {
            return Ok(None);
        };
        let is_itself = other.name() == session.name();
        if is_itself || is_over(signin, &other, now) || !self.counts_together(session, &other) {
            return Ok(None);
        }
        self.own(signin, now).map(Some)
    }

    /// Whether it admits `session`, which `signin` holds, at `now` beside `others`.
    fn decide(
        self,
        session: &Session,
        signin: &TkaSignin,
        others: &[impl Borrow<TkaSignin>],
        now: Timestamp,
    ) -> Result<Decision, Error> {
        let others = others.iter().map(Borrow::borrow);
        let beside = others.map(|other| self.beside(session, other, now));
        let beside: Vec<_> = beside.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(self.own(signin, now)?.decide(&beside, self.limit()))
    }

    /// Why `session` is refused that exceeds it.
    pub(crate) fn refusal(self, session: &Session) -> Refusal {
        match self {
            Self::RuleSessions(max_sessions) => Refusal::TooManySessions {
                role: session.rule.role.clone(),
                max_sessions,
            },
            Self::DeviceSessions(max) => Refusal::TooManyOnDevice { max },
            Self::DeviceBindings(max) => Refusal::TooManyBindings { max },
        }
    }
}

/// What `quotas` together say to `session`, which `signin` holds, at `now` beside `others`.
pub(crate) fn verdict(
    quotas: impl IntoIterator<Item = Quota>,
    session: &Session,
    signin: &TkaSignin,
    others: &[impl Borrow<TkaSignin>],
    now: Timestamp,
) -> Result<Verdict, Error> {
    let mut verdict = Verdict::Admitted;
    for quota in quotas {
        match quota.decide(session, signin, others, now)? {
            Decision::Admitted => {}
            Decision::Exceeded => return Ok(Verdict::Refused(quota.refusal(session))),
            Decision::Undecided(name) => verdict = Verdict::Undecided(name),
        }
    }
    Ok(verdict)
}

/// Whether `signin`, which holds `session`, counts no longer at `now`.
fn is_over(signin: &TkaSignin, session: &Session, now: Timestamp) -> bool {
    signin.metadata.deletion_timestamp.is_some() || session.until() <= now
}

/// Whether `signin` is undecided no longer: it is admitted at `now`, or over.
pub(crate) fn is_decided(signin: &TkaSignin, now: Timestamp) -> bool {
    objects::is_admitted(signin, now) || objects::session(signin).map_or(true, |session| is_over(signin, &session, now))
}

// === impl Usage ===

impl Usage {
    /// Whether a quota of `limit` admits this beside `others`.
    fn decide(&self, others: &[Self], limit: NonZeroU32) -> Decision {
        let fits = |used: u64| used.saturating_add(self.amount) <= u64::from(limit.get());
        let is_before = |other: &&Self| other.place < self.place;
        if self.is_admitted {
            let before = sum(others.iter().filter(|other| other.is_admitted && is_before(other)));
            return if fits(before) {
                Decision::Admitted
            } else {
                Decision::Exceeded
            };
        }
        let (counted, undecided): (Vec<_>, Vec<_>) =
            others.iter().partition(|other| other.is_admitted || is_before(other));
        let used = sum(counted);
        if !fits(used) {
            return Decision::Exceeded;
        }
        let next = undecided.iter().min_by_key(|other| &other.place);
        match next.map(|next| next.place.name.clone()) {
            Some(next) if !fits(used.saturating_add(sum(undecided))) => Decision::Undecided(next),
            _ => Decision::Admitted,
        }
    }
}

fn sum<'a>(usages: impl IntoIterator<Item = &'a Usage>) -> u64 {
    let usages = usages.into_iter();
    usages.fold(0, |sum, usage| sum.saturating_add(usage.amount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{self, at};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use proptest::prelude::*;
    use tka_api::resource::TkaSigninStatus;

    fn usage(second: i64, name: &str, amount: u64, is_admitted: bool) -> Usage {
        Usage {
            place: CreatedAt {
                since: at(second),
                name: name.into(),
            },
            amount,
            is_admitted,
        }
    }

    fn one(second: i64, name: &str, is_admitted: bool) -> Usage {
        usage(second, name, 1, is_admitted)
    }

    fn limit(limit: u32) -> NonZeroU32 {
        NonZeroU32::new(limit).unwrap()
    }

    fn signin(session: &Session, is_admitted: bool) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.creation_timestamp = Some(Time(session.signed_in));
        signin.status = is_admitted.then(|| TkaSigninStatus {
            provisioned: true,
            valid_until: Some(session.until()),
            ..TkaSigninStatus::default()
        });
        signin
    }

    /// What a quota of `max` says to `one` beside `other`.
    fn beside(one: &Usage, other: &Usage, max: u32) -> Decision {
        one.decide(std::slice::from_ref(other), limit(max))
    }

    #[test]
    fn of_two_at_once_one_is_refused_and_the_other_waits_for_it() {
        let (first, second) = (one(1, "a", false), one(1, "b", false));
        assert_eq!(beside(&second, &first, 1), Decision::Exceeded);
        assert_eq!(beside(&first, &second, 1), Decision::Undecided("b".into()));
        // The second had counted before the first was there, and is admitted now; or it was refused, and is gone.
        assert_eq!(beside(&first, &one(1, "b", true), 1), Decision::Exceeded);
        assert_eq!(first.decide(&[], limit(1)), Decision::Admitted);
    }

    #[test]
    fn what_was_made_first_stands_first_whatever_its_name() {
        let (first, second) = (one(1, "z", false), one(2, "a", false));
        assert_eq!(beside(&second, &first, 1), Decision::Exceeded);
    }

    #[test]
    fn where_all_fit_none_waits() {
        let (first, second) = (one(1, "a", false), one(1, "b", false));
        assert_eq!(beside(&first, &second, 2), Decision::Admitted);
        assert_eq!(beside(&second, &first, 2), Decision::Admitted);
    }

    #[test]
    fn those_that_began_first_go_on_where_a_rule_allows_fewer() {
        let [first, second] = [one(1, "b", true), one(2, "a", true)];
        assert_eq!(beside(&first, &second, 1), Decision::Admitted);
        assert_eq!(beside(&second, &first, 1), Decision::Exceeded);
        assert_eq!(beside(&second, &first, 2), Decision::Admitted);
    }

    // cases.md 11.7
    #[test]
    fn bindings_count_and_not_only_sessions() {
        let quota = Quota::DeviceBindings(limit(100));
        let in_namespaces = |label: &str, count: usize| {
            let mut signin = signin(&examples::labelled("1h", at(1), label), true);
            signin.spec.namespaces = (0..count).map(|n| format!("ns-{n}")).collect();
            signin
        };
        assert_eq!(quota.amount(&in_namespaces("a", 0)), 1, "one for the whole cluster");
        assert_eq!(quota.amount(&in_namespaces("a", 100)), 100);
        assert!(!quota.cannot_hold(&in_namespaces("a", 100)) && quota.cannot_hold(&in_namespaces("a", 101)));
        let has = |amount| [usage(1, "a", amount, true)];
        let wanted = usage(2, "b", 60, false);
        assert_eq!(wanted.decide(&has(40), limit(100)), Decision::Admitted);
        assert_eq!(wanted.decide(&has(41), limit(100)), Decision::Exceeded);
    }

    // cases.md 11.7
    #[test]
    fn unlabelled_sessions_count_as_well() {
        let (unlabelled, labelled) = (examples::session("1h", at(1)), examples::labelled("1h", at(2), "b"));
        for (one, other) in [(&labelled, &unlabelled), (&unlabelled, &labelled)] {
            let (quota, there) = (Quota::DeviceSessions(limit(1)), [signin(other, true)]);
            let decided = quota.decide(one, &signin(one, false), &there, at(3));
            assert_eq!(decided.unwrap(), Decision::Exceeded);
        }
    }

    #[test]
    fn each_quota_counts_what_it_is_of() {
        let session = examples::session("1h", at(1));
        let mut elsewhere = examples::labelled("1h", at(1), "b");
        elsewhere.caller.device.stable_id = "another".into();
        let mut by_another_rule = examples::labelled("1h", at(1), "c");
        by_another_rule.rule.role = "edit".to_owned().try_into().unwrap();
        let counts = |quota: Quota, other: &Session, now: i64| {
            let usage = quota.beside(&session, &signin(other, true), at(now)).unwrap();
            usage.is_some()
        };
        let (rule, device) = (Quota::RuleSessions(limit(1)), Quota::DeviceSessions(limit(1)));
        assert!(counts(rule, &elsewhere, 2) && !counts(device, &elsewhere, 2));
        assert!(!counts(rule, &by_another_rule, 2) && counts(device, &by_another_rule, 2));
        assert!(!counts(rule, &session, 2) && !counts(device, &session, 2), "itself");
        assert!(!counts(device, &by_another_rule, 3601), "it is over");
    }

    #[test]
    fn what_is_admitted_ending_or_over_is_decided() {
        let session = examples::session("1h", at(1));
        let undecided = signin(&session, false);
        assert!(!is_decided(&undecided, at(2)) && is_decided(&undecided, at(3601)));
        assert!(is_decided(&signin(&session, true), at(2)));
        let mut terminating = undecided;
        terminating.metadata.deletion_timestamp = Some(Time(at(2)));
        assert!(is_decided(&terminating, at(2)));
    }

    /// One session's way: it writes, counts as often as it must, and is admitted or gone.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum TestState {
        Unwritten,
        Waiting,
        /// Admitted, and no other can see it yet.
        Decided,
        Admitted,
        Gone,
    }

    proptest! {
        /// Whatever takes its next step when: never is more admitted than may be, and in the end something is.
        #[test]
        fn never_is_too_much_admitted_and_something_is(
            sessions in prop::collection::vec((0_i64..3, 1_u64..4), 1..6),
            steps in prop::collection::vec(0_usize..6, 0..60),
            max in 3_u32..6,
        ) {
            let mut all = vec![TestState::Unwritten; sessions.len()];
            // In the end each takes its steps until nothing changes any more.
            let rest = (0..sessions.len()).cycle().take(sessions.len() * 20);
            for one in steps.into_iter().map(|step| step % sessions.len()).chain(rest) {
                all[one] = match all[one] {
                    TestState::Unwritten => TestState::Waiting,
                    TestState::Waiting => {
                        let used = |other: usize| {
                            let (second, amount) = sessions[other];
                            usage(second, &other.to_string(), amount, all[other] == TestState::Admitted)
                        };
                        let others: Vec<_> = (0..all.len())
                            .filter(|other| *other != one && !matches!(all[*other], TestState::Unwritten | TestState::Gone))
                            .map(used)
                            .collect();
                        match used(one).decide(&others, limit(max)) {
                            Decision::Admitted => TestState::Decided,
                            Decision::Exceeded => TestState::Gone,
                            Decision::Undecided(_) => TestState::Waiting,
                        }
                    }
                    TestState::Decided => TestState::Admitted,
                    settled => settled,
                };
                let is_admitted = |one: &usize| matches!(all[*one], TestState::Decided | TestState::Admitted);
                let used: u64 = (0..all.len()).filter(is_admitted).map(|one| sessions[one].1).sum();
                prop_assert!(used <= u64::from(max), "{all:?}");
            }
            prop_assert!(all.contains(&TestState::Admitted), "{all:?}");
            prop_assert!(!all.contains(&TestState::Waiting), "{all:?}");
        }
    }
}
