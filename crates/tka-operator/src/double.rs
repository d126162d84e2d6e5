//! An API server that answers as a test says, for what the real one cannot be made to do.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tka_api::resource::TkaSignin;
use tower::BoxError;
use tower::service_fn;

use crate::Clients;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) query: String,
}

/// Status and body.
pub(crate) type Answer = (u16, Value);

/// Clients of an API server that gives these answers, and cuts the connection where there is none. They do not try again.
pub(crate) fn clients(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Clients {
    let answer = Arc::new(answer);
    let service = service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let asked = Asked {
                query: request.uri().query().unwrap_or_default().into(),
            };
            let (status, body) = answer(&asked).ok_or("the connection is cut")?;
            let response = Response::builder().status(StatusCode::from_u16(status)?);
            Ok::<_, BoxError>(response.body(Body::from(body.to_string().into_bytes()))?)
        }
    });
    let client = Client::new(service, "tka");
    Clients {
        requests: client.clone(),
        watches: client,
    }
}

/// These are all there are. None is a list of anything.
pub(crate) fn list(signins: &[TkaSignin]) -> Answer {
    let kind = json!({"apiVersion": "tka.specht-labs.de/v1alpha1", "kind": "TkaSigninList"});
    let list = with(kind, "metadata", json!({"resourceVersion": "1"}));
    (200, with(list, "items", json!(signins)))
}

/// It says no, and perhaps when to ask again.
pub(crate) fn failure(code: u16, seconds: u32) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code});
    (code, with(status, "details", json!({"retryAfterSeconds": seconds})))
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}
