//! What tests of several modules need.

use jiff::Timestamp;
use tka_core::{Caller, Device, Identity, Limits, Request, Rule, Session, UserId};

/// The session of a user by the role `view`, begun at `signed_in`.
pub(crate) fn session(period: &str, signed_in: Timestamp) -> Session {
    let caller = Caller {
        identity: Identity::User {
            id: UserId(1),
            login_name: "a@b".into(),
        },
        device: Device {
            stable_id: "n".into(),
            name: "d".into(),
        },
    };
    let rule = Rule::parse(&format!(r#"{{"role": "view", "period": "{period}"}}"#)).unwrap();
    Session::new(caller, &rule, &Request::default(), Limits::none(), signed_in).unwrap()
}
