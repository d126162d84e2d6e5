//! Sign-ins through rules with `break_glass`, after the fact: they are acknowledged by one with oversight, or told again each day.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tka_api::audit::{self, Outcome, Record};
use tka_core::{CannotApprove, Reason, Session, SessionName};
use tka_operator::{Leadership, UnacknowledgedSignIns, backoff};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Approver, MAX_DECISIONS, contended};
use crate::App;
use crate::answer::Failure;
use crate::audit::{Audit, AuditError};
use crate::audit_context::AuditContext;
use crate::authorize::no_contact;

/// How often one that none has acknowledged is told again.
const REMINDER_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// By how much clocks may differ.
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_hours(1);
/// How often it is looked whether one is to be told again.
const CHECK_INTERVAL: Duration = Duration::from_mins(5);

/// What a caller says of a sign-in in an emergency.
pub(crate) struct Acknowledgement {
    /// What they say.
    pub(crate) comment: Option<Reason>,
    /// The last one that they have seen; whichever is the last, where they do not say.
    pub(crate) request: Option<String>,
}

/// Tells again what none has acknowledged.
pub(crate) struct Reminder {
    /// What handling a request needs, as it is now.
    pub(crate) app: watch::Receiver<Option<Arc<App>>>,
    /// Whether it is this replica's to do.
    pub(crate) leadership: Leadership,
}

/// When this replica told each. What cannot be written down is not told again sooner.
type ToldHere = HashMap<SessionName, Timestamp>;

/// When `emergency` is told again, unless it is acknowledged before.
pub(crate) fn told_again_at(emergency: &UnacknowledgedSignIns) -> Timestamp {
    emergency.told.checked_add(REMINDER_INTERVAL).unwrap_or(emergency.told)
}

/// By value: whether sign-ins are to be told again at `now` that were `told` then, as it is written down, and `told_here` by this replica. A time that is
/// still to come was written by a clock that was ahead, and counts for nothing.
fn is_due(told: Timestamp, told_here: Option<Timestamp>, now: Timestamp) -> bool {
    let told = (told.duration_since(now) <= TOLERATED_SKEW).then_some(told);
    told.max(told_here)
        .is_none_or(|told| now.duration_since(told) >= REMINDER_INTERVAL)
}

// === impl Approver ===

impl Approver {
    /// What they may acknowledge.
    pub(crate) async fn unacknowledged(&self, app: &App) -> Result<Vec<UnacknowledgedSignIns>, Failure> {
        if !self.is_any() {
            return Ok(Vec::new());
        }
        let mut all = app.sessions.list_unacknowledged().await?;
        all.retain(|emergency| self.may_acknowledge(emergency).is_ok());
        Ok(all)
    }

    /// Acknowledges what is kept under that `name`. Returns it.
    pub(crate) async fn acknowledge(
        &self,
        app: &App,
        context: &AuditContext,
        name: &str,
        seen: &Acknowledgement,
    ) -> Result<UnacknowledgedSignIns, Failure> {
        if !self.is_any() {
            return Err(super::no_oversight());
        }
        // What it gives them may be outdated else.
        app.contact.check().map_err(|error| no_contact(&error))?;
        let mut meant = seen.request.clone();
        let mut is_recorded = false;
        for _ in 0..MAX_DECISIONS {
            let there = app.sessions.get_unacknowledged(name).await?;
            let emergency = there.ok_or_else(none)?;
            self.may_acknowledge(&emergency).map_err(may_not)?;
            let last = emergency.last().map(|last| last.request.clone()).unwrap_or_default();
            // What came meanwhile was not seen.
            if *meant.get_or_insert_with(|| last.clone()) != last {
                return Err(another());
            }
            if !is_recorded {
                app.audit
                    .acknowledged(context, &emergency, seen.comment.as_ref())
                    .await?;
                is_recorded = true;
            }
            if app.sessions.delete_break_glass_record(&emergency).await? {
                return Ok(emergency);
            }
        }
        Err(contended())
    }
}

fn none() -> Failure {
    let advice = &["see `tka approvals` for those that none has acknowledged"];
    Failure::new(StatusCode::NOT_FOUND, "no such emergency sign-in waits for you", advice)
}

fn another() -> Failure {
    let advice = &["look at it with `tka approvals`, and acknowledge that"];
    Failure::new(
        StatusCode::CONFLICT,
        "there is another emergency sign-in by now",
        advice,
    )
}

fn may_not(why: CannotApprove) -> Failure {
    match why {
        CannotApprove::Own => Failure::new(
            StatusCode::FORBIDDEN,
            "this emergency sign-in is your own, and another acknowledges it",
            &["ask one who has oversight of its rule"],
        ),
        CannotApprove::Machine | CannotApprove::NoOversight => none(),
    }
}

// === impl Reminder ===

