//! Tokens of a session's ServiceAccount.

use std::time::Duration;

use jiff::Timestamp;
use tka_api::Token;

/// The API server's shortest token.
const SHORTEST: Duration = Duration::from_mins(10);
/// How long a credential lives at the most, whatever is configured. A server that is down, or has lost the tailnet, cannot take a
/// credential back.
pub const LONGEST_CREDENTIAL: Duration = Duration::from_hours(1);

/// A token of a session's ServiceAccount.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The token.
    pub token: Token,
    /// When it stops working: its own end or that of the session, whichever comes first.
    pub expires: Timestamp,
}

/// For how many seconds to ask, when `left` are left of the session and no credential may live longer than `max`.
pub(crate) fn lifetime(left: i64, max: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    left.min(seconds(max.min(LONGEST_CREDENTIAL))).max(seconds(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_lives_no_longer_than_session_setting_and_an_hour() {
        let (half, day) = (Duration::from_mins(30), Duration::from_hours(24));
        assert_eq!(lifetime(900, day), 900);
        assert_eq!(lifetime(7200, half), 1800);
        assert_eq!(lifetime(7200, day), 3600);
        assert_eq!(lifetime(1, day), 600, "the API server issues none for less");
        assert_eq!(lifetime(7200, Duration::from_secs(1)), 600);
        assert_eq!(lifetime(i64::MAX, Duration::MAX), 3600);
    }
}
