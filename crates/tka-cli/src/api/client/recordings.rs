//! Requests for recordings, which only callers with oversight make.

use std::time::Instant;

use tka_api::http::{RecordingInfo, RecordingList};

use super::lists::{escaped, query_of};
use super::route::Download;
use super::{Client, ClientError, ClientErrorKind, Operation};

// === impl Client ===

impl Client {
    /// A page of recordings. `query` has a name and a value each.
    pub(crate) fn recordings(&self, query: &[(&str, String)]) -> Result<RecordingList, ClientError> {
        self.fetch(Operation::ListRecordings, &query_of(query))
    }

    /// What is known of a recording.
    pub(crate) fn recording(&self, id: &str) -> Result<RecordingInfo, ClientError> {
        self.fetch(Operation::ShowRecording, &format!("/{}", escaped(id)))
    }

    /// What is in a recording.
    pub(crate) fn cast(&self, id: &str) -> Result<Download, ClientError> {
        let operation = Operation::FetchRecording;
        let below = format!("/{}/cast", escaped(id));
        let limit = self.remaining(Instant::now());
        let result = self.route.download(operation, &below, limit).map_err(|error| {
            let kind = ClientErrorKind::from_transport(error, self.deadline.limit(), self.route.proxy_variable());
            self.error(operation, kind)
        })?;
        result.map_err(|response| self.refusal(operation, &response))
    }
}
