//! Recordings of exec and attach: whether one is made, and of what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures::FutureExt;
use futures::future::BoxFuture;
use tka_api::http::GATEWAY_MESSAGE;
use tka_gateway::request_info::PodAccess;
use tka_gateway::tap::{Origin, Tap};
use tka_gateway::{Cut, CutKind, Unrecordable, recordable};
use tka_recording::frames::Side;
use tka_recording::seal::{Recipients, Sealed};
use tka_recording::sink::folder::Folder;
use tka_recording::sink::objects::Objects;
use tka_recording::sink::s3::{Bucket, StoreError};
use tka_recording::{Backlog, Limits, Outcome, Reader, RecordError, Recorder, RecordingMetadata, RecordingName, Sink};

use super::reasons::SpdyFallbackReasons;
use crate::App;
use crate::answer::Failure;
use crate::config::{GatewayRecording, RecordingPlace, RecordingsError, S3};

/// How much may wait to be written of all streams that do not wait for their recordings, in bytes.
const BACKLOG: usize = 64 * 1024 * 1024;

/// Why the audit record of a stream that a rule wants recorded names no recording.
pub(super) const NO_PLACE: &str = "not recorded: this server keeps no recordings";

/// Where recordings are kept, and how.
#[derive(Debug)]
pub(super) struct Recordings {
    sink: Option<Arc<dyn Sink>>,
    limits: Limits,
    keeps_stdin: bool,
    backlog: Arc<Backlog>,
    pub(super) reasons: SpdyFallbackReasons,
    /// Whether it was told that there is no place for what a rule wants recorded.
    has_told: AtomicBool,
}

/// What is done about recording a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RecordingPlan {
    /// Nothing.
    None,
    /// It is recorded, and goes on whatever becomes of the recording.
    BestEffort,
    /// It is recorded, and nothing of it is seen that is not.
    Required,
}

/// Why a request is refused where all must be recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotRecorded {
    /// It cannot be.
    Unrecordable(Unrecordable),
    /// The server keeps no recordings.
    NoSink,
}

/// The recording of one request. Unless the request goes on to the API server it is removed again: from then on its command may run.
#[derive(Debug)]
pub(super) struct Recording {
    recorder: Recorder,
    pub(super) name: RecordingName,
    is_required: bool,
    is_sent: AtomicBool,
}

// === impl Recordings ===

impl Recordings {
    pub(super) fn new(settings: &GatewayRecording) -> Result<Self, RecordingsError> {
        let recipients = Recipients::parse(settings.recipients.iter().map(String::as_str))?;
        let sink = sink(settings)?;
        let sink = match recipients {
            Some(recipients) => sink.map(|sink| Arc::new(Sealed::new(sink, recipients)) as Arc<dyn Sink>),
            None => sink,
        };
        Ok(Self {
            sink,
            limits: Limits {
                bytes: settings.max_bytes.get(),
                time: settings.max_duration.duration(),
            },
            keeps_stdin: settings.stdin,
            backlog: Backlog::new(BACKLOG),
            reasons: SpdyFallbackReasons::default(),
            has_told: AtomicBool::new(false),
        })
    }

    /// What is done about a request, of a rule that has `recording`.
    pub(super) fn plan(
        &self,
        recording: tka_core::RecordingMode,
        interactive: Option<PodAccess>,
        head: &Parts,
    ) -> Result<RecordingPlan, NotRecorded> {
        let check = recordable::check(&head.method, &head.headers, interactive);
        plan(recording, self.sink.is_some(), check)
    }

