//! Why a request was not carried.

use std::time::Duration;

use http::Uri;
use thiserror::Error;

use crate::body::BoxError;

/// How long a connection may take to be there, TLS and all.
pub(super) const CONNECT: Duration = Duration::from_secs(4);

/// Why a request was not carried.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// The address of the API server is none that can be asked.
    #[error("{0} is not the address of an API server")]
    Address(Uri),
    /// There is no connection.
    #[error("cannot connect to the API server")]
    Connect(#[source] BoxError),
    /// It took too long to connect.
    #[error("the API server cannot be reached within {CONNECT:?}")]
    Timeout,
    /// The connection failed before an answer.
    #[error("the connection to the API server failed")]
    Failed(#[from] hyper::Error),
    /// Connection after connection closed before the request was sent.
    #[error("the API server closes its connections")]
    Closed,
    /// The request cannot be made.
    #[error("the request cannot be sent to the API server")]
    Request(#[from] http::Error),
}
