//! Signing in for one request. It is authorised, decided and recorded by itself, and shares the work with identical requests of the same moment
//! ([`SignIn`]).

use std::sync::Arc;

use tka_api::http::Via;
use tka_core::{Refusal, Request, Session};
use tka_operator::{Attempt, Error, Part, Records, SignIn, SignedIn, Waiter};

use crate::App;
use crate::answer::Failure;
use crate::audit::ByRequest;
use crate::audit_context::AuditContext;
use crate::authorize::{Authorization, changed_meanwhile};

/// What the answer to a sign-in shall hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerOptions {
    /// Whether a credential comes with the answer, where the rule lets one be had.
    pub credential: bool,
    /// How the session reaches the cluster; None leaves it to the rule and the server.
    pub via: Option<Via>,
}

/// A request to sign in.
pub struct SignInRequest<'a> {
    app: &'a App,
    context: &'a Arc<AuditContext>,
    authorization: Authorization,
    request: Request,
    options: AnswerOptions,
    sign_in: SignIn,
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
        let sign_in = decide(app, &authorization, &request, options)?;
        context.about(&sign_in.session);
        Ok(Self {
            app,
            context,
            authorization,
            request,
            options,
            sign_in,
        })
    }

    /// Signs in, or shares what an identical request does at this moment. Returns the session, and the authorization that it rests on.
    ///
    /// Tries again once, after a new WhoIs, if a shared attempt failed, or if another request ended the session before the sign-in was complete. That may
    /// have been because of the tailnet policy.
    pub async fn run(mut self) -> Result<(Authorization, Arc<SignedIn>), Failure> {
        let mut has_failed = false;
        loop {
            self.reauthorize_if_stale().await?;
            let outcome = match self.app.sessions.join(&self.sign_in) {
                Part::Leader(attempt) => self.lead(*attempt).await,
                Part::Waiter(waiter) => self.wait(waiter).await,
            };
            match outcome {
                Ok(Some(signed_in)) => {
                    if !self.request.by_use || !signed_in.extended {
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
        let locked = self.app.sessions.lock_for(attempt).await;
        let (mut attempt, lock) = locked.map_err(|error| Failure::from(&*error))?;
        if self.reauthorize_if_stale().await? && !attempt.renew(&self.sign_in) {
            return Ok(None);
        }
        let records = ByRequest::new(&self.app.audit, self.context);
        let signed_in = self.app.sessions.sign_in(attempt, &lock, &records).await;
        // What was there already was signed in to before.
        let is_new = signed_in.as_ref().map_or(true, |signed_in| !signed_in.extended);
        if self.request.by_use && is_new {
            let status = signed_in.as_ref().err().map(|error| Failure::from(&**error).status);
            let role = self.sign_in.session.rule.role.as_str();
            self.app.metrics.signed_in(Some(role), status);
        }
        match signed_in {
            Ok(signed_in) => Ok(Some(signed_in)),
            Err(error) if matches!(*error, Error::EndedMeanwhile(_)) => Err(Stopped::Retryable(error)),
            Err(error) => Err(Failure::from(&*error).into()),
        }
    }

    /// Waits for what another request does.
    async fn wait(&mut self, waiter: Waiter) -> Result<Option<Arc<SignedIn>>, Stopped> {
        match waiter.outcome().await {
            Some(Ok(signed_in)) => Ok(self.share(signed_in).await?),
            Some(Err(error)) => Err(Stopped::Retryable(error)),
            None => Ok(None),
        }
    }

    /// Takes the outcome of another request, and records it for this caller too. None if a new authorization gives another session.
    async fn share(&mut self, signed_in: Arc<SignedIn>) -> Result<Option<Arc<SignedIn>>, Failure> {
        let before = self.sign_in.clone();
        if self.reauthorize_if_stale().await? && !self.sign_in.is_identical(&before) {
            return Ok(None);
        }
        // The request that leads the attempt has recorded it. What waits for it signs in nothing by itself.
        if self.request.by_use {
            return Ok(Some(signed_in));
        }
        let records = ByRequest::new(&self.app.audit, self.context);
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
        self.authorization = self.authorization.again(self.app, self.context.peer()).await?;
        let name = self.sign_in.session.name();
        self.sign_in = decide(self.app, &self.authorization, &self.request, self.options)?;
        if self.sign_in.session.name() != name {
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
) -> Result<SignIn, Failure> {
    let span = tracing::info_span!("decision", tka.outcome = "granted").entered();
    let decided = apply_rules(app, authorization, request, options);
    if let Err(failure) = &decided {
        span.record("tka.outcome", failure.kind.unwrap_or("refused"));
    }
    decided
}

fn apply_rules(
    app: &App,
    authorization: &Authorization,
    request: &Request,
    options: AnswerOptions,
) -> Result<SignIn, Failure> {
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
    if request.by_use && !authorization.rules.begins_on_use(&rule.key()) {
        return Err(changed_meanwhile());
    }
    // A way that the rule or the server does not have is refused before anything begins.
    let has_token = !authorization.goes_through_gateway(app, options.via, &rule.key())?
        && authorization.rules.has_tokens(&rule.key());
    let session = Session::new(authorization.caller.clone(), rule, request, app.limits, (app.clock)())?;
    Ok(SignIn {
        session,
        max_sessions: rule.max_sessions,
        credential: options.credential && has_token,
    })
}
