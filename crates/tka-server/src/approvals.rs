//! Sign-ins that others approve: deciding about one, and giving the access once enough have.
//!
//! What is approved is given by the request that completes the count, or else by the replica that holds the Lease. Either asks the tailnet at that moment:
//! the caller must still have the rule just as it was asked for, and every approver their oversight. A caller is found by the address of their device, as
//! running sessions are verified ([`crate::reauthorize`]).

mod directory;
pub(crate) mod emergency;
mod records;
mod verify;
mod wait;
mod worker;

use std::sync::Arc;

use axum::http::StatusCode;
use tka_core::{Caller, CannotApprove, Oversight, Reason, Request, RuleSelector, Session, may_decide};
use tka_operator::{
    ApprovalDecision, ApprovalRequest, AttemptRole, Error, RequestClosed, RequestState, SignIn, UnacknowledgedSignIns,
    Vote, WaitingSignIn,
};
use tokio::time::Instant;

use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::authorize::{FRESH, no_contact};
use crate::identified::Identified;
use crate::overseer::oversight;

pub use self::directory::{ApproverDirectory, Approvers};
use self::records::ApprovalAudit;
use self::verify::{Peers, Verified};
pub use self::wait::{WaitOutcome, decided};
pub use self::worker::RecentRequests;
pub(crate) use self::worker::Worker;

/// How often a decision is made anew after another came between.
const MAX_DECISIONS: usize = 4;

/// What a caller decides.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whether to let the other in.
    pub decision: ApprovalDecision,
    /// What they say.
    pub comment: Option<Reason>,
    /// The request that they mean; whichever waits, where they do not say.
    pub request: Option<String>,
}

/// What giving the access came to.
#[derive(Debug)]
enum GrantOutcome {
    /// It is given.
    Given,
    /// Some of those who approved count no more, and it waits for others.
    Waits(Box<WaitingSignIn>),
}

/// Who decides, and by what.
pub struct Approver {
    identified: Arc<Identified>,
    oversight: Oversight,
}

// === impl Approver ===

impl Approver {
    /// The caller, by what the tailnet says at this request.
    #[must_use]
    pub fn new(identified: &Arc<Identified>) -> Self {
        Self {
            oversight: oversight(identified),
            identified: Arc::clone(identified),
        }
    }

