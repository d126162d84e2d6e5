//! Clock skew between this machine and a server.
//!
//! A server gives the ends of sessions and credentials by its own clock. They are converted to this machine's clock on arrival. Then
//! comparisons are right even if one clock is wrong, also those of kubectl.

use jiff::{SignedDuration, Timestamp};
use tka_api::exec::ExecCredential;
use tka_api::http::{ApprovalInfo, ApprovalList, LoginResponse, SessionInfo, SessionList, SessionPage};

use crate::terminal::time_format;

/// The skew that is ignored. Credentials are renewed a minute before their end, and a response may take seconds.
pub(crate) const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// By how much a server's clock is ahead of this machine's. Zero if they agree, or if the server does not give its time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Skew(SignedDuration);

/// A response with times.
pub(crate) trait ServerTimes {
    /// Converts the server's times to this machine's clock.
    fn apply_skew(&mut self, skew: Skew);
}

// === impl Skew ===

impl Skew {
    /// `ahead` is the difference when the server responded (RFC 9110, 6.6.1), in whole seconds.
    pub(crate) fn new(ahead: Option<SignedDuration>) -> Self {
        Self(
            ahead
                .filter(|ahead| ahead.unsigned_abs() > TOLERATED_SKEW.unsigned_abs())
                .unwrap_or_default(),
        )
    }

    /// The server's time `theirs` by this machine's clock.
    pub(crate) fn to_local(self, theirs: Timestamp) -> Timestamp {
        theirs.checked_sub(self.0).unwrap_or(theirs)
    }

    /// Describes the skew, if there is any.
    pub(crate) fn describe(self) -> Option<String> {
        let apart = i64::try_from(self.0.unsigned_abs().as_secs()).unwrap_or(i64::MAX);
        let way = if self.0.is_positive() { "behind" } else { "ahead of" };
        (apart > 0).then(|| {
            format!(
                "this machine's clock is {} {way} the server's",
                time_format::span(apart)
            )
        })
    }
}

impl ServerTimes for LoginResponse {
    fn apply_skew(&mut self, skew: Skew) {
        self.until = skew.to_local(self.until);
        if let Some(approval) = &mut self.approval {
            approval.expires = skew.to_local(approval.expires);
        }
    }
}

impl ServerTimes for ApprovalInfo {
    fn apply_skew(&mut self, skew: Skew) {
        self.requested = skew.to_local(self.requested);
        self.status.expires = skew.to_local(self.status.expires);
    }
}

impl ServerTimes for ApprovalList {
    fn apply_skew(&mut self, skew: Skew) {
        for waiting in &mut self.items {
            waiting.apply_skew(skew);
        }
    }
}

impl ServerTimes for SessionInfo {
    fn apply_skew(&mut self, skew: Skew) {
        self.signed_in = skew.to_local(self.signed_in);
        self.until = skew.to_local(self.until);
    }
}

impl ServerTimes for SessionList {
    fn apply_skew(&mut self, skew: Skew) {
        for session in &mut self.items {
            session.apply_skew(skew);
        }
    }
}

impl ServerTimes for SessionPage {
    fn apply_skew(&mut self, skew: Skew) {
        for session in &mut self.items {
            session.apply_skew(skew);
        }
    }
}

impl ServerTimes for ExecCredential {
    fn apply_skew(&mut self, skew: Skew) {
        self.status.expiration_timestamp = skew.to_local(self.status.expiration_timestamp);
    }
}

impl<T: ServerTimes> ServerTimes for Option<T> {
    fn apply_skew(&mut self, skew: Skew) {
        if let Some(it) = self {
            it.apply_skew(skew);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// cases.md 8
    #[test]
    fn times_are_turned_where_clocks_do_not_agree() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let turned = |ahead| Skew::new(Some(SignedDuration::from_secs(ahead))).to_local(at(10_000));
        assert_eq!(turned(-1200), at(11_200), "this clock is ahead");
        assert_eq!(turned(1200), at(8_800), "this clock is behind");
        assert_eq!([turned(30), turned(-30)], [at(10_000); 2]);
        assert_eq!(Skew::new(None).to_local(at(1)), at(1));
        let longest = Skew::new(Some(SignedDuration::MIN));
        assert_eq!(longest.to_local(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn clock_is_named_where_it_matters() {
        let said = |ahead| Skew::new(Some(SignedDuration::from_secs(ahead))).describe();
        for (skew, expected) in [(-1200, "20 min ahead of"), (90, "90 s behind")] {
            let expected = format!("this machine's clock is {expected} the server's");
            assert_eq!(said(skew), Some(expected));
        }
        let none = [said(30), said(-30), said(0), Skew::new(None).describe()];
        assert_eq!(none, [const { None }; 4]);
    }
}
