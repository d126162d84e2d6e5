//! What tests of several modules need.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use tka_core::{Caller, Device, Identity, Limits, Request, Rule, Session, SessionLabel};

use crate::{Clients, DeviceQuotas, EndReason, NotRecorded, Records, SessionLimits, Sessions};

/// That many seconds after 1970 began.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The session of a user by the role `view`, begun at `signed_in`.
pub(crate) fn session(period: &str, signed_in: Timestamp) -> Session {
    asked_for(period, signed_in, &Request::default())
}

/// Another of the same user.
pub(crate) fn labelled(period: &str, signed_in: Timestamp, label: &str) -> Session {
    let label = SessionLabel::try_from(label.to_owned()).unwrap();
    let request = Request {
        label: Some(label),
        ..Request::default()
    };
    asked_for(period, signed_in, &request)
}

/// Sessions of which nothing is recorded, at that time.
pub(crate) fn sessions(clients: Clients, now: Timestamp) -> Sessions {
    sessions_with(clients, now, Arc::new(Unrecorded))
}

/// Sessions that are recorded with `records`.
pub(crate) fn sessions_with(clients: Clients, now: Timestamp, records: Arc<dyn Records>) -> Sessions {
    sessions_within(NonZeroU32::MAX, clients, now, records)
}

/// Sessions of which a device may have so many.
pub(crate) fn sessions_within(
    max: NonZeroU32,
    clients: Clients,
    now: Timestamp,
    records: Arc<dyn Records>,
) -> Sessions {
    let clock = Arc::new(move || now);
    let quotas = DeviceQuotas {
        sessions: max,
        bindings: NonZeroU32::MAX,
    };
    let limits = SessionLimits {
        max_credential: Duration::from_mins(10),
        quotas,
    };
    Sessions::new(clients, "tka", limits, clock, records)
}

/// Records nothing.
pub(crate) struct Unrecorded;

impl Records for Unrecorded {
    fn began<'a>(&'a self, _: &'a Session, _: bool) -> BoxFuture<'a, Result<(), NotRecorded>> {
        ready(Ok(())).boxed()
    }

    fn ended<'a>(&'a self, _: &'a Session, _: &'a EndReason) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }
}

fn asked_for(period: &str, signed_in: Timestamp, request: &Request) -> Session {
    let caller = Caller {
        identity: Identity::user(1, "a@b"),
        device: Device::new("n", "d"),
    };
    let rule = Rule::parse(&format!(r#"{{"role": "view", "period": "{period}"}}"#)).unwrap();
    Session::new(caller, &rule, request, Limits::none(), signed_in).unwrap()
}