    /// Whether they may decide about any sign-in at all.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.oversight.approve.is_empty()
    }

    /// Whether they may decide about `waiting`.
    pub fn may_decide(&self, waiting: &WaitingSignIn) -> Result<(), CannotApprove> {
        let caller = &self.identified.caller;
        may_decide(
            caller,
            &self.oversight,
            &waiting.caller,
            &waiting.rule,
            waiting.request.machines,
        )
    }

    /// Whether `waiting` is their own.
    #[must_use]
    pub fn owns(&self, waiting: &WaitingSignIn) -> bool {
        self.is_of(&waiting.caller)
    }

    /// Whether they are the user that `caller` is, on whatever device.
    #[must_use]
    pub fn is_of(&self, caller: &Caller) -> bool {
        self.identified.caller.user_key() == caller.user_key()
    }

    /// Whether they are `caller`: the same user on the same device.
    #[must_use]
    pub fn is_on(&self, caller: &Caller) -> bool {
        self.identified.caller.key() == caller.key()
    }

    /// Whether they may acknowledge `emergency`. Machines see nothing.
    pub fn may_acknowledge(&self, emergency: &UnacknowledgedSignIns) -> Result<(), CannotApprove> {
        let caller = &self.identified.caller;
        may_decide(caller, &self.oversight, &emergency.caller, &emergency.rule, false)
    }

    /// Decides about the sign-in that waits for the session of that `name`, and gives its access where that completes the count. Returns how it stands then.
    pub async fn decide(
        &self,
        app: &App,
        context: &AuditContext,
        name: &str,
        decision: &Decision,
    ) -> Result<WaitingSignIn, Failure> {
        // Without any such oversight the answer is the same whatever waits.
        if !self.is_any() {
            return Err(no_oversight());
        }
        app.contact.check().map_err(|error| no_contact(&error))?;
        let mut meant = decision.request.clone();
        let mut recorded = None;
        for _ in 0..MAX_DECISIONS {
            let waiting = app.sessions.waiting_named(name).await?;
            let waiting = waiting.ok_or_else(|| self.gone(app, name))?;
            self.may_decide(&waiting).map_err(may_not)?;
            // What is read first is what is decided about, and nothing that takes its place meanwhile.
            let meant = meant.get_or_insert_with(|| waiting.request.id.clone());
            if *meant != waiting.request.id {
                return Err(another_request());
            }
            let decided = self.decided(app, &waiting, decision)?;
            if decided == waiting.request {
                return Ok(waiting);
            }
            if recorded != Some(decided.count()) {
                let comment = decision.comment.as_ref();
                app.audit
                    .decided(context, &waiting, &decided, decision.decision, comment)
                    .await?;
                recorded = Some(decided.count());
            }
            let Some(written) = app.sessions.write_request(&waiting, &decided).await? else {
                continue;
            };
            app.metrics.approval_decided(decision.decision);
            if written.request.state((app.clock)()) != RequestState::Approved {
                return Ok(written);
            }
            return match carry_out(app, written.clone()).await? {
                GrantOutcome::Given => Ok(app.sessions.waiting_named(name).await?.unwrap_or(written)),
                GrantOutcome::Waits(waiting) => Ok(*waiting),
            };
        }
        Err(contended())
    }

    /// The answer where nothing waits for the session of that `name`. That something did is for those who could decide about it.
    fn gone(&self, app: &App, name: &str) -> Failure {
        let was = app.recent_requests.get(name, (app.clock)());
        match was.filter(|was| self.may_decide(was).is_ok()) {
            Some(_) => not_open(RequestClosed::Over),
            None => no_such_request(),
        }
    }

    /// What `waiting` says with the decision.
    fn decided(&self, app: &App, waiting: &WaitingSignIn, decision: &Decision) -> Result<ApprovalRequest, Failure> {
        let request = &waiting.request;
        let now = (app.clock)();
        let vote = Vote::new(&self.identified.caller, decision.comment.clone(), now);
        request.decided(decision.decision, vote, now).map_err(not_open)
    }
}

/// Gives the access that `waiting` was approved for, if the tailnet still gives it at this moment, and everyone counts who approved.
async fn carry_out(app: &App, mut waiting: WaitingSignIn) -> Result<GrantOutcome, Failure> {
    for _ in 0..MAX_DECISIONS {
        match check(app, waiting).await? {
            Checked::Stands(sign_in, checked) => {
                if sign_in_checked(app, &checked, *sign_in).await? {
                    return Ok(GrantOutcome::Given);
                }
                waiting = again(app, &checked).await?;
                if waiting.request.state((app.clock)()) == RequestState::Granted {
                    return Ok(GrantOutcome::Given);
                }
            }
            Checked::Waits(waits) => return Ok(GrantOutcome::Waits(waits)),
            Checked::Other(other) => waiting = *other,
        }
    }
    Err(contended())
}

/// How an approved sign-in stands by what the tailnet says now.
enum Checked {
    /// It gives this, and rests on what was checked.
    Stands(Box<SignIn>, Box<WaitingSignIn>),
    /// Some of those who approved count no more.
    Waits(Box<WaitingSignIn>),
    /// It was changed meanwhile.
    Other(Box<WaitingSignIn>),
}

