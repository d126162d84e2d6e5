//! The health listener: whether the process lives, whether it can serve, and what it has counted.
//!
//! It is apart from the tailnet, so that the kubelet and Prometheus reach it, and it answers nothing that is secret. They call it by
//! whatever name or address leads there, so that no `Host` is refused. But a page of another origin reads nothing of it, because every
//! answer says so.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tka_operator::{Clock, WatchHealth};
use tka_tailnet::LocalApi;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::audit::Audit;
use crate::browser::secured;
use crate::certificate::CertificateState;
use crate::kubernetes::Cluster;
use crate::metrics::Exposition;
use crate::notifications::Notifier;
use crate::reauthorize::Contact;
use crate::serving::Serving;

/// What the health listener asks and serves.
pub struct Health {
    /// The tailscaled beside the server.
    pub tailnet: LocalApi,
    /// Whether its answers are the tailnet's present word.
    pub contact: Contact,
    /// Whether the tailnet is served, or why not yet.
    pub serving: watch::Receiver<Serving>,
    /// How the certificate stands that it is served with, if it is.
    pub certificate: watch::Receiver<Option<CertificateState>>,
    /// Which Kubernetes it is, once that is known.
    pub cluster: watch::Receiver<Option<Cluster>>,
    /// Tells the time.
    pub clock: Clock,
    /// Whether the sessions are known, or why not.
    pub sessions: WatchHealth,
    /// The audit log, without which nothing is given.
    pub audit: Audit,
    /// That the cluster lacks roles which may be given out, and what to do, if it does.
    pub missing_roles: watch::Receiver<Option<String>>,
    /// What tells webhooks of decisions.
    pub notifications: Notifier,
    /// All metrics.
    pub metrics: Registry,
    /// Those of the operator.
    pub operator_metrics: Registry,
}

/// Whether a check passed, be it with a note, or why it failed.
type Check = Result<Option<String>, String>;

/// The health listener's paths.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/metrics/controller", get(operator_metrics))
        .layer(from_fn(secured))
        .with_state(health)
}

