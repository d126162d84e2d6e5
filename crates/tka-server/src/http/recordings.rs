//! `/recordings`: what was recorded, for callers with oversight.
//!
//! A look is recorded before anything is shown. What is sealed is shown as it is stored.

mod page;
mod query;
mod view;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tka_api::audit::{Look, LookedAt};
use tka_api::http::{ErrorResponse, RecordingInfo, RecordingList};
use tka_recording::{Encoding, RecordingName, SinkError};

use self::query::{Filter, RecordingParameters};
use crate::App;
use crate::answer::Failure;
use crate::connections::ConnectionPermit;
use crate::gateway::RecordingArchive;
use crate::overseer::{Overseer, ViewRecordings};

/// The media type of a recording that is not sealed.
const ASCIICAST: &str = "application/x-asciicast";
/// That of one that is.
const SEALED: &str = "application/octet-stream";

/// Recordings
///
/// The recordings of all callers, newest first. For callers whose oversight has `recordings`. Each request is recorded.
#[utoipa::path(
    get,
    path = "/recordings",
    tag = "oversight",
    params(RecordingParameters),
    responses(
        (status = 200, description = "The recordings", body = RecordingList),
        (status = 400, description = "Not such a question", body = ErrorResponse),
        (status = 404, description = "The caller has no such oversight, or the server keeps no recordings", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    overseer: Overseer<ViewRecordings>,
    RawQuery(raw): RawQuery,
    wanted: Result<Query<RecordingParameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(wanted) = wanted.map_err(|error| wrong_question().with_cause(&error))?;
    let filter = Filter::new(wanted).map_err(|error| wrong_question().with_cause(&error))?;
    let archive = archive(&app)?;
    overseer
        .looks_at_list(&app, LookedAt::Recordings, raw.as_deref())
        .await?;
    let page = page::page(archive, &filter).await.map_err(|error| unread(&error))?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

/// A recording
///
/// Whose recording it is, and of what. For callers whose oversight has `recordings`. Each request is recorded.
#[utoipa::path(
    get,
    path = "/recordings/{id}",
    tag = "oversight",
    params(("id" = String, Path, description = "Name of the recording")),
    responses(
        (status = 200, description = "What is known of it", body = RecordingInfo),
        (status = 404, description = "No such recording, or the caller has no such oversight", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
    )
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    overseer: Overseer<ViewRecordings>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let (archive, name) = (archive(&app)?, named(id)?);
    let details = archive.details(&name).await.map_err(|error| unread(&error))?;
    let details = details.ok_or_else(no_such_recording)?;
    overseer.looks(&app, look_at(LookedAt::Recording, &name)).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(view::info(&name, &details))).into_response())
}

/// What is in a recording
///
/// The bytes as they are stored: asciicast version 2, or armored age files one after another where it is sealed. One that is still being written is given up to
/// its last whole line. For callers whose oversight has `recordings`. Each request is recorded.
#[utoipa::path(
    get,
    path = "/recordings/{id}/cast",
    tag = "oversight",
    params(("id" = String, Path, description = "Name of the recording")),
    responses(
        (status = 200, description = "The recording", content(
            (String = "application/x-asciicast"),
            (String = "application/octet-stream"),
        )),
        (status = 404, description = "No such recording, or the caller has no such oversight", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
    )
)]
pub(super) async fn cast(
    State(app): State<Arc<App>>,
    overseer: Overseer<ViewRecordings>,
    place: Option<Extension<ConnectionPermit>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let (archive, name) = (archive(&app)?, named(id)?);
    let place = place.map(|Extension(place)| place);
    let found = archive.content(&name, place).await.map_err(|error| unread(&error))?;
    let (form, content) = found.ok_or_else(no_such_recording)?;
    overseer.looks(&app, look_at(LookedAt::Cast, &name)).await?;
    let media_type = match form {
        Encoding::Plain => ASCIICAST,
        Encoding::Sealed => SEALED,
    };
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(content)).into_response())
}

fn archive(app: &App) -> Result<&RecordingArchive, Failure> {
    app.archive.as_deref().ok_or_else(|| {
        let advice = &["ask an administrator of TKA to set gateway.recording.folder or gateway.recording.s3.bucket"];
        Failure::new(StatusCode::NOT_FOUND, "this server keeps no recordings", advice)
    })
}

/// What is no name of a recording leads nowhere.
fn named(id: Result<Path<String>, PathRejection>) -> Result<RecordingName, Failure> {
    let id = id.map_err(|_| no_such_recording())?;
    RecordingName::parse(&id).ok_or_else(no_such_recording)
}

fn look_at(at: LookedAt, name: &RecordingName) -> Look {
    let name = Some(name.to_string());
    Look { at, name, query: None }
}

fn no_such_recording() -> Failure {
    let advice = &["see `tka recordings list` for those that there are"];
    Failure::new(StatusCode::NOT_FOUND, "there is no such recording", advice)
}

fn wrong_question() -> Failure {
    let advice = &["ask by user, session, rule, pod, since, until, before and limit: see /swagger"];
    Failure::new(StatusCode::BAD_REQUEST, "recordings cannot be listed by that", advice)
}

fn unread(error: &SinkError) -> Failure {
    let advice = &[
        "try again in a moment",
        "if it persists, ask an administrator of TKA to look at where recordings are kept",
    ];
    Failure::transient("the recordings cannot be read just now", advice).with_cause(error)
}