async fn check(app: &App, mut waiting: WaitingSignIn) -> Result<Checked, Failure> {
    app.contact.check().map_err(|error| no_contact(&error))?;
    let peers = Peers::ask(app).await?;
    let counted = peers.counted(app, &waiting).await?;
    if counted != waiting.request {
        let Some(written) = app.sessions.write_request(&waiting, &counted).await? else {
            return Ok(Checked::Other(Box::new(again(app, &waiting).await?)));
        };
        waiting = written;
    }
    if waiting.request.state((app.clock)()) != RequestState::Approved {
        return Ok(Checked::Waits(Box::new(waiting)));
    }
    match peers.verified(app, &waiting).await? {
        Verified::Holds(rule, caller) => {
            let sign_in = session(app, &waiting, &rule, *caller)?;
            Ok(Checked::Stands(Box::new(sign_in), Box::new(waiting)))
        }
        Verified::Changed(why) => {
            end(app, &waiting, why).await?;
            Err(changed(why))
        }
    }
}

/// The session that `waiting` was approved for, whose time counts from the approval.
fn session(
    app: &App,
    waiting: &WaitingSignIn,
    rule: &tka_core::Rule,
    caller: tka_core::Caller,
) -> Result<SignIn, Failure> {
    let request = &waiting.request;
    let asked = Request {
        choice: RuleSelector::default(),
        period: Some(request.period),
        // Of a reason that a version before this one would not have let in there is none.
        reason: request.reason.clone().and_then(|reason| Reason::try_from(reason).ok()),
        label: waiting.label.clone(),
        on_use: false,
    };
    let since = request.approved_at().unwrap_or_else(|| (app.clock)());
    Ok(SignIn {
        session: Session::new(caller, rule, &asked, app.limits, since)?,
        max_sessions: rule.max_sessions,
        credential: false,
        approved: Some(Box::new(request.clone())),
        break_glass: false,
    })
}

/// Signs in by what was `checked`. False if that does not stand any more, or if it was checked too long ago by the time that it could begin.
async fn sign_in_checked(app: &App, checked: &WaitingSignIn, sign_in: SignIn) -> Result<bool, Failure> {
    let (asked_at, role) = (Instant::now(), sign_in.session.rule.role.to_string());
    let outcome = match app.sessions.join(&sign_in) {
        AttemptRole::Leader(attempt) => {
            let locked = app.sessions.lock_attempt(*attempt).await;
            let (attempt, lock) = locked.map_err(|error| Failure::from(&*error))?;
            if asked_at.elapsed() > FRESH {
                return Ok(false);
            }
            let records = ApprovalAudit::new(&app.audit, checked);
            app.sessions.sign_in(attempt, &lock, &records).await
        }
        AttemptRole::Follower(waiter) => match waiter.outcome().await {
            Some(outcome) => outcome,
            None => return Ok(false),
        },
    };
    match outcome {
        Err(error) if matches!(*error, Error::EndedMeanwhile(_) | Error::Contended(_)) => Ok(false),
        outcome => {
            let failed = outcome.err().map(|error| Failure::from(&*error));
            app.metrics
                .signed_in(Some(&role), failed.as_ref().map(|failure| failure.status));
            failed.map_or(Ok(true), Err)
        }
    }
}

/// What waits by now for the same session, if it is the same request.
async fn again(app: &App, waiting: &WaitingSignIn) -> Result<WaitingSignIn, Failure> {
    let there = app.sessions.waiting_named(waiting.name.as_str()).await?;
    let same = there.filter(|there| there.request.id == waiting.request.id);
    same.ok_or_else(|| not_open(RequestClosed::Over))
}

/// Has `waiting` wait no more, because of `why`.
pub(crate) async fn end(app: &App, waiting: &WaitingSignIn, why: &str) -> Result<(), Failure> {
    app.audit.approval_ended(None, waiting, why).await;
    if app.sessions.cancel_request(waiting).await? {
        app.recent_requests.remember(waiting, (app.clock)());
    }
    Ok(())
}