/// Ready when requests can be answered: tailscaled is on the tailnet, the sessions are known, and records can be written.
async fn ready(State(health): State<Arc<Health>>) -> Response {
    // A tailscaled that hangs is noticed here sooner than by the next round.
    let tailnet = match health.tailnet.status().await {
        Ok(status) => status.require_running().map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let tailnet = tailnet.and_then(|()| health.contact.check().map_err(|error| error.to_string()));
    let sessions = health.sessions.check(Instant::now());
    let serving = health.serving.borrow().clone();
    let plain = |check: Result<(), String>| check.map(|()| None);
    let mut checks = vec![
        ("tailnet", plain(tailnet)),
        ("sessions", plain(sessions)),
        ("serving", plain(serving)),
        ("audit", plain(health.audit.check().await)),
    ];
    if let Some(standing) = &*health.certificate.borrow() {
        checks.push(("certificate", standing.check((health.clock)())));
    }
    if let Some(cluster) = &*health.cluster.borrow() {
        checks.push(("kubernetes", Ok(cluster.lacks.clone())));
    }
    let failed = checks.iter().any(|(_, result)| result.is_err());
    let status = if failed {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let lines: String = checks.iter().map(|(name, check)| line(name, check)).collect();
    let notes =
        roles(health.missing_roles.borrow().as_deref()) + &notifications(health.notifications.note().as_deref());
    (status, lines + &notes).into_response()
}

/// Other roles are given out all the same, so this makes no server unready.
fn roles(missing: Option<&str>) -> String {
    missing.map_or_else(|| "[+]roles ok\n".to_owned(), |why| format!("[!]roles: {why}\n"))
}

/// Decisions are made all the same, so this makes no server unready either. Without webhooks there is nothing to say.
fn notifications(note: Option<&str>) -> String {
    match note {
        None => String::new(),
        Some("") => "[+]notifications ok\n".to_owned(),
        Some(why) => format!("[!]notifications: {why}\n"),
    }
}

/// One check, in the form of Kubernetes' own health endpoints
/// (<https://kubernetes.io/docs/reference/using-api/health-checks/>).
fn line(name: &str, check: &Check) -> String {
    match check {
        Ok(None) => format!("[+]{name} ok\n"),
        Ok(Some(note)) => format!("[+]{name} ok: {note}\n"),
        Err(why) => format!("[-]{name} failed: {why}\n"),
    }
}

async fn metrics(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    let mut text = String::new();
    let encoded = encode(&mut text, &health.operator_metrics);
    // One document of two registries: it ends once.
    text.truncate(text.trim_end_matches("# EOF\n").len());
    encoded_or_failed(
        &headers,
        encoded.and_then(|()| encode(&mut text, &health.metrics)),
        text,
    )
}

async fn operator_metrics(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    let mut text = String::new();
    let encoded = encode(&mut text, &health.operator_metrics);
    encoded_or_failed(&headers, encoded, text)
}

fn encoded_or_failed(headers: &HeaderMap, encoded: std::fmt::Result, text: String) -> Response {
    let format = Exposition::preferred(headers);
    match encoded {
        Ok(()) => (
            [(CONTENT_TYPE, format.content_type()), (VARY, "accept")],
            format.of(text),
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::http::request::Builder;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt;

    async fn answer(serving: bool, path: &str) -> (StatusCode, String) {
        answer_to(serving, Request::get(path)).await
    }

    async fn answer_to(serving: bool, request: Builder) -> (StatusCode, String) {
        let mut metrics = Registry::default();
        metrics.register("a", "A", Counter::<u64>::default());
        let mut operator_metrics = Registry::default();
        operator_metrics.register("b", "B", Counter::<u64>::default());
        let tailnet = LocalApi::new("/nowhere/tailscaled.sock");
        let null = std::path::Path::new("/dev/null");
        let (audit, _writer) =
            Audit::start(null, "tka", Arc::new(jiff::Timestamp::now), &Metrics::default(), 0).unwrap();
        let sessions = WatchHealth {
            synced: watch::channel(serving).1,
            failure: watch::channel(None).1,
            watch_activity: watch::channel(Instant::now()).1,
        };
        let missing = serving.then(|| "this cluster has no ClusterRole a".to_owned());
        let (_sender, missing_roles) = watch::channel(missing);
        let (_sender, serving) = watch::channel(serving.then_some(()).ok_or("still starting".to_owned()));
        let (_sender, certificate) = watch::channel(None);
        let lacks = Some("a feature".to_owned());
        let (_sender, cluster) = watch::channel(Some(Cluster {
            version: "v1.29".into(),
            lacks,
        }));
        let router = router(Arc::new(Health {
            tailnet,
            contact: Contact::default(),
            serving,
            certificate,
            cluster,
            clock: Arc::new(jiff::Timestamp::now),
            sessions,
            audit,
            missing_roles,
            notifications: Notifier::default(),
            metrics,
            operator_metrics,
        }));
        let request = request.body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn lives_without_tailscaled_and_is_not_ready() {
        assert_eq!(answer(false, "/livez").await.0, 200);
        let (status, body) = answer(true, "/readyz").await;
        assert_eq!(status, 503);
        for line in [
            "[-]tailnet failed: no tailscaled listens on /nowhere/tailscaled.sock",
            "[+]sessions ok",
            "[+]serving ok",
            "[+]audit ok",
            "[+]kubernetes ok: a feature",
            "[!]roles: this cluster has no ClusterRole a",
        ] {
            assert!(body.contains(line), "{body}");
        }
        let (_, starting) = answer(false, "/ready").await;
        assert!(starting.contains("[-]serving failed: still starting"), "{starting}");
        assert!(starting.contains("[-]sessions failed: still starting"), "{starting}");
        assert!(starting.contains("[+]roles ok"), "{starting}");
    }

    #[test]
    fn webhooks_have_a_line_where_there_are_any() {
        let lines = [None, Some(""), Some("pager: 2 wait")].map(notifications);
        assert_eq!(
            lines,
            ["", "[+]notifications ok\n", "[!]notifications: pager: 2 wait\n"]
        );
    }

    #[tokio::test]
    async fn both_registries_make_one_document() {
        let (_, all) = answer(true, "/metrics").await;
        assert!(all.contains("a_total 0") && all.contains("b_total 0"));
        assert_eq!(all.matches("# EOF").count(), 0);
        let openmetrics = Request::get("/metrics").header("accept", "application/openmetrics-text");
        let (_, all) = answer_to(true, openmetrics).await;
        assert!(all.contains("a_total 0") && all.contains("b_total 0"));
        assert_eq!(all.matches("# EOF").count(), 1);
        assert!(all.ends_with("# EOF\n"));
        assert!(!answer(true, "/metrics/controller").await.1.contains("a_total"));
    }
}