    /// Whether a rule wants a stream recorded for which there is no place. The log tells of the first.
    pub(super) fn is_unrecorded(&self, recording: tka_core::RecordingMode, interactive: Option<PodAccess>) -> bool {
        let lacks = self.sink.is_none() && recording != tka_core::RecordingMode::Off && interactive.is_some();
        if lacks && !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a rule has `recording`, and this server keeps no recordings: set gateway.recording.folder or gateway.recording.s3.bucket"
            );
        }
        lacks
    }

    /// Begins the recording of a request, if one is `plan`ned, and returns when its beginning is kept. What the request offers to speak is narrowed to what can
    /// be recorded.
    pub(super) async fn begin(
        &self,
        plan: RecordingPlan,
        app: &App,
        about: impl FnOnce() -> RecordingMetadata,
        audit_id: &str,
        headers: &mut HeaderMap,
    ) -> Result<Option<Recording>, Failure> {
        let (Some(sink), RecordingPlan::BestEffort | RecordingPlan::Required) = (&self.sink, plan) else {
            return Ok(None);
        };
        recordable::restrict_subprotocols(headers);
        let is_required = plan == RecordingPlan::Required;
        let began = (app.clock)();
        let name = RecordingName::new(began, audit_id).ok_or_else(|| unwritable("it cannot be named"))?;
        let about = RecordingMetadata {
            recording: name.to_string(),
            stdin_recorded: self.keeps_stdin,
            required: is_required,
            audit_id: audit_id.to_owned(),
            ..about()
        };
        match Recorder::begin(sink, &name, &about, began, self.limits, &self.backlog).await {
            Ok((recorder, work)) => {
                let metrics = app.metrics.clone();
                app.tasks.spawn(async move { metrics.gateway.recorded(work.await) });
                Ok(Some(Recording {
                    recorder,
                    name,
                    is_required,
                    is_sent: AtomicBool::new(false),
                }))
            }
            Err(error) => {
                tracing::error!(%error, "a recording cannot begin; what must be recorded is refused");
                app.metrics.gateway.recorded(Outcome::Incomplete);
                Err(unwritable(&error.to_string()))
            }
        }
    }
}

// === impl NotRecorded ===

impl From<NotRecorded> for Failure {
    fn from(why: NotRecorded) -> Self {
        match why {
            NotRecorded::Unrecordable(why) => Self::new(StatusCode::FORBIDDEN, why.to_string(), &[why.advice()]),
            NotRecorded::NoSink => Self::new(
                StatusCode::FORBIDDEN,
                "what goes into pods must be recorded here, and this server keeps no recordings",
                &["ask an administrator of TKA to set gateway.recording.folder or gateway.recording.s3.bucket"],
            ),
        }
    }
}

// === impl Recording ===

impl Recording {
    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    /// The request goes on to the API server: whatever is heard of it, what is recorded is kept.
    pub(super) fn mark_sent(&self) {
        self.is_sent.store(true, Ordering::Relaxed);
    }

    /// The API server refused the request: there is no stream.
    pub(super) fn discard(&self) {
        self.recorder.discard();
    }

    /// It is not known what came of the request, and why not.
    pub(super) fn unanswered(&self, why: &dyn std::fmt::Display) {
        self.recorder.end(&format!("it is not known what came of it: {why}"));
    }

    /// Why the recording is not whole, if that is so by now.
    pub(super) fn failure(&self) -> Option<RecordError> {
        self.recorder.failure()
    }

    /// The stream ended, and why.
    pub(super) fn end(&self, why: Option<&Cut>) {
        match why {
            Some(cut) => self.recorder.end(&format!("cut: {cut}")),
            None => self.recorder.end("ended"),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.is_sent.load(Ordering::Relaxed) {
            self.recorder.discard();
        }
    }
}

impl Tap for Recording {
    fn may_end(&self) -> bool {
        self.is_required
    }

    fn passes<'a>(&'a self, from: Origin, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), Cut>> {
        let side = match from {
            Origin::Caller => Side::Client,
            Origin::Upstream => Side::Server,
        };
        async move {
            let passed = self.recorder.passes(side, bytes).await;
            passed.map_err(|error| Cut::new(CutKind::Unrecorded, &format!("{GATEWAY_MESSAGE}{error}")))
        }
        .boxed()
    }
}

/// Where recordings are kept; none where that is not said.
fn sink(settings: &GatewayRecording) -> Result<Option<Arc<dyn Sink>>, RecordingsError> {
    Ok(place(settings)?.map(|place| match place {
        RecordingStore::Folder(folder) => Arc::new(folder) as Arc<dyn Sink>,
        RecordingStore::Objects(objects) => Arc::new(objects),
    }))
}

/// Where they are read.
pub(super) fn reader(settings: &GatewayRecording) -> Result<Option<Arc<dyn Reader>>, RecordingsError> {
    Ok(place(settings)?.map(|place| match place {
        RecordingStore::Folder(folder) => Arc::new(folder) as Arc<dyn Reader>,
        RecordingStore::Objects(objects) => Arc::new(objects),
    }))
}

