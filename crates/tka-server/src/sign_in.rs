//! Signing in for one request. It is authorised, decided and recorded by itself, and shares the work with identical requests of the same moment
//! ([`SignIn`]).

use std::sync::Arc;

use axum::http::StatusCode;
use futures::FutureExt;
use tka_api::http::RequestedAccess;
use tka_core::{Approval, Refusal, Request, Session, approver};
use tka_operator::{
    ApprovalRequest, Attempt, AttemptRole, Error, Follower, NewRequest, NotRecorded, Records, RequestOutcome, SignIn,
    SignedIn,
};
use uuid::Uuid;

use crate::App;
use crate::answer::Failure;
use crate::audit::RequestAudit;
use crate::audit_context::AuditContext;
use crate::authorize::{Authorization, changed_meanwhile};

/// What the answer to a sign-in shall hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerOptions {
    /// Whether a credential comes with the answer, where the rule lets one be had.
    pub credential: bool,
    /// How the session reaches the cluster; None leaves it to the rule and the server.
    pub via: Option<RequestedAccess>,
}

/// A request to sign in.
pub struct SignInRequest<'a> {
    app: &'a App,
    context: &'a Arc<AuditContext>,
    authorization: Authorization,
    request: Request,
    options: AnswerOptions,
    decided: AuthorizedSignIn,
}

/// What the rules give.
struct AuthorizedSignIn {
    sign_in: SignIn,
    /// What others are asked first, where the rule wants that.
    ask: Option<ApprovalNeeded>,
}

/// What others are asked.
struct ApprovalNeeded {
    digest: String,
    approval: Approval,
}

/// Why an attempt gave nothing.
enum Stopped {
    /// Trying again may succeed.
    Retryable(Arc<Error>),
    Failed(Failure),
}

// === impl Stopped ===

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

// === impl SignInRequest ===

impl<'a> SignInRequest<'a> {
    /// Chooses the rule and makes the session for `who`. Stores the role in `role`, for metrics.
    pub fn new(
        app: &'a App,
        context: &'a Arc<AuditContext>,
        authorization: Authorization,
        request: Request,
        options: AnswerOptions,
        role: &mut Option<String>,
    ) -> Result<Self, Failure> {
        let chosen = authorization.rules.choose(&request.choice)?;
        *role = Some(chosen.role.to_string());
        let decided = decide(app, &authorization, &request, options)?;
        context.set_session(&decided.sign_in.session);
        Ok(Self {
            app,
            context,
            authorization,
            request,
            options,
            decided,
        })
    }

    /// Whether others are to approve it.
    #[must_use]
    pub fn needs_approval(&self) -> bool {
        self.decided.ask.is_some()
    }