impl Reminder {
    /// Works for as long as it is polled.
    pub(crate) async fn run(self) {
        let mut acquisitions = self.leadership.acquisitions().boxed();
        let (mut failures, mut told) = (0, ToldHere::default());
        loop {
            let wait = match self.look(&mut told).await {
                Ok(()) => {
                    failures = 0;
                    CHECK_INTERVAL
                }
                Err(failure) => {
                    failures += 1;
                    let (status, message) = (failure.status, failure.body.message);
                    tracing::warn!(failures, %status, message, "emergency sign-ins were not looked at; retrying");
                    backoff(failures, None, CHECK_INTERVAL)
                }
            };
            tokio::select! {
                _ = acquisitions.next() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Looks at all of them. One that fails stops none of the others.
    async fn look(&self, told: &mut ToldHere) -> Result<(), Failure> {
        let app = self.app.borrow().clone();
        let Some(app) = app.filter(|_| self.leadership.is_held()) else {
            return Ok(());
        };
        let all = app.sessions.list_unacknowledged().await?;
        told.retain(|name, _| all.iter().any(|emergency| emergency.name == *name));
        let mut result = Ok(());
        for emergency in &all {
            let done = remind(&app, emergency, told).await;
            result = result.and(done);
        }
        result
    }
}

/// Does what is due about one of them.
async fn remind(app: &App, emergency: &UnacknowledgedSignIns, told: &mut ToldHere) -> Result<(), Failure> {
    let now = (app.clock)();
    let told_here = told.get(&emergency.name).copied();
    if is_due(emergency.told, told_here, now) {
        app.audit.unacknowledged(emergency).await?;
        app.sessions.tell_unacknowledged(emergency);
        told.insert(emergency.name.clone(), now);
        let (session, username) = (&emergency.name, emergency.caller.username());
        tracing::warn!(%session, username, "break-glass sign-in not acknowledged");
        app.sessions.record_reminder(emergency, now).await?;
    } else if let Some(told_here) = told_here.filter(|told_here| *told_here > emergency.told) {
        // It was told, and that could not be written down.
        app.sessions.record_reminder(emergency, told_here).await?;
    }
    Ok(())
}

// === impl Audit ===

impl Audit {
    /// Records that `session` is to be given in an emergency, by the request of that ID. Unless this returns well it must not be.
    pub(crate) async fn break_glass(
        &self,
        context: &AuditContext,
        session: &Session,
        request: &str,
    ) -> Result<(), AuditError> {
        let caller = &session.caller;
        let record = Record {
            session: Some(self.session(session)),
            break_glass: Some(audit::BreakGlass {
                request: request.to_owned(),
                name: SessionName::new(caller, &session.rule, None).to_string(),
                username: caller.username().to_owned(),
                device: caller.device.stable_id.clone(),
                count: None,
                since: None,
                comment: None,
            }),
            ..self.of_request(context, audit::Decision::BreakGlass, Outcome::Granted)
        };
        self.write(&record).await
    }

    /// Records that the caller of `context` acknowledged `emergency`. Unless this returns well it must not count.
    async fn acknowledged(
        &self,
        context: &AuditContext,
        emergency: &UnacknowledgedSignIns,
        comment: Option<&Reason>,
    ) -> Result<(), AuditError> {
        let record = Record {
            session: emergency.session().map(|session| self.session(&session)),
            break_glass: Some(told(emergency, comment)),
            ..self.of_request(context, audit::Decision::BreakGlassAcknowledged, Outcome::Granted)
        };
        self.write(&record).await
    }

    /// Records that none has acknowledged `emergency`.
    async fn unacknowledged(&self, emergency: &UnacknowledgedSignIns) -> Result<(), AuditError> {
        let record = Record {
            session: emergency.session().map(|session| self.session(&session)),
            break_glass: Some(told(emergency, None)),
            ..self.of_caller(
                &emergency.caller,
                audit::Decision::BreakGlassUnacknowledged,
                Outcome::Granted,
            )
        };
        self.write(&record).await
    }
}

fn told(emergency: &UnacknowledgedSignIns, comment: Option<&Reason>) -> audit::BreakGlass {
    let last = emergency.last();
    audit::BreakGlass {
        request: last.map(|last| last.request.clone()).unwrap_or_default(),
        name: emergency.name.to_string(),
        username: emergency.caller.username().to_owned(),
        device: emergency.caller.device.stable_id.clone(),
        count: Some(emergency.count),
        since: last.map(|last| last.at),
        comment: comment.map(|comment| comment.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_again_each_day() {
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        let is_due = |told: i64, here: Option<i64>, now: i64| is_due(at(told), here.map(at), at(now));
        let none = [
            is_due(0, None, 0),
            is_due(0, None, 23),
            is_due(24, None, 47),
            is_due(0, Some(24), 30),
        ];
        assert_eq!(none, [false; 4]);
        let due = [
            is_due(0, None, 24),
            is_due(24, None, 48),
            is_due(0, None, 10_000),
            is_due(0, Some(24), 48),
        ];
        assert_eq!(due, [true; 4]);
        // Clocks differ a little. One that is far ahead silences nothing, and is told once.
        assert_eq!(
            [is_due(25, None, 24), is_due(48, None, 24), is_due(48, Some(24), 25)],
            [false, true, false]
        );
    }
}
