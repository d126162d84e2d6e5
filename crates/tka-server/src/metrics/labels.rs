//! Labels that have few values, whatever callers send.

use axum::http::Method;

/// The label of what is not listed.
pub(super) const OTHER: &str = "other";

/// `method` as a label and in names of spans: a caller may send any word as one.
#[must_use]
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

/// Status codes that have series of their own.
const CODES: [(u16, &str); 20] = [
    (101, "101"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (410, "410"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

/// `status` as a label. Through the gateway a pod of the caller's may answer with any.
pub(super) fn code_label(status: u16) -> &'static str {
    let known = CODES.iter().find(|(code, _)| *code == status);
    known.map_or(OTHER, |(_, label)| label)
}