    /// The session that it would give at this moment.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.decided.sign_in.session
    }

    /// Has it wait for others, or joins what waits for just the same. Returns the authorization that this rests on.
    ///
    /// Where the caller waits for the request `joins` already, it says what has come of that.
    pub async fn ask(mut self, joins: Option<&str>) -> Result<(Authorization, RequestOutcome), Failure> {
        self.reauthorize_if_stale().await?;
        let question = self.decided.ask.as_ref().ok_or_else(changed_meanwhile)?;
        let (app, context, session) = (self.app, self.context, &self.decided.sign_in.session);
        let record = |request: &ApprovalRequest| {
            let request = request.clone();
            let recorded = async move { app.audit.approval_requested(context, session, &request).await };
            recorded.map(|result| result.map_err(NotRecorded::from)).boxed()
        };
        let admit = || app.approval_rates.count(&session.caller);
        let ask = NewRequest {
            session,
            admit: &admit,
            digest: &question.digest,
            approval: &question.approval,
            record: &record,
            is_told: joins.is_none() && app.rates.allow_event(&session.caller),
            joins,
        };
        let id = Uuid::new_v4().to_string();
        let asked = app.sessions.request_approval(&ask, &id).await?;
        if matches!(asked, RequestOutcome::Waits { is_new: true, .. }) {
            app.metrics.approval_requested();
        }
        Ok((self.authorization, asked))
    }

    /// Signs in, or shares what an identical request does at this moment. Returns the session, and the authorization that it rests on.
    ///
    /// Tries again once, after a new WhoIs, if a shared attempt failed, or if another request ended the session before the sign-in was complete. That may
    /// have been because of the tailnet policy.
    pub async fn run(mut self) -> Result<(Authorization, Arc<SignedIn>), Failure> {
        let mut has_failed = false;
        loop {
            self.reauthorize_if_stale().await?;
            // The rule may want that by now.
            if self.needs_approval() {
                return Err(changed_meanwhile());
            }
            let outcome = match self.app.sessions.join(&self.decided.sign_in) {
                AttemptRole::Leader(attempt) => self.lead(*attempt).await,
                AttemptRole::Follower(waiter) => self.wait(waiter).await,
            };
            match outcome {
                Ok(Some(signed_in)) => {
                    if !self.request.on_use || !signed_in.extended {
                        log(&signed_in);
                    }
                    return Ok((self.authorization, signed_in));
                }
                Ok(None) => {}
                Err(Stopped::Retryable(_)) if !has_failed => {
                    has_failed = true;
                    self.reauthorize().await?;
                }
                Err(Stopped::Retryable(error)) => return Err(Failure::from(&*error)),
                Err(Stopped::Failed(failure)) => return Err(failure),
            }
        }
    }

    /// Does the work. None if a new authorization gives another session by the time that it can begin.
    async fn lead(&mut self, attempt: Attempt) -> Result<Option<Arc<SignedIn>>, Stopped> {
        let locked = self.app.sessions.lock_attempt(attempt).await;
        let (mut attempt, lock) = locked.map_err(|error| Failure::from(&*error))?;
        if self.reauthorize_if_stale().await?
            && (self.needs_approval() || !attempt.replace_sign_in(&self.decided.sign_in))
        {
            return Ok(None);
        }
        if self.decided.sign_in.break_glass {
            self.alarm().await?;
        }
        let records = RequestAudit::new(&self.app.audit, self.context);
        let signed_in = self.app.sessions.sign_in(attempt, &lock, &records).await;
        // What was there already was signed in to before.
        let is_new = signed_in.as_ref().map_or(true, |signed_in| !signed_in.extended);
        if self.request.on_use && is_new {
            let status = signed_in.as_ref().err().map(|error| Failure::from(&**error).status);
            let role = self.decided.sign_in.session.rule.role.as_str();
            self.app.metrics.signed_in(Some(role), status);
        }
        if let (Ok(signed_in), true) = (&signed_in, self.decided.sign_in.break_glass) {
            self.app
                .sessions
                .emit_break_glass_event(&signed_in.stored.session)
                .await;
        }
        match signed_in {
            Ok(signed_in) => Ok(Some(signed_in)),
            Err(error) if matches!(*error, Error::EndedMeanwhile(_)) => Err(Stopped::Retryable(error)),
            Err(error) => Err(Failure::from(&*error).into()),
        }
    }

    /// Records and tells it, and writes down what is to be acknowledged. Unless this returns well, nothing may be given.
    async fn alarm(&self) -> Result<(), Failure> {
        let (app, session, id) = (self.app, self.session(), Uuid::new_v4().to_string());
        app.audit.break_glass(self.context, session, &id).await?;
        app.sessions.note_break_glass(session, &id).await?;
        app.metrics.break_glass.inc();
        tracing::warn!(
            session = %session.name(),
            username = session.caller.username(),
            role = %session.rule.role,
            reason = session.reason.as_ref().map(tka_core::Reason::as_str),
            "break-glass sign-in"
        );
        Ok(())
    }

    /// Waits for what another request does.
    async fn wait(&mut self, waiter: Follower) -> Result<Option<Arc<SignedIn>>, Stopped> {
        match waiter.outcome().await {
            Some(Ok(signed_in)) => Ok(self.share(signed_in).await?),
            Some(Err(error)) => Err(Stopped::Retryable(error)),
            None => Ok(None),
        }
    }

    /// Takes the outcome of another request, and records it for this caller too. None if a new authorization gives another session.
    async fn share(&mut self, signed_in: Arc<SignedIn>) -> Result<Option<Arc<SignedIn>>, Failure> {
        let before = self.decided.sign_in.clone();
        if self.reauthorize_if_stale().await? && (self.needs_approval() || !self.decided.sign_in.is_identical(&before))
        {
            return Ok(None);
        }
        // The request that leads the attempt has recorded it. What waits for it signs in nothing by itself.
        if self.request.on_use {
            return Ok(Some(signed_in));
        }
        let records = RequestAudit::new(&self.app.audit, self.context);
        // The leader's record says that it signed in. This caller's record says that it extended.
        let recorded = records.began(&signed_in.stored.session, true).await;
        recorded.map_err(|error| Failure::from(&Error::NotRecorded(error)))?;
        Ok(Some(signed_in))
    }

    /// Authorises and decides anew if the authorization is stale. Returns whether it was.
    async fn reauthorize_if_stale(&mut self) -> Result<bool, Failure> {
        if !self.authorization.is_stale() {
            return Ok(false);
        }
        self.reauthorize().await?;
        Ok(true)
    }

    /// Authorises and decides anew.
    async fn reauthorize(&mut self) -> Result<(), Failure> {
        self.authorization = self.authorization.refresh(self.app, self.context.peer()).await?;
        let name = self.session().name();
        self.decided = decide(self.app, &self.authorization, &self.request, self.options)?;
        if self.session().name() != name {
            return Err(changed_meanwhile());
        }
        Ok(())
    }
}

