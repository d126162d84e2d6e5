//! Whether there is room for a session beside the others that its user has through the same rule (`max_sessions`), by value.
//!
//! Nothing in Kubernetes counts for us: whoever signs in writes the `TkaSignin` first and counts then, at any replica, at the same moment as others.
//! So sessions stand in a line, in the order in which the API server made them, and:
//!
//! - who is in counts for everybody;
//! - who is not in yet counts for those behind: these are refused rather than let past;
//! - who is not in yet and stands behind may have counted already and be about to be in. Whoever it matters to waits until that is in or gone, and
//!   counts again.
//!
//! No more than `max_sessions` are ever in. Suppose one too many were, and look at the one that counted last. All others had been written by then,
//! because each writes before it counts; none of them was let past, because that one did not count while somebody behind it was undecided. So it
//! counted them all, and was refused. And nobody waits in a circle, because everybody waits only for who stands behind; the first in line is
//! refused only for who is in, so that somebody gets in.
//!
//! A session that is in may be extended as long as it is among the first that the rule allows. Where a rule allows fewer than it did, those
//! that began first go on, and the others come to their end.

use std::num::NonZeroU32;

use jiff::Timestamp;
use kube::ResourceExt;
use tka_api::resource::TkaSignin;
use tka_core::Session;

use crate::{Error, objects};

/// Where a session stands in line. The API server makes several in a second; their names tell these apart.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    since: Timestamp,
    name: String,
}

/// A session in line.
#[derive(Clone, Debug)]
pub(crate) struct InLine {
    place: Place,
    /// Whether it was let in. Else nobody knows yet.
    is_in: bool,
}

/// Whether there is room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Room {
    Free,
    Full,
    /// That depends on what becomes of the session of this name.
    Unsettled(String),
}

// === impl InLine ===

impl InLine {
    /// What `signin` counts for at `now` beside `session`: nothing, when it is another rule's, or over.
    pub(crate) fn beside(session: &Session, signin: &TkaSignin, now: Timestamp) -> Result<Option<Self>, Error> {
        // What is no session is removed by the reconcile loop, and gives nobody anything.
        let Ok(other) = objects::session(signin) else {
            return Ok(None);
        };
        let is_over = signin.metadata.deletion_timestamp.is_some() || other.until() <= now;
        if is_over || other.rule != session.rule || other.name() == session.name() {
            return Ok(None);
        }
        Self::of(signin, now).map(Some)
    }

    /// Where `signin` itself stands at `now`.
    pub(crate) fn of(signin: &TkaSignin, now: Timestamp) -> Result<Self, Error> {
        let since = signin.metadata.creation_timestamp.as_ref();
        let since = since.ok_or(Error::Incomplete("metadata.creationTimestamp"))?.0;
        let name = signin.name_any();
        Ok(Self {
            place: Place { since, name },
            is_in: objects::is_in(signin, now),
        })
    }

    /// Whether there is room for this one beside `others`, where the rule allows `max`.
    pub(crate) fn room(&self, others: &[Self], max: NonZeroU32) -> Room {
        let max = usize::try_from(max.get()).unwrap_or(usize::MAX);
        let is_before = |other: &&Self| other.place < self.place;
        if self.is_in {
            let before = others.iter().filter(|other| other.is_in && is_before(other)).count();
            return if before < max { Room::Free } else { Room::Full };
        }
        let (count, undecided): (Vec<_>, Vec<_>) = others.iter().partition(|other| other.is_in || is_before(other));
        if count.len() >= max {
            return Room::Full;
        }
        match undecided.iter().min_by_key(|other| &other.place) {
            Some(next) if count.len() + undecided.len() >= max => Room::Unsettled(next.place.name.clone()),
            _ => Room::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn in_line(second: i64, name: &str, is_in: bool) -> InLine {
        InLine {
            place: Place {
                since: at(second),
                name: name.into(),
            },
            is_in,
        }
    }

    fn max(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[test]
    fn of_two_that_begin_at_once_one_is_refused_and_the_other_waits_for_it() {
        let (first, second) = (in_line(1, "a", false), in_line(1, "b", false));
        assert_eq!(second.room(std::slice::from_ref(&first), max(1)), Room::Full);
        assert_eq!(
            first.room(std::slice::from_ref(&second), max(1)),
            Room::Unsettled("b".into())
        );
        // The second had counted before the first was there, and is in now; or it was refused, and is gone.
        assert_eq!(first.room(&[in_line(1, "b", true)], max(1)), Room::Full);
        assert_eq!(first.room(&[], max(1)), Room::Free);
    }

    #[test]
    fn who_was_made_first_stands_first_whatever_its_name() {
        let (first, second) = (in_line(1, "z", false), in_line(2, "a", false));
        assert_eq!(second.room(&[first], max(1)), Room::Full);
    }

    #[test]
    fn where_there_is_room_for_all_nobody_waits() {
        let (first, second) = (in_line(1, "a", false), in_line(1, "b", false));
        assert_eq!(first.room(std::slice::from_ref(&second), max(2)), Room::Free);
        assert_eq!(second.room(&[first], max(2)), Room::Free);
    }

    #[test]
    fn those_that_began_first_go_on_where_a_rule_allows_fewer_than_it_did() {
        let [first, second] = [in_line(1, "b", true), in_line(2, "a", true)];
        assert_eq!(first.room(std::slice::from_ref(&second), max(1)), Room::Free);
        assert_eq!(second.room(std::slice::from_ref(&first), max(1)), Room::Full);
        assert_eq!(second.room(&[first], max(2)), Room::Free);
    }

    /// One session's way: it writes, counts as often as it must, and is in or gone.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Is {
        Unwritten,
        Waiting,
        LetIn,
        In,
        Gone,
    }

    proptest! {
        /// Whatever takes its next step when: never are more in than may be, and in the end somebody is.
        #[test]
        fn never_are_too_many_in_and_somebody_gets_in(
            seconds in prop::collection::vec(0_i64..3, 1..6),
            steps in prop::collection::vec(0_usize..6, 0..60),
            count in 1_u32..4,
        ) {
            let mut all = vec![Is::Unwritten; seconds.len()];
            // In the end each takes its steps until nothing changes any more.
            let rest = (0..seconds.len()).cycle().take(seconds.len() * 20);
            for one in steps.into_iter().map(|step| step % seconds.len()).chain(rest) {
                all[one] = match all[one] {
                    Is::Unwritten => Is::Waiting,
                    Is::Waiting => {
                        let line = |other: usize, is: Is| in_line(seconds[other], &other.to_string(), is == Is::In);
                        let others: Vec<_> = (0..all.len())
                            .filter(|other| *other != one && !matches!(all[*other], Is::Unwritten | Is::Gone))
                            .map(|other| line(other, all[other]))
                            .collect();
                        match line(one, all[one]).room(&others, max(count)) {
                            Room::Free => Is::LetIn,
                            Room::Full => Is::Gone,
                            Room::Unsettled(_) => Is::Waiting,
                        }
                    }
                    Is::LetIn => Is::In,
                    settled => settled,
                };
                let let_in = all.iter().filter(|is| matches!(is, Is::LetIn | Is::In)).count();
                prop_assert!(let_in <= max(count).get() as usize, "{all:?}");
            }
            prop_assert!(all.contains(&Is::In), "{all:?}");
            prop_assert!(!all.contains(&Is::Waiting), "{all:?}");
        }
    }
}
