//! `/logout`: ends the calling device's session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::future::join_all;
use serde::Deserialize;
use tka_api::http::{ErrorResponse, LoginResponse};
use tka_core::session::{elevation_names, elevations_needing_approval};
use tka_core::{ApplicableRules, Caller, Session, SessionLabel, SessionName};
use tka_operator::{RequestState, SignOut, WaitingSignIn};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::IntoParams;

use super::view;
use crate::App;
use crate::answer::{Failure, pending};
use crate::approvals::{self, Approver};
use crate::audit::RequestAudit;
use crate::audit_context::AuditContext;
use crate::authorize::{applicable_rules, names};
use crate::identified::Identified;

/// How long before an answer would be late it is given, where many sessions end.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);
/// For how long a sign-out of everything is tried again.
const DETACHED_TIMEOUT: Duration = Duration::from_mins(5);
/// How long what is left of sessions without access is waited for. The answer needs it for nothing; who looks into the cluster then finds it empty.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(1);

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogoutQuery {
    /// Also those of the caller's other devices.
    #[serde(default)]
    all: bool,
}

/// Sign out
///
/// Ends the calling device's session and elevations, with `all=true` all of the caller's sessions. When this answers 200, their credentials have no access any
/// more. An elevation that waits for approval waits no more. Where very many end, 202 says that this goes on: ask again.
#[utoipa::path(
    post,
    path = "/logout",
    tag = "session",
    params(LogoutQuery),
    responses(
        (status = 200, description = "Signed out: what has ended", body = LoginResponse),
        (status = 202, description = "With `all=true`: so many end that it takes longer than an answer may. It goes on; ask again", body = LoginResponse,
            headers(("Retry-After" = u32, description = "When to ask again, in seconds"))),
        (status = 400, description = "Tagged node, malformed or ambiguous rules, or not such a question", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 404, description = "Not signed in", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn sign_out(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    Extension(identified): Extension<Arc<Identified>>,
    which: Result<Query<LogoutQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let Query(which) = which.map_err(|error| {
        let advice = &["correct the request"];
        Failure::new(StatusCode::BAD_REQUEST, "`all` is true or false", advice).with_cause(&error)
    })?;
    let began = Instant::now();
    // Before the sessions are looked for: none of them may begin behind that. What fails of it keeps none of them.
    let withdrawn = withdraw_elevations(&app, &context, &identified, which.all).await;
    let ended = if which.all {
        end_of_user(&app, &context, &identified, began).await
    } else {
        end_of_device(&app, &context, &identified).await
    };
    withdrawn?;
    ended
}

/// A caller that the policy gives nothing any more may still sign out. Only one without a session hears why not.
fn not_signed_in(app: &App, identified: &Identified) -> Failure {
    let chosen =
        applicable_rules(app, identified).and_then(|rules| rules.choose(&tka_core::RuleSelector::default()).map(drop));
    match chosen {
        Err(refusal) => refusal.into(),
        Ok(()) => Failure::not_signed_in(StatusCode::NOT_FOUND),
    }
}

/// Ends all sessions of the user, for a request that `began` then.
async fn end_of_user(
    app: &Arc<App>,
    context: &Arc<AuditContext>,
    identified: &Identified,
    began: Instant,
) -> Result<Response, Failure> {
    let all = app.sessions.list_for_sign_out(&identified.caller).await?;
    let last = all.last().ok_or_else(|| not_signed_in(app, identified))?;
    end_all(app, context, all, &last, began).await
}

/// Ends the sessions of this device that are not kept apart, and its elevations, even if their rule no longer reaches the caller.
async fn end_of_device(
    app: &Arc<App>,
    context: &Arc<AuditContext>,
    identified: &Identified,
) -> Result<Response, Failure> {
    let rules = applicable_rules(app, identified);
    let by_rule = rules.map_or_else(|_| Vec::new(), |rules| names_by_rule(&identified.caller, &rules));
    let (on, context, caller) = (Arc::clone(app), Arc::clone(context), identified.caller.clone());
    let ended = app.tasks.run_to_completion(async move {
        let records = RequestAudit::new(&on.audit, &context);
        on.sessions.sign_out(&caller, by_rule, &records).await
    });
    let last = ended.await?.ok_or_else(|| not_signed_in(app, identified))?;
    Ok(Json(view::login(&last)).into_response())
}

/// What a sign-out of this device ends by `rules`: its sessions, and its elevations.
fn names_by_rule(caller: &Caller, rules: &ApplicableRules) -> Vec<SessionName> {
    names(caller, rules).chain(elevation_names(caller, rules)).collect()
}

/// Ends `all`, of which `last` was signed in to last, for a request that `began` then, and answers when their access is gone. If that takes too long it goes on.
async fn end_all(
    app: &Arc<App>,
    context: &Arc<AuditContext>,
    all: SignOut,
    last: &Session,
    began: Instant,
) -> Result<Response, Failure> {
    let answer = Json(view::login(last));
    let late = began
        + app
            .write_timeout
            .saturating_sub(ANSWER_MARGIN.min(app.write_timeout / 2));
    let (finish, finished) = oneshot::channel::<()>();
    let (on, context) = (Arc::clone(app), Arc::clone(context));
    let withdrawn = app.tasks.run_to_completion(async move {
        let mut all = all;
        let (withdrawals, withdrawn) = on.sessions.remove_access_of_all(&mut all, late).await;
        on.tasks.clone().spawn(async move {
            let records = RequestAudit::new(&on.audit, &context);
            on.sessions.release_all(withdrawals, &records).await;
            drop(finish);
            // The caller heard that it failed, or that it goes on.
            if !all.is_done() {
                on.sessions
                    .resume_sign_out(all, began + DETACHED_TIMEOUT, &records)
                    .await;
            }
        });
        withdrawn
    });
    match timeout_at(late, withdrawn).await {
        Ok(withdrawn) => withdrawn?,
        Err(_) => return Ok(pending(app.retry_after_seconds, answer)),
    }
    // Whether that ends or is given up makes no difference.
    let _ = timeout(CLEANUP_TIMEOUT, finished).await;
    Ok(answer.into_response())
}

/// Ends `session` for its owner, and records it.
pub(super) async fn end(app: &Arc<App>, context: &Arc<AuditContext>, session: Session) -> Result<(), Failure> {
    let (tasks, app, context) = (app.tasks.clone(), Arc::clone(app), Arc::clone(context));
    tasks
        .run_to_completion(async move {
            let records = RequestAudit::new(&app.audit, &context);
            Ok(app.sessions.end(&session.name(), &records).await?)
        })
        .await
}

/// Has the caller's elevations wait for approval no more: those of this device, or of `all`. It does so to the end, even if the caller hangs up.
async fn withdraw_elevations(
    app: &Arc<App>,
    context: &Arc<AuditContext>,
    identified: &Arc<Identified>,
    all: bool,
) -> Result<(), Failure> {
    let (on, context, identified) = (Arc::clone(app), Arc::clone(context), Arc::clone(identified));
    let withdrawn = async move { withdraw_each_elevation(&on, &context, &identified, all).await };
    app.tasks.run_to_completion(withdrawn).await
}

/// None is left because another fails. One that is being begun at this moment cannot be signed out of yet.
async fn withdraw_each_elevation(
    app: &Arc<App>,
    context: &Arc<AuditContext>,
    identified: &Arc<Identified>,
    all: bool,
) -> Result<(), Failure> {
    let (approver, caller) = (Approver::new(identified), &identified.caller);
    let is_meant = |waiting: &WaitingSignIn| {
        let is_own = waiting.caller.key() == caller.key() || all && approver.owns(waiting);
        is_own && waiting.label.as_ref().is_some_and(SessionLabel::is_elevation)
    };
    let watched = app.sessions.waiting().map(|waiting| waiting.all()).unwrap_or_default();
    let watched = watched.into_iter().map(|waiting| (waiting.name.clone(), waiting));
    let mut by_name: HashMap<_, _> = watched.collect();
    let mut result = Ok(());
    for (name, read) in read_waiting_elevations(app, identified).await {
        match read {
            Ok(Some(waiting)) => drop(by_name.insert(name, waiting)),
            Ok(None) => drop(by_name.remove(&name)),
            // Then what the watch knows is withdrawn.
            Err(error) => result = Err(error.into()),
        }
    }
    for waiting in by_name.into_values().filter(is_meant) {
        let withdrawn = withdraw_elevation(app, context, &approver, &waiting).await;
        result = result.and(withdrawn);
    }
    result
}

/// The elevations of this device that others approve, as they are at this moment. The watch may not have brought what was asked for a moment ago.
async fn read_waiting_elevations(
    app: &App,
    identified: &Identified,
) -> Vec<(SessionName, Result<Option<WaitingSignIn>, tka_operator::Error>)> {
    let Ok(rules) = applicable_rules(app, identified) else {
        return Vec::new();
    };
    let read = elevations_needing_approval(&identified.caller, &rules).map(|name| async move {
        let waiting = app.sessions.waiting_named(name.as_str()).await;
        (name, waiting)
    });
    join_all(read).await
}

async fn withdraw_elevation(
    app: &Arc<App>,
    context: &Arc<AuditContext>,
    approver: &Approver,
    waiting: &WaitingSignIn,
) -> Result<(), Failure> {
    if !waiting.request.state((app.clock)()).is_open() {
        return Ok(());
    }
    match approvals::withdraw(app, context, approver, waiting.name.as_str()).await {
        Ok(_) => Ok(()),
        // It was decided or withdrawn meanwhile.
        Err(failure) if failure.status == StatusCode::NOT_FOUND => Ok(()),
        Err(failure) if failure.status == StatusCode::CONFLICT => {
            let there = app.sessions.waiting_named(waiting.name.as_str()).await?;
            let state = there.map(|there| there.request.state((app.clock)()));
            if state != Some(RequestState::Approved) {
                return Ok(());
            }
            let advice = &["sign out again in a moment"];
            Err(Failure::transient("your elevation begins at this moment", advice))
        }
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(query: &str) -> Option<bool> {
        let uri = format!("/logout?{query}").parse().ok()?;
        Query::<LogoutQuery>::try_from_uri(&uri)
            .ok()
            .map(|Query(which)| which.all)
    }

    #[test]
    fn all_is_true_or_false() {
        let read = ["", "all=false", "all=true"].map(all);
        assert_eq!(read, [Some(false), Some(false), Some(true)]);
        for odd in ["all", "all=", "all=1", "all=TRUE", "all=true&all=true"] {
            assert_eq!(all(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_true_means_all(query in "(all=)?[!-~]*") {
            if all(&query) == Some(true) {
                let says_so = query.split(['&', '#']).any(|pair| pair == "all=true");
                prop_assert!(says_so || query.contains('%'));
            }
        }
    }
}