fn log(signed_in: &SignedIn) {
    let session = &signed_in.stored.session;
    tracing::info!(
        session = %session.name(),
        username = session.caller.username(),
        device = session.caller.device.name,
        role = %session.rule.role,
        until = %session.until(),
        provisioned = signed_in.stored.provisioned,
        "signed in or extended"
    );
}

/// The session that the rules give, and how many sessions its rule allows. A span of the trace holds the kind of a refusal, and nothing of the
/// caller.
fn decide(
    app: &App,
    authorization: &Authorization,
    request: &Request,
    options: AnswerOptions,
) -> Result<AuthorizedSignIn, Failure> {
    let span = tracing::info_span!("decision", tka.outcome = "granted").entered();
    let decided = apply_rules(app, authorization, request, options);
    if let Err(failure) = &decided {
        span.record("tka.outcome", failure.kind.unwrap_or("refused"));
    }
    decided
}

fn nothing_to_elevate() -> Failure {
    let advice = &[
        "sign in through the rule instead: `tka login --rule NAME`",
        "or ask an administrator to set the server's gateway.enabled",
    ];
    let message = "this server has no gateway, and an elevation acts through the gateway alone";
    Failure::new(StatusCode::FORBIDDEN, message, advice)
}

fn apply_rules(
    app: &App,
    authorization: &Authorization,
    request: &Request,
    options: AnswerOptions,
) -> Result<AuthorizedSignIn, Failure> {
    let rule = authorization.rules.choose(&request.choice)?;
    // A session that no way leads to gives nothing. Where the policy has the rule twice, both must allow a way.
    let key = rule.key();
    let has_gateway = app.has_gateway && authorization.rules.has_gateway(&key);
    if !has_gateway && !authorization.rules.has_tokens(&key) {
        let given = rule.role.clone();
        let refusal = if authorization.rules.has_gateway(&key) {
            Refusal::NoGateway { role: given }
        } else {
            Refusal::DirectOnly { role: given }
        };
        return Err(refusal.into());
    }
    if request.on_use && !authorization.rules.begins_on_use(&rule.key()) {
        return Err(changed_meanwhile());
    }
    // A way that the rule or the server does not have is refused before anything begins.
    let via = if request.is_elevation() {
        if !app.has_gateway {
            return Err(nothing_to_elevate());
        }
        Some(RequestedAccess::Gateway)
    } else {
        options.via
    };
    let has_token =
        !authorization.goes_through_gateway(app, via, &rule.key())? && authorization.rules.has_tokens(&rule.key());
    let break_glass = authorization.rules.break_glass(&key);
    if break_glass && request.reason.is_none() {
        let given = rule.role.clone();
        return Err(Refusal::ReasonRequired { role: given }.into());
    }
    let session = Session::new(authorization.caller.clone(), rule, request, app.limits, (app.clock)())?;
    let ask = authorization.rules.approval(&key).map(|approval| ApprovalNeeded {
        digest: approver::digest(&session, rule, &approval),
        approval,
    });
    let sign_in = SignIn {
        session,
        max_sessions: rule.max_sessions,
        credential: options.credential && has_token,
        approved: None,
        break_glass,
    };
    Ok(AuthorizedSignIn { sign_in, ask })
}
