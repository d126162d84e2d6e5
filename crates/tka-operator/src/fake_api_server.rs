//! An API server that answers as a test says, for what the real one cannot be made to do.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tka_api::resource::TkaSignin;
use tower::{BoxError, service_fn};

use crate::Clients;
use crate::watch_activity::WatchActivity;

#[derive(Clone, Debug)]
pub(crate) struct ApiRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// Status and body.
pub(crate) type Answer = (u16, Value);

/// Clients of an API server that gives these answers, and cuts the connection where there is none. They do not try again.
pub(crate) fn clients(answer: impl Fn(&ApiRequest) -> Option<Answer> + Send + Sync + 'static) -> Clients {
    let answer = Arc::new(answer);
    let service = service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(BoxError::from)?.to_bytes();
            let request = ApiRequest {
                method: head.method.to_string(),
                path: head.uri.path().into(),
                query: head.uri.query().unwrap_or_default().into(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let (status, body) = answer(&request).ok_or("the connection is cut")?;
            let response = Response::builder().status(StatusCode::from_u16(status)?);
            Ok::<_, BoxError>(response.body(Body::from(body.to_string().into_bytes()))?)
        }
    });
    let client = Client::new(service, "tka");
    Clients {
        requests: client.clone(),
        watches: client.clone(),
        sessions: client,
        watch_activity: WatchActivity::default(),
    }
}

/// One `TkaSignin`, as an API server keeps it.
#[derive(Clone)]
pub(crate) struct StoredSignin(pub(crate) Arc<Mutex<Option<Value>>>);

// === impl StoredSignin ===

impl StoredSignin {
    pub(crate) fn new(signin: &TkaSignin) -> Self {
        let mut object = json!(signin);
        object["metadata"]["uid"] = json!("u1");
        object["metadata"]["resourceVersion"] = json!("1");
        Self(Arc::new(Mutex::new(Some(object))))
    }

    /// The object as it is now.
    pub(crate) fn now(&self) -> Option<TkaSignin> {
        let object = self.0.lock().unwrap().clone();
        object.map(|object| serde_json::from_value(object).unwrap())
    }

    /// Annotates it, as another client does.
    pub(crate) fn annotate(&self, name: &str, value: &str) {
        if let Some(object) = self.0.lock().unwrap().as_mut() {
            object["metadata"]["annotations"][name] = json!(value);
        }
    }

    /// Answers as an API server does that has this and nothing else, and makes whatever it is told to.
    pub(crate) fn answer(&self, request: &ApiRequest) -> Answer {
        if !request.path.contains("/tkasignins/") {
            let is_made = request.method == "POST" || request.path.contains("/clusterroles/");
            return if is_made {
                (201, request.body.clone())
            } else {
                failure(404, 0)
            };
        }
        let mut kept = self.0.lock().unwrap();
        let Some(object) = kept.as_mut() else {
            return failure(404, 0);
        };
        match &*request.method {
            "PATCH" => merge(object, &request.body),
            "DELETE" => object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            _ => {}
        }
        let answer = object.clone();
        if answer["metadata"]["deletionTimestamp"].is_string() && answer["metadata"]["finalizers"] == json!([]) {
            *kept = None;
        }
        (200, answer)
    }
}

/// RFC 7396, without its null.
fn merge(object: &mut Value, patch: &Value) {
    match patch.as_object() {
        Some(fields) => fields
            .iter()
            .for_each(|(field, value)| merge(&mut object[field], value)),
        None => *object = patch.clone(),
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
    let reason = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    let reason = reason.unwrap_or_default().replace(' ', "");
    let status = json!({"kind": "Status", "apiVersion": "v1", "message": "no", "code": code, "reason": reason});
    let status = with(status, "status", json!("Failure"));
    (code, with(status, "details", json!({"retryAfterSeconds": seconds})))
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}
