//! How a session comes to its end, and how that is written down on its `TkaSignin` before anything is taken away. By value.
//!
//! A replica that finds a session half taken down, or the next start, then knows how it ended and why.

use std::fmt;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use tka_api::resource::{ANNOTATION_END, TkaSignin};
use tka_core::Session;

/// The longest reason that is written down, in bytes.
const WHY_BYTES: usize = 1024;

/// How a session came to its end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "how", content = "why", rename_all = "snake_case")]
pub enum EndReason {
    /// Its owner ended it.
    SignedOut,
    /// Its time was over.
    Expired,
    /// It was not used for as long as its rule allows.
    Idle,
    /// What it was given through does not hold any more, and why.
    Revoked(String),
    /// It never was: what was begun could not be given, and why.
    Refused(String),
    /// Another account deleted its `TkaSignin`: an administrator, or another with the right to.
    TakenDown,
    /// Another account deleted its ServiceAccount or a binding.
    Broken,
}

/// That a session ends, as its `TkaSignin` says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct EndRecord {
    /// The sign-in that it ends: a later one is not meant.
    of: Timestamp,
    /// When that was decided.
    pub(crate) at: Timestamp,
    /// How.
    #[serde(flatten)]
    pub(crate) end: EndReason,
}

// === impl EndReason ===

impl EndReason {
    /// Whether a request is what it ends by, and takes it down itself.
    pub(crate) fn is_asked_for(&self) -> bool {
        matches!(self, Self::SignedOut | Self::Refused(_))
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut => f.write_str("its owner signed out"),
            Self::Expired => f.write_str("its time is over"),
            Self::Idle => f.write_str("it was not used for as long as its rule allows"),
            Self::Revoked(why) => write!(f, "revoked: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::TakenDown => f.write_str("its TkaSignin was deleted, and what hung on it is gone"),
            Self::Broken => f.write_str("its ServiceAccount or a binding was deleted"),
        }
    }
}

// === impl EndRecord ===

impl EndRecord {
    pub(crate) fn new(session: &Session, mut end: EndReason, at: Timestamp) -> Self {
        if let EndReason::Revoked(why) | EndReason::Refused(why) = &mut end {
            why.truncate(why.floor_char_boundary(WHY_BYTES));
        }
        let of = session.signed_in;
        Self { of, at, end }
    }

    /// What `signin` says about its end, if it ends: it is being deleted, or it is to be.
    pub(crate) fn of(signin: &TkaSignin, session: &Session) -> Option<Self> {
        let intent = Self::read(signin)?;
        let is_meant = signin.metadata.deletion_timestamp.is_some() || intent.of == session.signed_in;
        is_meant.then_some(intent)
    }

    /// Whether `signin` says already that the sign-in ends that this ends, whichever replica decided that.
    pub(crate) fn is_about_what_ends(&self, signin: &TkaSignin) -> bool {
        Self::read(signin).is_some_and(|live| live.of == self.of)
    }

    fn read(signin: &TkaSignin) -> Option<Self> {
        serde_json::from_str(signin.annotations().get(ANNOTATION_END)?).ok()
    }

    pub(crate) fn to_annotation(&self) -> String {
        // Nothing in it fails to serialize: no map, no float.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// How the session ends that `signin` holds and that is being taken down at `now`. An end that is not written down was not this server's decision, unless
/// its time was over anyway.
pub(crate) fn how(signin: &TkaSignin, session: &Session, now: Timestamp) -> EndReason {
    match EndRecord::of(signin, session) {
        Some(intent) => intent.end,
        None if session.until() <= now => EndReason::Expired,
        None => EndReason::TakenDown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{self, at};
    use crate::objects;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn session(signed_in: i64) -> Session {
        examples::session("1h", at(signed_in))
    }

    fn signin(signed_in: i64, end: Option<&str>, is_deleted: bool) -> TkaSignin {
        let mut signin = objects::signin(&session(signed_in), None, "tka");
        signin.metadata.deletion_timestamp = is_deleted.then(|| Time(at(9)));
        let annotations = signin.metadata.annotations.get_or_insert_default();
        annotations.extend(end.map(|end| (ANNOTATION_END.into(), end.into())));
        signin
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        for end in [
            EndReason::SignedOut,
            EndReason::Expired,
            EndReason::Revoked("the rule\n\"is\" gone".into()),
            EndReason::Refused("no".into()),
            EndReason::Broken,
        ] {
            let text = EndRecord::new(&session(1), end.clone(), at(5)).to_annotation();
            let intent = EndRecord::of(&signin(1, Some(&text), false), &session(1)).unwrap();
            assert_eq!((intent.end, intent.at), (end, at(5)));
        }
        let long = EndRecord::new(&session(1), EndReason::Revoked("ü".repeat(WHY_BYTES)), at(5));
        assert!(long.to_annotation().len() < WHY_BYTES + 200);
    }

    #[test]
    fn end_reason_is_about_one_sign_in_and_no_later_one() {
        let text = EndRecord::new(&session(1), EndReason::Revoked("gone".into()), at(5)).to_annotation();
        assert_eq!(EndRecord::of(&signin(2, Some(&text), false), &session(2)), None);
        // One that is being deleted ends, also when a sign-in was written onto it meanwhile.
        assert!(EndRecord::of(&signin(2, Some(&text), true), &session(2)).is_some());
        for odd in ["", "{}", "[]", "signed_out", r#"{"how": "vanished"}"#] {
            assert_eq!(EndRecord::of(&signin(1, Some(odd), true), &session(1)), None, "{odd}");
        }
    }

    #[test]
    fn end_without_a_reason_is_expiry_or_a_deletion() {
        let text = EndRecord::new(&session(1), EndReason::Revoked("gone".into()), at(5)).to_annotation();
        let how = |end: Option<&str>, now: i64| how(&signin(1, end, true), &session(1), at(now));
        assert_eq!(how(None, 9), EndReason::TakenDown);
        assert_eq!(how(None, 3601), EndReason::Expired);
        assert_eq!(how(Some(&text), 3601), EndReason::Revoked("gone".into()));
    }
}