/// A place for recordings.
#[derive(Debug)]
enum RecordingStore {
    Folder(Folder),
    Objects(Objects),
}

fn place(settings: &GatewayRecording) -> Result<Option<RecordingStore>, RecordingsError> {
    let place = settings.place()?.map(|place| match place {
        RecordingPlace::Folder(folder) => Ok(RecordingStore::Folder(Folder::new(folder))),
        RecordingPlace::Bucket(s3) => open(s3).map(RecordingStore::Objects),
    });
    place.transpose().map_err(Into::into)
}

fn open(s3: &S3) -> Result<Objects, StoreError> {
    let bucket = Bucket {
        name: s3.bucket.clone(),
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
    };
    Ok(Objects::new(bucket.open()?, &s3.prefix))
}

/// What is done about a request of a rule that has `recording`.
fn plan(
    recording: tka_core::RecordingMode,
    has_sink: bool,
    check: Result<bool, Unrecordable>,
) -> Result<RecordingPlan, NotRecorded> {
    match recording {
        tka_core::RecordingMode::Required => match check {
            Err(why) => Err(NotRecorded::Unrecordable(why)),
            Ok(false) => Ok(RecordingPlan::None),
            Ok(true) if !has_sink => Err(NotRecorded::NoSink),
            Ok(true) => Ok(RecordingPlan::Required),
        },
        tka_core::RecordingMode::BestEffort if has_sink && check == Ok(true) => Ok(RecordingPlan::BestEffort),
        tka_core::RecordingMode::BestEffort | tka_core::RecordingMode::Off => Ok(RecordingPlan::None),
    }
}

fn unwritable(why: &str) -> Failure {
    let message = format!("this must be recorded, and cannot be: {why}");
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        message,
        &["ask an administrator of TKA to look at where recordings are kept"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_kept_where_the_settings_say() {
        let settings = |folder: &str, bucket: &str| {
            let mut settings = GatewayRecording {
                folder: folder.into(),
                ..GatewayRecording::default()
            };
            settings.s3.bucket = bucket.into();
            sink(&settings)
        };
        assert!(matches!(settings("", ""), Ok(None)));
        assert!(matches!(settings("/r", ""), Ok(Some(_))));
        assert!(matches!(settings("", "b"), Ok(Some(_))));
        assert!(matches!(settings("/r", "b"), Err(RecordingsError::Two)));
    }

    #[test]
    fn rule_that_records_at_a_server_without_a_place_is_told() {
        use tka_core::RecordingMode::{BestEffort, Off};
        let recordings = |folder: &str| {
            let settings = GatewayRecording {
                folder: folder.into(),
                ..GatewayRecording::default()
            };
            Recordings::new(&settings).unwrap()
        };
        let nowhere = recordings("");
        assert!(nowhere.is_unrecorded(BestEffort, Some(PodAccess::Exec)));
        assert!(!nowhere.is_unrecorded(Off, Some(PodAccess::Exec)) && !nowhere.is_unrecorded(BestEffort, None));
        assert!(!recordings("/r").is_unrecorded(BestEffort, Some(PodAccess::Exec)));
    }

    #[test]
    fn what_must_be_recorded_is_or_is_refused() {
        use tka_core::RecordingMode::{BestEffort, Off, Required};
        let (exec, other, spdy) = (Ok(true), Ok(false), Err(Unrecordable::Protocol));
        for (recording, has_sink, check, expected) in [
            (Off, true, exec, Ok(RecordingPlan::None)),
            (Off, true, spdy, Ok(RecordingPlan::None)),
            (BestEffort, true, exec, Ok(RecordingPlan::BestEffort)),
            (BestEffort, true, spdy, Ok(RecordingPlan::None)),
            (BestEffort, false, exec, Ok(RecordingPlan::None)),
            (Required, true, exec, Ok(RecordingPlan::Required)),
            (Required, true, other, Ok(RecordingPlan::None)),
            (
                Required,
                true,
                spdy,
                Err(NotRecorded::Unrecordable(Unrecordable::Protocol)),
            ),
            (Required, false, exec, Err(NotRecorded::NoSink)),
            (Required, false, other, Ok(RecordingPlan::None)),
        ] {
            let planned = plan(recording, has_sink, check);
            assert_eq!(planned, expected, "{recording} {has_sink} {check:?}");
        }
    }
}
