//! What the reconcile loop does next for one session, by value.

use std::time::Duration;

use jiff::Timestamp;
use tka_api::resource::TkaSignin;
use tka_core::Session;

use crate::end_reason::EndRecord;
use crate::objects;

/// How long a sign-in or a sign-out is left to its handler, at another replica perhaps, before it counts as cut off. The time of a sign-in is
/// in whole seconds.
const HANDLER_GRACE: Duration = Duration::from_secs(2);

/// What the loop does next for one session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Account and binding are not known to exist.
    Complete,
    /// It is over.
    Expire,
    /// Nothing, until then.
    Wait(Duration),
}

/// How long an end is left at `now` to the request that asked for it. One in the future was decided by another clock.
pub(crate) fn handler_grace_left(intent: &EndRecord, now: Timestamp) -> Option<Duration> {
    let age = Duration::try_from(now.duration_since(intent.at)).ok()?;
    let left = HANDLER_GRACE.checked_sub(age).filter(|left| !left.is_zero());
    left.filter(|_| intent.end.is_asked_for())
}

/// What to do at `now` for a session of which there is `rest`.
pub(crate) fn step(session: &Session, provisioned: bool, now: Timestamp, rest: Duration) -> Step {
    if rest.is_zero() {
        return Step::Expire;
    }
    if provisioned {
        return Step::Wait(rest);
    }
    // A sign-in in the future is one by another clock.
    let age = now.duration_since(session.signed_in);
    match HANDLER_GRACE.checked_sub(Duration::try_from(age).unwrap_or_default()) {
        Some(left) if !left.is_zero() => Step::Wait(left.min(rest)),
        _ => Step::Complete,
    }
}

/// How long a session goes on at `now` that ends at `end` and is of that `age`.
pub(crate) fn rest(session: &Session, end: Timestamp, now: Timestamp, age: Duration) -> Duration {
    let until = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    until.min(session.period.duration().saturating_sub(age))
}

/// How much later than its rule says an unused session ends: a use a moment before must still be written down.
const LAST_USE: Duration = Duration::from_secs(2);

/// When the session ends that `signin` holds, as far as is known at `now`. That is when its time is over, or earlier where it is not used. What was
/// never usable cannot have been used.
pub(crate) fn end(signin: &TkaSignin, session: &Session, is_recorded: bool, now: Timestamp) -> Timestamp {
    let end = end_of_time(signin, session, is_recorded);
    match session.idle {
        Some(idle) if objects::was_provisioned(signin) => {
            let unused = tka_core::session::end(objects::last_use(signin, session, now), idle);
            end.min(unused + LAST_USE)
        }
        _ => end,
    }
}

