//! Waiting until others have approved a sign-in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tka_api::http::{ApprovalStatus, LoginRequest};

use crate::api::client::{Client, SignInResponse};
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::server_kubeconfig::AuthMethod;
use crate::terminal::approvers::who_may_approve;
use crate::terminal::messages::{self, Clock};
use crate::terminal::time_format;

/// How long one request may take. The server answers after ten seconds, and is asked again.
const LIMIT: Duration = Duration::from_secs(30);
/// How long withdrawing may take, after which the request is left to its time.
const WITHDRAW: Duration = Duration::from_secs(5);

/// What was asked for, and in which form.
#[derive(Clone, Debug)]
pub(crate) struct PendingRequest<'a> {
    pub(crate) request: &'a LoginRequest,
    pub(crate) form: AuthMethod,
}

/// Waits until others have approved, and returns the sign-in. The server tells of the decision as soon as it is made.
///
/// Ctrl-C withdraws the request. Where the session does not wait any more, that is an error of the server's.
pub(crate) fn wait(
    ctx: &CommandContext,
    asked: &PendingRequest<'_>,
    status: &ApprovalStatus,
) -> Result<SignInResponse, Error> {
    let begun = || {
        let text = announcement(status, &Clock::system());
        ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
        ctx.ui.spinner("waiting for approval")
    };
    let session = status.session.clone();
    let is_given_up = Arc::new(AtomicBool::new(false));
    let ask = {
        let client = ctx.retrying_client(LIMIT)?;
        let (request, form, id) = (asked.request.clone(), asked.form, status.request.clone());
        let is_given_up = Arc::clone(&is_given_up);
        move || answered(&client, &request, form, &id, &is_given_up)
    };
    let withdraw = ctx.retrying_client(WITHDRAW)?;
    interrupted::run(begun, ask, move || {
        // Before it is withdrawn: what is asked again would wait anew.
        is_given_up.store(true, Ordering::SeqCst);
        drop(withdraw.with_fresh_deadline(WITHDRAW).withdraw(&session));
    })
}

/// Asks until the answer is none that the request of that `id` waits, or until that is given up. An earlier server begins another request where this one was
/// withdrawn. That one is withdrawn, too.
fn answered(
    client: &Client,
    request: &LoginRequest,
    form: AuthMethod,
    id: &str,
    is_given_up: &AtomicBool,
) -> Result<SignInResponse, Error> {
    loop {
        let client = client.with_fresh_deadline(LIMIT);
        let signed_in = client.sign_in_by(request, form, id)?;
        let Some(status) = &signed_in.login.approval else {
            return Ok(signed_in);
        };
        if is_given_up.load(Ordering::SeqCst) {
            return Ok(signed_in);
        }
        if status.request != id {
            let session = status.session.clone();
            let _ = client.withdraw(&session);
            return Err(Error::NothingWaits { session });
        }
    }
}

/// What waits, and for what.
fn announcement(status: &ApprovalStatus, clock: &Clock) -> String {
    let until = time_format::until(status.expires, clock.now, &clock.zone);
    let others = status.needed.saturating_sub(status.count);
    let who = if others == 1 {
        "one more person".to_owned()
    } else {
        format!("{others} more people")
    };
    format!(
        "this sign-in waits for {who} to approve it, and is over {until}; {}",
        who_may_approve(status)
    )
}

#[cfg(unix)]
mod interrupted {
    use std::sync::mpsc;
    use std::thread;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    use crate::error::Error;
    use crate::sys::signals::{SignalHold, not_ignored};

    enum Event<T> {
        Answer(Box<Result<T, Error>>),
        Signal,
    }

    /// Runs `work`. A signal that would end this process runs `give_up` first, from when `begun` is called, of which the result is kept until the end.
    pub(super) fn run<T: Send + 'static, B>(
        begun: impl FnOnce() -> B,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
        give_up: impl FnOnce(),
    ) -> Result<T, Error> {
        // Until it is dropped, which ends the process where a signal came.
        let hold = SignalHold::new();
        let mut signals = Signals::new(not_ignored([SIGHUP, SIGINT, SIGTERM])).map_err(Error::Signals)?;
        let handle = signals.handle();
        let begun = begun();
        let (tell, events) = mpsc::channel();
        let interrupted = tell.clone();
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                let _ = interrupted.send(Event::Signal);
            }
        });
        thread::spawn(move || tell.send(Event::Answer(Box::new(work()))));
        let event = events.recv();
        handle.close();
        drop(begun);
        match event {
            Ok(Event::Answer(answer)) => *answer,
            Ok(Event::Signal) => {
                give_up();
                drop(hold);
                Err(Error::Interrupted)
            }
            Err(mpsc::RecvError) => Err(Error::WorkerPanicked),
        }
    }
}

/// Elsewhere the request is left to its time.
#[cfg(not(unix))]
mod interrupted {
    use crate::error::Error;

    pub(super) fn run<T, B>(
        begun: impl FnOnce() -> B,
        work: impl FnOnce() -> Result<T, Error>,
        _give_up: impl FnOnce(),
    ) -> Result<T, Error> {
        let _begun = begun();
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use tka_api::http::ApprovalState;

    #[test]
    fn announcement_says_for_whom_and_until_when() {
        let status = |count, needed| ApprovalStatus {
            count,
            needed,
            expires: "2026-01-02T15:19:00Z".parse().unwrap(),
            session: "tka-bob-one".into(),
            request: "r1".into(),
            state: ApprovalState::Waiting,
            approvers: None,
        };
        let clock = Clock {
            now: "2026-01-02T15:04:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        };
        let said = announcement(&status(0, 1), &clock);
        assert!(said.contains("one more person") && said.contains("in 15 min"), "{said}");
        assert!(
            said.contains("`tka approvals`") && said.contains("tka-bob-one"),
            "{said}"
        );
        assert!(announcement(&status(1, 3), &clock).contains("2 more people"));
    }
}
