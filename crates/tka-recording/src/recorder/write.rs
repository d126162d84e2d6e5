//! Writing a recording: its beginning, each flush, and its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::shared::Shared;
use super::types::{End, Mode, Outcome, PATIENCE, RecordError};
use crate::name::RecordingName;
use crate::sink::{Encoding, RecordingWriter, Sink, SinkError};

/// How long a stream is gathered for that does not wait for its recording.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// A recording that begins, with its first line.
pub(super) type OpenFuture = BoxFuture<'static, Result<Box<dyn RecordingWriter>, RecordError>>;

/// Begins a recording with its first line. Where it is required, that is kept when this returns.
pub(super) async fn opening(
    mode: Mode,
    sink: &Arc<dyn Sink>,
    name: &RecordingName,
    header: Bytes,
) -> Result<OpenFuture, RecordError> {
    let opening = open(Arc::clone(sink), name.clone(), header);
    if mode == Mode::BestEffort {
        return Ok(opening.boxed());
    }
    let writing = detached(opening).await?;
    Ok(async move { Ok(writing) }.boxed())
}

async fn open(
    sink: Arc<dyn Sink>,
    name: RecordingName,
    header: Bytes,
) -> Result<Box<dyn RecordingWriter>, RecordError> {
    let first_line = async {
        let mut writing = sink.begin(&name, Encoding::Plain).await?;
        writing.append(header).await?;
        Ok::<_, SinkError>(writing)
    };
    Ok(timeout(PATIENCE, first_line).await.map_err(|_| RecordError::Slow)??)
}

/// What `opening` gives. If its caller hangs up meanwhile, what it kept is removed.
async fn detached(
    opening: impl Future<Output = Result<Box<dyn RecordingWriter>, RecordError>> + Send + 'static,
) -> Result<Box<dyn RecordingWriter>, RecordError> {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(Ok(unwanted)) = sender.send(opening.await) {
            // What cannot be removed is told as the recording of a stream that is only its beginning.
            let _ = timeout(PATIENCE, unwanted.discard()).await;
        }
    });
    receiver.await.map_err(|_| RecordError::Ended)?
}

/// Writes what is recorded until the recording ends or cannot be written.
pub(super) async fn write(shared: Arc<Shared>, opening: OpenFuture, mode: Mode, name: RecordingName) -> Outcome {
    let outcome = match opening.await {
        Ok(writing) => write_on(&shared, writing, mode, &name).await,
        Err(error) => {
            tracing::warn!(recording = %name, %error, "a recording cannot begin; its stream goes on without");
            shared.fail(error);
            Outcome::Incomplete
        }
    };
    shared.state().give_up();
    shared.written.send_modify(|written| written.is_over = true);
    outcome
}

async fn write_on(shared: &Shared, mut writing: Box<dyn RecordingWriter>, mode: Mode, name: &RecordingName) -> Outcome {
    let end = loop {
        shared.more.notified().await;
        if mode == Mode::BestEffort {
            let _ = timeout(FLUSH_INTERVAL, shared.ends.notified()).await;
        }
        let (bytes, recorded, end) = shared.state().take();
        if !bytes.is_empty()
            && end != Some(End::Discard)
            && let Err(error) = append(&mut writing, bytes).await
        {
            // It is not whole, and must not look so: a folder makes a whole file of it later, which says that it was cut.
            tracing::warn!(recording = %name, %error, "a recording cannot be written");
            shared.fail(error);
            return Outcome::Incomplete;
        }
        shared.is_appended();
        shared.written.send_modify(|written| written.recorded = recorded);
        if let Some(end) = end {
            break end;
        }
    };
    let done = match end {
        End::Finish => writing.finish(),
        End::Discard => writing.discard(),
    };
    let is_cut = shared.state().is_cut;
    match timeout(PATIENCE, done).await {
        Ok(Ok(())) if end == End::Discard => return Outcome::Discarded,
        Ok(Ok(())) if !is_cut => return Outcome::Whole,
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(recording = %name, %error, "a recording cannot be finished; what was acknowledged is kept");
        }
        Err(_) => {
            tracing::warn!(recording = %name, "a recording cannot be finished in time; what was acknowledged is kept");
        }
    }
    Outcome::Incomplete
}

async fn append(writing: &mut Box<dyn RecordingWriter>, bytes: Bytes) -> Result<(), RecordError> {
    match timeout(PATIENCE, writing.append(bytes)).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(RecordError::Slow),
    }
}
