//! `/oversight/sessions`: the sessions of all callers.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tka_api::audit::LookedAt;
use tka_api::http::{ErrorResponse, SessionInfo, SessionPage};
use tka_core::{Reason, Session, SessionOversight};
use tka_operator::{SessionFilter, StoredSession};
use utoipa::IntoParams;

use super::is_device;
use crate::App;
use crate::answer::Failure;
use crate::http::{logout, view};
use crate::overseer::Overseer;

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SessionParameters {
    /// Those of this login name, or of the tagged device of this name.
    #[param(inline, nullable = false)]
    user: Option<String>,
    /// Those from this device: its name, the name's first label, or its stable ID.
    #[param(inline, nullable = false)]
    device: Option<String>,
    /// Those that give this ClusterRole.
    #[param(inline, nullable = false)]
    role: Option<String>,
    /// Those through the rule of this name.
    #[param(inline, nullable = false)]
    rule: Option<String>,
    /// Those behind the page whose `next` this is.
    #[param(inline, nullable = false, min_length = 1)]
    after: Option<String>,
}

/// Why a session is to end.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Because {
    /// One line, for the record.
    #[param(inline, nullable = false, min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// Sessions of all callers
///
/// The sessions at this server, in the order of their names, page by page. For callers whose oversight has `sessions`. Each request is recorded.
#[utoipa::path(
    get,
    path = "/oversight/sessions",
    operation_id = "list_all",
    tag = "oversight",
    params(SessionParameters),
    responses(
        (status = 200, description = "Some of the sessions", body = SessionPage),
        (status = 400, description = "Not such a question", body = ErrorResponse),
        (status = 404, description = "The caller has no such oversight", body = ErrorResponse),
        (status = 410, description = "The place where the page begins is forgotten: begin anew", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    overseer: Overseer<SessionOversight>,
    RawQuery(raw): RawQuery,
    wanted: Result<Query<SessionParameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(wanted) = wanted.map_err(|error| wrong_question().with_cause(&error))?;
    overseer.looks_at_list(&app, LookedAt::Sessions, raw.as_deref()).await?;
    let page = app
        .sessions
        .page(wanted.after.as_deref())
        .await?
        .ok_or_else(no_such_page)?;
    let meant = page.sessions.iter().filter(|stored| wanted.means(&stored.session));
    let items = meant.map(|stored| view::session(stored, overseer.caller())).collect();
    let page = SessionPage { items, next: page.next };
    Ok(([(CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

/// End a session of another
///
/// For callers whose oversight has `sessions: end`. That they ask is recorded first, and the end with who ended it. When this answers, its credentials have no access any
/// more. A session of the caller's own is signed out.
#[utoipa::path(
    delete,
    path = "/oversight/sessions/{name}",
    operation_id = "end_of_other",
    tag = "oversight",
    params(("name" = String, Path, description = "Name of the session"), Because),
    responses(
        (status = 200, description = "What has ended", body = SessionInfo),
        (status = 400, description = "The reason is not one line", body = ErrorResponse),
        (status = 403, description = "The caller may see sessions, and end none", body = ErrorResponse),
        (status = 404, description = "No such session, or the caller has no such oversight", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
    )
)]
pub(in crate::http) async fn end(
    State(app): State<Arc<App>>,
    overseer: Overseer<SessionOversight>,
    name: Result<Path<String>, PathRejection>,
    because: Result<Query<Because>, QueryRejection>,
) -> Result<Json<SessionInfo>, Failure> {
    if *overseer.of() < SessionOversight::End {
        return Err(only_read());
    }
    let Path(name) = name.map_err(|_| no_such_session())?;
    let Query(because) = because.map_err(|error| wrong_reason().with_cause(&error))?;
    let reason = because.reason.map(Reason::try_from).transpose();
    let reason = reason.map_err(|error| wrong_reason().with_cause(&error))?;
    let named = app.sessions.named(&name, SessionFilter::WithTerminating).await?;
    let stored = named.ok_or_else(no_such_session)?;
    let answer = view::session(&stored, overseer.caller());
    if stored.session.caller.user_key() == overseer.caller().user_key() {
        logout::end(&app, overseer.context(), stored.session).await?;
    } else {
        end_session_of_other(&app, overseer, stored, reason).await?;
    }
    Ok(Json(answer))
}

/// Ends the session for `overseer`, also where they hang up.
async fn end_session_of_other(
    app: &Arc<App>,
    overseer: Overseer<SessionOversight>,
    stored: StoredSession,
    reason: Option<Reason>,
) -> Result<(), Failure> {
    let (tasks, app) = (app.tasks.clone(), Arc::clone(app));
    tasks
        .run_to_completion(async move {
            let (session, context) = (stored.session, overseer.context());
            context.set_session(&session);
            let said = reason.as_ref().map(|reason| reason.as_str().to_owned());
            app.audit.end_requested(context, &session, said).await;
            let why = why(overseer.caller().username(), reason.as_ref());
            let is_ended = app.sessions.end_session_of_other(&session.name(), why).await?;
            is_ended.then_some(()).ok_or_else(no_such_session)
        })
        .await
}

/// What is written down and told of the end.
fn why(username: &str, reason: Option<&Reason>) -> String {
    match reason {
        Some(reason) => format!("ended by {username}, who has oversight: {reason}"),
        None => format!("ended by {username}, who has oversight"),
    }
}

// === impl SessionParameters ===

impl SessionParameters {
    fn means(&self, session: &Session) -> bool {
        let is = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        let (caller, rule) = (&session.caller, &session.rule);
        is(&self.user, &|user| caller.username() == user)
            && is(&self.device, &|asked| {
                is_device(asked, &caller.device.stable_id, &caller.device.name)
            })
            && is(&self.role, &|role| rule.role.as_str() == role)
            && is(&self.rule, &|name| {
                rule.name.as_ref().is_some_and(|rule| rule.as_str() == name)
            })
    }
}

fn wrong_question() -> Failure {
    let advice = &["ask by user, device, role, rule and after: see /swagger"];
    Failure::new(StatusCode::BAD_REQUEST, "sessions cannot be listed by that", advice)
}

fn no_such_page() -> Failure {
    let advice = &["begin anew, without `after`: the cluster keeps such a place for some minutes"];
    Failure::new(StatusCode::GONE, "the list of sessions does not go on there", advice)
}

fn only_read() -> Failure {
    let advice =
        &["ask an administrator of the tailnet for `\"sessions\": \"end\"` in your oversight (docs/oversight.md)"];
    Failure::new(
        StatusCode::FORBIDDEN,
        "your oversight shows sessions, and ends none",
        advice,
    )
}

fn no_such_session() -> Failure {
    let advice = &["list all sessions with `tka sessions --everyone`"];
    Failure::new(StatusCode::NOT_FOUND, "there is no session of that name", advice)
}

fn wrong_reason() -> Failure {
    let advice = &["give a `reason` of one line and at most 500 characters, or none"];
    Failure::new(StatusCode::BAD_REQUEST, "this is no reason to end a session", advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use jiff::Timestamp;

    fn wanted(query: &str) -> Result<SessionParameters, String> {
        let uri = format!("/oversight/sessions?{query}").parse().map_err(|_| "no URI")?;
        let Query(wanted) = Query::<SessionParameters>::try_from_uri(&uri).map_err(|error| error.body_text())?;
        Ok(wanted)
    }

    #[test]
    fn what_is_misspelt_is_refused_and_lists_nothing_more() {
        for wrong in ["usr=alice", "user=a&user=b", "limit=1", "before=x"] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_that_is_asked_for_must_be_so() {
        let session = examples::session("n1", Timestamp::UNIX_EPOCH);
        let caller = &session.caller;
        let (user, device) = (caller.username(), &caller.device.stable_id);
        let role = session.rule.role.as_str();
        for (query, expected) in [
            (String::new(), true),
            (format!("user={user}"), true),
            ("user=".to_owned(), false),
            (format!("user={user}&device={device}&role={role}"), true),
            (format!("user={user}&device=other&role={role}"), false),
            (format!("device={device}&rule=none"), false),
            (format!("user=x{user}"), false),
        ] {
            assert_eq!(wanted(&query).unwrap().means(&session), expected, "{query}");
        }
    }

    #[test]
    fn end_says_who_ended_it_and_what_for() {
        let reason = Reason::try_from("laptop lost".to_owned()).unwrap();
        let username = "alice@example.com";
        assert_eq!(why(username, None), "ended by alice@example.com, who has oversight");
        let expected = "ended by alice@example.com, who has oversight: laptop lost";
        assert_eq!(why(username, Some(&reason)), expected);
    }
}
