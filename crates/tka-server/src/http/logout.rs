//! `/logout`: ends the calling device's session.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use futures::future::{try_join, try_join_all};
use serde::Deserialize;
use tka_api::http::{ErrorResponse, LoginResponse};
use tka_core::{Session, SessionName};
use tka_operator::{SessionFilter, StoredSession};
use utoipa::IntoParams;

use super::view;
use crate::App;
use crate::answer::Failure;
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
/// Ends the calling device's session, with `all=true` all of the caller's. When this answers, their credentials have no access any
/// more.
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
    let sessions = sessions(&app, &identified, which.all).await?;
    let Some(last) = sessions.values().max_by_key(|stored| stored.session.signed_in) else {
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

/// The sessions that are meant, those too of which an earlier attempt has left something: of those of this device the ones that are not kept apart, be it that their rule no longer reaches the
/// caller.
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
    let not_apart = known.into_iter().filter(|stored| stored.session.label.is_none());
    Ok(by_name(current.into_iter().chain(not_apart)))
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
