//! What every endpoint may answer, whatever it is for.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

/// The answers that come before an endpoint is reached.
const ANSWERS: [(&str, &str); 4] = [
    ("403", "No rule, through Funnel, or caused by a page of another origin"),
    ("415", "A form, as any page may send it"),
    ("429", "More requests than the server takes from one device"),
    ("503", "The cluster or the tailnet could not be asked just now"),
];

/// Adds the answers that come before an endpoint is reached to all of `document`'s.
pub(super) fn describe(document: &mut OpenApi) {
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            for (status, description) in ANSWERS {
                add(operation, status, description);
            }
        }
    }
}

/// An answer that the endpoint describes itself stays as it is.
fn add(operation: &mut Operation, status: &str, description: &str) {
    let answers = &mut operation.responses.responses;
    answers
        .entry(status.to_owned())
        .or_insert_with(|| RefOr::T(answer(status, description)));
}

fn answer(status: &str, description: &str) -> Response {
    let schema = Ref::from_schema_name("ErrorResponse");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let answer = ResponseBuilder::new().description(description);
    let answer = answer.content("application/json", content);
    if status != "429" {
        return answer.build();
    }
    let description = Some("When to ask again, in seconds");
    let retry_after = HeaderBuilder::new().description(description).build();
    answer.header("Retry-After", retry_after).build()
}