/// When its time is over. An extension counts when it `is_recorded`, which the status says too: else the session goes on as it was given
/// before. The request that extends it has a moment to record that.
fn end_of_time(signin: &TkaSignin, session: &Session, is_recorded: bool) -> Timestamp {
    if is_recorded || !objects::was_provisioned(signin) || objects::is_provisioned(signin, session) {
        return session.until();
    }
    let before = signin.status.as_ref().and_then(|status| status.valid_until);
    let handled = session.signed_in + HANDLER_GRACE;
    let end = before.map_or(handled, |before| before.max(handled));
    end.min(session.until())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndReason, examples, progress};
    use tka_api::resource::ANNOTATION_LAST_USE;

    fn session() -> Session {
        examples::session("5s", "2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn look(provisioned: bool, time: &str, age: Duration) -> Step {
        let (session, now) = (session(), at(time));
        step(&session, provisioned, now, rest(&session, session.until(), now, age))
    }

    #[test]
    fn unprovisioned_is_completed_when_no_request_handles_it() {
        let step = |time| look(false, time, Duration::ZERO);
        assert_eq!(step("2026-01-01T00:00:00.5Z"), Step::Wait(Duration::from_millis(1500)));
        assert_eq!(step("2026-01-01T00:00:02Z"), Step::Complete);
        assert_eq!(step("2025-12-31T23:59:00Z"), Step::Wait(HANDLER_GRACE));
    }

    #[test]
    fn end_that_a_request_asked_for_is_left_to_it_for_a_moment() {
        let left = |end: EndReason, now: &str| {
            handler_grace_left(&EndRecord::new(&session(), end, at("2026-01-01T00:00:01Z")), at(now))
        };
        let signed_out = |now| left(EndReason::SignedOut, now);
        assert_eq!(signed_out("2026-01-01T00:00:01.5Z"), Some(Duration::from_millis(1500)));
        assert_eq!(signed_out("2026-01-01T00:00:03Z"), None);
        assert_eq!(signed_out("2026-01-01T00:00:00Z"), None);
        assert_eq!(left(EndReason::Revoked("gone".into()), "2026-01-01T00:00:01Z"), None);
    }

    #[test]
    fn provisioned_waits_for_its_end_to_the_nanosecond() {
        let next = look(true, "2026-01-01T00:00:01.000000001Z", Duration::from_secs(1));
        assert_eq!(next, Step::Wait(Duration::new(3, 999_999_999)));
    }

    #[test]
    fn over_is_expired_whether_provisioned_or_not() {
        for provisioned in [true, false] {
            for time in ["2026-01-01T00:00:05Z", "2026-01-02T00:00:00Z"] {
                assert_eq!(look(provisioned, time, Duration::from_secs(5)), Step::Expire);
                assert_eq!(look(provisioned, time, Duration::ZERO), Step::Expire);
            }
        }
    }

    #[test]
    fn session_age_is_bounded_whatever_the_clock_says() {
        for time in ["2025-12-31T23:00:00Z", "2026-01-01T00:00:01Z"] {
            let seconds = Duration::from_secs;
            assert_eq!(look(true, time, seconds(3)), Step::Wait(seconds(2)));
            assert_eq!(look(true, time, seconds(5)), Step::Expire);
            assert_eq!(look(false, time, seconds(5)), Step::Expire);
        }
    }

    #[test]
    fn extension_counts_when_it_is_recorded() {
        let (before, extended) = (session(), examples::session("5s", at("2026-01-01T00:00:02Z")));
        let mut signin = objects::signin(&extended, None, "tka");
        let now = extended.signed_in;
        let end = |signin: &_, is_recorded| end(signin, &extended, is_recorded, now);
        assert_eq!(end(&signin, false), extended.until(), "a session that begins");
        signin.status = Some(progress::active(&signin, &before, before.signed_in));
        assert_eq!(end(&signin, false), before.until());
        assert_eq!(end(&signin, true), extended.until());
        signin.status = Some(progress::active(&signin, &extended, extended.signed_in));
        assert_eq!(end(&signin, false), extended.until());
    }

    #[test]
    fn unused_session_ends_before_its_time() {
        let idle = |second: i64| Session {
            idle: Some("10s".parse().unwrap()),
            ..examples::session("1h", examples::at(second))
        };
        let session = idle(100);
        let mut signin = objects::signin(&session, None, "tka");
        let end_at = |signin: &_, now| end(signin, &session, true, examples::at(now));
        assert_eq!(end_at(&signin, 100), session.until(), "never usable, never used");
        signin.status = Some(progress::active(&signin, &session, session.signed_in));
        assert_eq!(end_at(&signin, 100), examples::at(112));
        let mut used = |second: i64| {
            let annotations = signin.metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION_LAST_USE.into(), examples::at(second).to_string());
            signin.clone()
        };
        assert_eq!(end_at(&used(105), 106), examples::at(117));
        assert_eq!(end_at(&used(50), 106), examples::at(112), "before it was signed in to");
        assert_eq!(end_at(&used(7200), 106), examples::at(112), "by a clock far ahead");
        assert_eq!(end_at(&used(3695), 3696), session.until());
    }

    #[test]
    fn extension_at_the_very_end_has_a_moment_to_be_recorded() {
        let (before, extended) = (session(), examples::session("1h", at("2026-01-01T00:00:04Z")));
        let mut signin = objects::signin(&extended, None, "tka");
        signin.status = Some(progress::active(&signin, &before, before.signed_in));
        let end = end(&signin, &extended, false, extended.signed_in);
        assert_eq!(end, at("2026-01-01T00:00:06Z"));
    }
}
