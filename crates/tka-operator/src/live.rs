//! Sessions that stand at this moment, by value.

use jiff::Timestamp;
use kube::ResourceExt;
use tka_api::resource::TkaSignin;
use tka_core::Session;

use crate::stored::SessionFilter;
use crate::{objects, step};

/// A session that stands, as it was last told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveSession {
    /// The session.
    pub session: Session,
    /// The UID of its `TkaSignin`, which tells it from the sessions before and after it.
    pub uid: String,
    /// When it ends, if nothing ends it before. While it is being extended that is its end before. Use may put it off.
    pub until: Timestamp,
    /// When it was last used, as far as that is written down.
    pub last_use: Timestamp,
    /// The version of its `TkaSignin`.
    pub(crate) version: Option<String>,
}

/// How a session stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionState {
    /// There is none, or none any more.
    None,
    /// It has begun, and its account and bindings are still being made.
    Pending,
    /// It stands.
    Live(Box<LiveSession>),
}

// === impl SessionState ===

impl SessionState {
    /// How the session stands at `now` that `signin` holds.
    pub(crate) fn of(signin: &TkaSignin, now: Timestamp) -> Self {
        if let Some(live) = LiveSession::of(signin, now) {
            return Self::Live(Box::new(live));
        }
        let pending = SessionFilter::Live
            .stored(signin)
            .filter(|stored| !stored.provisioned && stored.session.until() > now)
            .filter(|stored| !objects::has_end_reason(signin, &stored.session));
        pending.map_or(Self::None, |_| Self::Pending)
    }
}

// === impl LiveSession ===

impl LiveSession {
    /// The session that `signin` holds, if it stands at `now`. Then its account and bindings were made, it is not to end, and its time is not
    /// over.
    pub(crate) fn of(signin: &TkaSignin, now: Timestamp) -> Option<Self> {
        if signin.metadata.deletion_timestamp.is_some() || !objects::was_provisioned(signin) {
            return None;
        }
        let session = objects::session(signin).ok()?;
        let until = step::end(signin, &session, false, now);
        if until <= now || objects::has_end_reason(signin, &session) {
            return None;
        }
        Some(Self {
            uid: signin.uid()?,
            version: signin.resource_version(),
            last_use: objects::last_use(signin, &session, now),
            session,
            until,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end_reason::{EndReason, EndRecord};
    use crate::{examples, progress};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use tka_api::resource::ANNOTATION_END;

    fn provisioned(session: &Session, now: Timestamp) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.uid = Some("u1".into());
        signin.status = Some(progress::active(&signin, session, now));
        signin
    }

    #[test]
    fn session_stands_from_its_provisioning_to_its_end() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let mut signin = provisioned(&session, start);
        let live = LiveSession::of(&signin, start).unwrap();
        assert_eq!((live.uid.as_str(), live.until), ("u1", session.until()));
        assert_eq!(LiveSession::of(&signin, session.until()), None);
        let pending = objects::signin(&session, None, "tka");
        assert_eq!(LiveSession::of(&pending, start), None);
        assert_eq!(SessionState::of(&pending, start), SessionState::Pending);
        assert_eq!(SessionState::of(&pending, session.until()), SessionState::None);
        assert_eq!(SessionState::of(&signin, start), SessionState::Live(Box::new(live)));
        signin.metadata.deletion_timestamp = Some(Time(start));
        assert_eq!(LiveSession::of(&signin, start), None);
    }

    #[test]
    fn session_of_which_the_end_is_written_does_not_stand() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let mut signin = provisioned(&session, start);
        let intent = EndRecord::new(&session, EndReason::SignedOut, start).to_annotation();
        signin
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(ANNOTATION_END.into(), intent);
        assert_eq!(LiveSession::of(&signin, start), None);
    }

    #[test]
    fn extension_counts_when_its_status_is_written() {
        let (start, later) = (examples::at(100), examples::at(1000));
        let before = examples::session("1h", start);
        let after = examples::session("1h", later);
        let mut signin = provisioned(&before, start);
        let extended = objects::signin(&after, None, "tka");
        (signin.spec, signin.metadata.annotations) = (extended.spec, extended.metadata.annotations);
        assert_eq!(LiveSession::of(&signin, later).unwrap().until, before.until());
        signin.status = Some(progress::active(&signin, &after, later));
        assert_eq!(LiveSession::of(&signin, later).unwrap().until, after.until());
    }
}
