//! Recordings that were made, for callers with oversight.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use tka_recording::{Content, Details, Encoding, Reader, RecordingName, SinkError};

use super::recording::reader;
use crate::config::{self, RecordingsError};
use crate::connections::ConnectionPermit;

/// Where recordings are read. It is there with and without a gateway: what was recorded can be read when recording is over.
#[derive(Clone, Debug)]
pub struct RecordingArchive {
    reader: Arc<dyn Reader>,
    /// How long an answer may go unread.
    unread: Duration,
}

// === impl RecordingArchive ===

impl RecordingArchive {
    /// Where the recordings of `settings` are read; none where they say no place.
    pub fn open(settings: &config::Gateway) -> Result<Option<Self>, RecordingsError> {
        let unread = settings.unread_timeout.duration();
        let reader = reader(&settings.recording)?;
        Ok(reader.map(|reader| Self { reader, unread }))
    }

    /// The names of all, newest first.
    pub async fn names(&self) -> Result<Vec<RecordingName>, SinkError> {
        self.reader.names().await
    }

    /// What is known of one.
    pub async fn details(&self, name: &RecordingName) -> Result<Option<Details>, SinkError> {
        self.reader.details(name).await
    }

    /// What is in one. While it is sent on the connection of `place` the client may be slow, and must take some from time to time.
    pub(crate) async fn content(
        &self,
        name: &RecordingName,
        place: Option<ConnectionPermit>,
    ) -> Result<Option<(Encoding, Content)>, SinkError> {
        let Some((form, content)) = self.reader.content(name).await? else {
            return Ok(None);
        };
        let proxied = place.map(|place| place.carries_stream(self.unread));
        let name = name.clone();
        let content = content
            .inspect_ok(move |_| {
                // Kept until all is sent.
                let _ = &proxied;
            })
            .inspect_err(
                move |error| tracing::warn!(recording = %name, %error, "a recording cannot be read to its end"),
            );
        Ok(Some((form, Box::pin(content))))
    }
}
