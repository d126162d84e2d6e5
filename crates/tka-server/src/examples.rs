//! What tests of several modules need.

use jiff::Timestamp;
use tka_core::{Caller, Device, Identity, Limits, Request, Rule, Session};

/// A user on the device of that stable ID.
pub(crate) fn caller(device: &str) -> Caller {
    Caller {
        identity: Identity::user(1, "a@b"),
        device: Device::new(device, "d"),
    }
}

/// Their session of an hour, begun at `signed_in`.
pub(crate) fn session(device: &str, signed_in: Timestamp) -> Session {
    let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
    Session::new(caller(device), &rule, &Request::default(), Limits::none(), signed_in).unwrap()
}
