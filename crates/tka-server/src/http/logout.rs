//! `/logout`: ends the calling device's session.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use futures::future::{try_join, try_join_all};
use serde::Deserialize;
use tka_api::http::{ErrorResponse, LoginResponse};
use tka_core::{Session, SessionLabel, SessionName};
use tka_operator::{RequestState, SessionFilter, StoredSession, WaitingSignIn};
use utoipa::IntoParams;

use super::view;
use crate::App;
use crate::answer::Failure;
use crate::approvals::{self, Approver};
use crate::audit::ByRequest;
use crate::audit_context::AuditContext;
use crate::authorize::{applicable_rules, names};
use crate::identified::Identified;

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Also those of the caller's other devices.
    #[serde(default)]
    all: bool,
}

/// Sign out
///
/// Ends the calling device's session and elevations, with `all=true` all of the caller's sessions. When this answers, their credentials have no access any
/// more. An elevation that waits for approval waits no more.
#[utoipa::path(
    post,
    path = "/logout",
    tag = "session",
    params(Which),
    responses(
        (status = 200, description = "Signed out: what has ended", body = LoginResponse),
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
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<LoginResponse>, Failure> {
    let Query(which) = which.map_err(|error| {
        let advice = &["correct the request"];
        Failure::new(StatusCode::BAD_REQUEST, "`all` is true or false", advice).because(&error)
    })?;
    // Before the sessions are looked for: none of them may begin behind that.
    withdraw_elevations(&app, &context, &identified, which.all).await?;
    let sessions = sessions(&app, &identified, which.all).await?;
    let last = |stored: &&StoredSession| (!stored.session.is_elevation(), stored.session.signed_in);
    let Some(last) = sessions.values().max_by_key(last) else {
        // A caller that the policy gives nothing any more may still sign out. Only one without a session hears why not.
        applicable_rules(&app, &identified)?.choose(&tka_core::Choice::default())?;
        return Err(Failure::not_signed_in(StatusCode::NOT_FOUND));
    };
    let answer = Json(view::login(&last.session));
    let ends = sessions.into_values().map(|stored| end(&app, &context, stored.session));
    try_join_all(ends).await?;
    Ok(answer)
}

/// Ends `session` for its owner, and records it.
pub(super) async fn end(app: &Arc<App>, context: &Arc<AuditContext>, session: Session) -> Result<(), Failure> {
    let (work, app, context) = (app.work.clone(), Arc::clone(app), Arc::clone(context));
    work.to_the_end(async move {
        let records = ByRequest::new(&app.audit, &context);
        Ok(app.sessions.end(&session.name(), &records).await?)
    })
    .await
}

/// Has the caller's elevations wait for approval no more: those of this device, or of `all`. One that is being begun at this moment cannot be signed out of yet.
async fn withdraw_elevations(
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
    let waiting = app.sessions.waiting().map(|waiting| waiting.all()).unwrap_or_default();
    for waiting in waiting.into_iter().filter(is_meant) {
        match waiting.request.state((app.clock)()) {
            RequestState::Granted | RequestState::Denied | RequestState::Expired => continue,
            RequestState::Waiting | RequestState::Approved => {}
        }
        let withdrawn = approvals::withdraw(app, context, &approver, waiting.name.as_str()).await;
        match withdrawn {
            Ok(_) => {}
            // It was decided or withdrawn meanwhile.
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {}
            Err(failure) if failure.status == StatusCode::CONFLICT => {
                let there = app.sessions.waiting_named(waiting.name.as_str()).await?;
                let state = there.map(|there| there.request.state((app.clock)()));
                if state == Some(RequestState::Approved) {
                    let advice = &["sign out again in a moment"];
                    return Err(Failure::passing("your elevation begins at this moment", advice));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// The sessions that are meant, those too of which an earlier attempt has left something: of those of this device its elevations and the ones that are not kept apart, be it that their rule no
/// longer reaches the caller.
async fn sessions(
    app: &App,
    identified: &Identified,
    all: bool,
) -> Result<BTreeMap<SessionName, StoredSession>, Failure> {
    if all {
        let sessions = app
            .sessions
            .of_user(&identified.caller, SessionFilter::WithTerminating)
            .await?;
        return Ok(by_name(sessions));
    }
    let rules = applicable_rules(app, identified);
    let by_rule: Vec<_> = rules.map_or_else(|_| Vec::new(), |rules| names(&identified.caller, &rules).collect());
    let current = app.sessions.find(by_rule, SessionFilter::WithTerminating);
    let (current, known) = try_join(
        current,
        app.sessions
            .of_caller(&identified.caller, SessionFilter::WithTerminating),
    )
    .await?;
    let is_meant = |stored: &StoredSession| stored.session.label.is_none() || stored.session.is_elevation();
    Ok(by_name(current.into_iter().chain(known.into_iter().filter(is_meant))))
}

fn by_name(sessions: impl IntoIterator<Item = StoredSession>) -> BTreeMap<SessionName, StoredSession> {
    let named = sessions.into_iter().map(|stored| (stored.session.name(), stored));
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(query: &str) -> Option<bool> {
        let uri = format!("/logout?{query}").parse().ok()?;
        Query::<Which>::try_from_uri(&uri).ok().map(|Query(which)| which.all)
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