/// Ends the wait of the caller's own sign-in for the session of that `name`, because they want it no more.
pub async fn withdraw(
    app: &App,
    context: &AuditContext,
    approver: &Approver,
    name: &str,
) -> Result<WaitingSignIn, Failure> {
    for _ in 0..MAX_DECISIONS {
        let waiting = app
            .sessions
            .waiting_named(name)
            .await?
            .filter(|waiting| approver.owns(waiting));
        let waiting = waiting.ok_or_else(no_such_request)?;
        match waiting.request.state((app.clock)()) {
            // That one has said no is for others to see until its time is over.
            RequestState::Granted | RequestState::Approved | RequestState::Denied => {
                return Err(not_open(RequestClosed::Decided));
            }
            RequestState::Waiting | RequestState::Expired => {}
        }
        if app.sessions.cancel_request(&waiting).await? {
            app.audit
                .approval_ended(Some(context), &waiting, "its caller withdrew it")
                .await;
            app.recent_requests.remember(&waiting, (app.clock)());
            return Ok(waiting);
        }
    }
    Err(contended())
}

/// The answer to a caller who was denied a sign-in.
pub(crate) fn denied(denied: &WaitingSignIn) -> Failure {
    let (by, comment) = match &denied.request.denial {
        Some(vote) => (vote.username.as_str(), vote.comment.as_deref()),
        None => ("another", None),
    };
    let comment = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
    let message = format!("{by} denied this sign-in{comment}");
    Failure::new(
        StatusCode::FORBIDDEN,
        message,
        &["talk to them, or ask for it once more with another reason"],
    )
}

/// The answer to a caller whose sign-in none has answered in time, or who has withdrawn it elsewhere.
pub(crate) fn unanswered() -> Failure {
    let advice = &["tell one of those who may approve it, and sign in again"];
    Failure::new(
        StatusCode::FORBIDDEN,
        "this sign-in was not approved in time, or it was withdrawn",
        advice,
    )
}

pub(crate) fn no_such_request() -> Failure {
    let advice = &["see `tka approvals` for those that wait"];
    Failure::new(StatusCode::NOT_FOUND, "no such sign-in waits for your approval", advice)
}

fn no_oversight() -> Failure {
    let advice = &["ask an administrator of the tailnet for oversight with `approve`, if you are to decide"];
    Failure::new(
        StatusCode::FORBIDDEN,
        "you may not decide about sign-ins of others",
        advice,
    )
}

fn may_not(why: CannotApprove) -> Failure {
    match why {
        CannotApprove::Own => Failure::new(
            StatusCode::FORBIDDEN,
            "this sign-in is your own, and others decide about it",
            &["ask one of those who may approve it"],
        ),
        CannotApprove::Machine => Failure::new(
            StatusCode::FORBIDDEN,
            "the rule of this sign-in does not count machines",
            &["have a person decide, or set `approval.machines` in the rule"],
        ),
        CannotApprove::NoOversight => no_such_request(),
    }
}

fn not_open(why: RequestClosed) -> Failure {
    match why {
        RequestClosed::Decided => Failure::new(
            StatusCode::CONFLICT,
            "this sign-in was decided already",
            &["see `tka sessions`, or ask the caller to sign in again"],
        ),
        RequestClosed::Over => Failure::new(
            StatusCode::GONE,
            "this sign-in does not wait any more",
            &["ask the caller to sign in again"],
        ),
    }
}

fn another_request() -> Failure {
    let advice = &["look at what waits now with `tka approvals`, and decide about that"];
    Failure::new(
        StatusCode::CONFLICT,
        "another request waits for this session by now",
        advice,
    )
}

fn changed(why: &str) -> Failure {
    let advice = &["ask the caller to sign in again"];
    Failure::new(
        StatusCode::CONFLICT,
        format!("this sign-in begins nothing: {why}"),
        advice,
    )
}

fn contended() -> Failure {
    Failure::transient("others decided about this sign-in at the same moment", &["try again"])
}
