//! The HTTP API: one file an endpoint.

mod approvals;
mod body;
mod cluster_info;
mod common;
mod credential;
mod head;
mod kubeconfig;
mod login;
mod logout;
mod oversight;
mod page_size;
mod recordings;
mod rules;
mod sessions;
mod traced;
mod unread_body;
mod view;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use tka_api::http::PREFIX;
use tokio::sync::watch;
use tower::{ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::App;
use crate::answer::Failure;
use crate::audit::audited;
use crate::browser::secured;
use crate::gateway::{self, Gateway};
use crate::identify::identify;

use self::traced::traced;
use self::unread_body::receive_rest;

/// What the document says of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "TKA",
        description = "Short-lived Kubernetes access for people on a tailnet. Who is calling is learnt from the connection: \
                       requests carry no credential. The header `Server` of every answer is `tka-server/VERSION`."
    ),
    tags((name = "session", description = "The calling device's session"), (name = "cluster", description = "The cluster"),
         (name = "approval", description = "Sign-ins that wait for others"),
         (name = "oversight", description = "What is others': for callers to whom the tailnet policy gives oversight. To all others these paths are not there"))
)]
struct Document;

/// The endpoints, and the OpenAPI document that describes them.
fn endpoints() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let api = OpenApiRouter::new()
        .routes(routes!(login::sign_in, login::who))
        .routes(routes!(kubeconfig::kubeconfig))
        .routes(routes!(logout::sign_out))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(rules::list))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::decide, approvals::withdraw))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::show))
        .routes(routes!(recordings::cast))
        .routes(routes!(oversight::audit::list))
        .routes(routes!(oversight::sessions::list))
        .routes(routes!(oversight::sessions::end))
        .routes(routes!(credential::issue))
        .routes(routes!(cluster_info::cluster_info));
    let router = OpenApiRouter::with_openapi(Document::openapi()).nest(PREFIX, api);
    let (router, mut document) = router.split_for_parts();
    common::describe(&mut document);
    (router, document)
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    endpoints().1
}

/// Everything that is served to the tailnet. `limit` is how long an answer may take, but for what the `gateway` carries.
pub fn router(app: &Arc<App>, limit: Duration, gateway: Option<&Arc<Gateway>>) -> Router {
    let (api, document) = endpoints();
    let document = Arc::new(document);
    let serve_document = move || std::future::ready(Json(Arc::clone(&document)));
    let swagger = |path: &'static str| {
        let config = utoipa_swagger_ui::Config::from(format!("{PREFIX}/openapi.json"));
        SwaggerUi::new(path).config(config)
    };
    let proxied = gateway.map(gateway::routes).unwrap_or_default();
    let proxied = proxied
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.metrics.clone(), traced))
        .layer(from_fn(head::limit_head_size))
        .layer(from_fn(secured));
    api.route("/openapi.json", axum::routing::get(serve_document.clone()))
        .route(&format!("{PREFIX}/openapi.json"), axum::routing::get(serve_document))
        .merge(Router::from(swagger("/swagger")))
        .merge(Router::from(swagger("/api/v1alpha1/swagger")))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(app), identify))
        .layer(from_fn_with_state(limit, in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), audited))
        .layer(from_fn_with_state(app.metrics.clone(), traced))
        .layer(from_fn(head::limit_head_size))
        .layer(from_fn(secured))
        .layer(from_fn_with_state(app.read_timeout, receive_rest))
        .merge(proxied)
        .with_state(Arc::clone(app))
}

/// Hands each request to the router that is current when it comes. It keeps that one to its end.
pub fn current(routers: watch::Receiver<Router>) -> Router {
    let handed_on = move |request: Request| {
        let router = routers.borrow().clone();
        router.oneshot(request)
    };
    Router::new().fallback_service(service_fn(handed_on))
}

async fn no_such_path() -> Failure {
    Failure::no_such_path()
}

async fn no_such_method() -> Failure {
    let (message, advice) = (
        "this path does not allow that method",
        "see /swagger for those that it allows",
    );
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message, &[advice])
}

async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        tracing::error!(?limit, "request timed out; answered 503");
        let advice = &[
            "try again in a moment",
            "if it persists, ask an administrator to look at the server's log",
        ];
        Failure::transient("the request took too long", advice).into_response()
    })
}

/// A bug must neither end the process nor show its insides to the caller.
fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    let advice = &["report this as a bug of TKA, with the server's log"];
    let message = "the server failed on this request";
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message, advice).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_keeps_the_router_that_it_began_with() {
        let (go, gone) = watch::channel(false);
        let waits = move || async move {
            gone.clone().wait_for(|gone| *gone).await.unwrap();
            "before"
        };
        let before = Router::new().route("/", axum::routing::get(waits));
        let after = Router::new().route("/", axum::routing::get(|| std::future::ready("after")));
        let (routers, said) = watch::channel(before);
        let current = current(said);
        let ask = || {
            let answer = current
                .clone()
                .oneshot(Request::get("/").body(axum::body::Body::empty()).unwrap());
            tokio::spawn(async move {
                let body = answer.await.unwrap().into_body();
                axum::body::to_bytes(body, 100).await.unwrap()
            })
        };
        let first = ask();
        tokio::task::yield_now().await;
        drop(routers.send_replace(after));
        assert_eq!(ask().await.unwrap(), "after");
        assert!(!first.is_finished());
        go.send_replace(true);
        assert_eq!(first.await.unwrap(), "before");
    }

    #[test]
    fn document_lists_the_contract() {
        let document = openapi();
        let paths: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "/api/v1alpha1/approvals",
                "/api/v1alpha1/approvals/{session}",
                "/api/v1alpha1/cluster-info",
                "/api/v1alpha1/credential",
                "/api/v1alpha1/kubeconfig",
                "/api/v1alpha1/login",
                "/api/v1alpha1/logout",
                "/api/v1alpha1/oversight/audit",
                "/api/v1alpha1/oversight/sessions",
                "/api/v1alpha1/oversight/sessions/{name}",
                "/api/v1alpha1/recordings",
                "/api/v1alpha1/recordings/{id}",
                "/api/v1alpha1/recordings/{id}/cast",
                "/api/v1alpha1/rules",
                "/api/v1alpha1/sessions",
                "/api/v1alpha1/sessions/{name}",
            ]
        );
    }
}
