//! The record of each request that is carried.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use tka_api::audit;
use tka_core::{Session, shorten};
use tka_gateway::request_info::{PodAccess, parameters};
use tka_gateway::{Counter, RequestInfo};
use tka_recording::RecordingName;
use tokio::time::Instant;

use super::access::AuthorizedRequest;
use crate::App;
use crate::answer::Failure;
use crate::audit::{Audit, QueueSlot};
use crate::audit_context::AuditContext;
use crate::config::GatewayAudit;
use crate::metrics::InFlightRequest;

/// How many ports or words of a command are recorded.
const ITEMS: usize = 64;

/// What is recorded of one request, when it is over: dropping this records it.
#[derive(Debug)]
pub(super) struct RequestRecord {
    audit: Audit,
    context: Arc<AuditContext>,
    session: Session,
    request: audit::ApiRequest,
    interactive: Option<PodAccess>,
    /// Whether the level wants it.
    is_wanted: bool,
    began: Instant,
    sent: Counter,
    received: Counter,
    /// For its record.
    room: Option<QueueSlot>,
    why: Option<String>,
    /// From when it was sent. What was refused before has another record.
    under_way: Option<InFlightRequest>,
}

// === impl RequestRecord ===

impl RequestRecord {
    pub(super) fn new(
        app: &App,
        level: GatewayAudit,
        context: &Arc<AuditContext>,
        access: &AuthorizedRequest,
        head: &Parts,
    ) -> Self {
        let interactive = access.interactive;
        let is_wanted = interactive.is_some() || is_wanted(level, &access.info);
        Self {
            audit: app.audit.clone(),
            context: Arc::clone(context),
            session: access.live.session.clone(),
            request: described(access.info.clone(), interactive, access, head),
            interactive,
            is_wanted,
            began: Instant::now(),
            sent: Counter::default(),
            received: Counter::default(),
            room: None,
            why: None,
            under_way: None,
        }
    }

    /// What is recorded before the request is carried. Unless this returns well it must not be.
    pub(super) async fn before(&mut self) -> Result<(), Failure> {
        if self.is_wanted {
            self.room = Some(self.audit.reserve_slot().await?);
        }
        if self.interactive.is_some() {
            let recorded = self.audit.stream_begins(&self.context, &self.session, &self.request);
            recorded.await?;
        }
        Ok(())
    }

    /// What is carried is recorded under this name.
    pub(super) fn recorded(&mut self, recording: &RecordingName) {
        self.request.recording = Some(recording.to_string());
    }

    /// It is not, although it was to be.
    pub(super) fn not_recorded(&mut self) {
        self.request.recording = None;
    }

    pub(super) fn audit_id(&self) -> &str {
        &self.request.audit_id
    }

    pub(super) fn sent(&self) -> &Counter {
        &self.sent
    }

    pub(super) fn received(&self) -> &Counter {
        &self.received
    }

    /// It is sent from now on, so that it may be carried out whatever is heard of it.
    pub(super) fn mark_sent(&mut self, under_way: InFlightRequest) {
        self.under_way = Some(under_way);
    }

    /// What went wrong: no answer came, the stream was cut, or its recording is not whole. The last word counts.
    pub(super) fn set_cause(&mut self, why: &dyn std::fmt::Display) {
        self.why = Some(why.to_string());
    }

    /// The API server answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.request.status = Some(status.as_u16());
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let Some(under_way) = self.under_way.take() else {
            return;
        };
        let (sent, received) = (self.sent.get(), self.received.get());
        under_way.over(self.request.status, [sent, received]);
        let Some(room) = self.room.take() else {
            return;
        };
        let mut request = std::mem::take(&mut self.request);
        request.sent_bytes = Some(sent);
        request.received_bytes = Some(received);
        request.milliseconds = u64::try_from(self.began.elapsed().as_millis()).ok();
        self.audit
            .proxied(room, &self.context, &self.session, request, self.why.take());
    }
}

/// Whether a request has a record at that level.
fn is_wanted(level: GatewayAudit, info: &RequestInfo) -> bool {
    match level {
        GatewayAudit::None => info.interactive().is_some(),
        GatewayAudit::Writes => !info.is_read(),
        GatewayAudit::All => true,
    }
}

fn described(
    info: RequestInfo,
    interactive: Option<PodAccess>,
    access: &AuthorizedRequest,
    head: &Parts,
) -> audit::ApiRequest {
    let query = access.target.query().unwrap_or_default();
    let listed = |name: &'static str| -> Vec<String> {
        let values = parameters(query, name).take(ITEMS);
        values.map(|value| shorten(&value)).collect()
    };
    let is_exec = interactive == Some(PodAccess::Exec);
    let agent = head.headers.get(USER_AGENT);
    audit::ApiRequest {
        audit_id: audit_id(),
        verb: info.verb,
        path: (!info.is_resource).then(|| shorten(access.target.path())),
        group: info.group,
        version: info.version,
        resource: info.resource,
        subresource: info.subresource,
        namespace: shorten(&info.namespace),
        name: shorten(&info.name),
        container: is_exec.then(|| listed("container").into_iter().next()).flatten(),
        command: if is_exec { listed("command") } else { Vec::new() },
        ports: if interactive == Some(PodAccess::PortForward) {
            listed("ports")
        } else {
            Vec::new()
        },
        user_agent: agent.map(|agent| shorten(&String::from_utf8_lossy(agent.as_bytes()))),
        ..audit::ApiRequest::default()
    }
}

/// A random UUID (RFC 9562, version 4), as the API server makes them.
fn audit_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Method;
    use tka_gateway::Target;

    fn info(method: &Method, path: &str) -> RequestInfo {
        let target = Target::parse(&format!("/k8s{path}").parse().unwrap()).unwrap();
        RequestInfo::new(method, &target)
    }

    #[test]
    fn ways_into_pods_are_always_wanted() {
        let levels = [GatewayAudit::None, GatewayAudit::Writes, GatewayAudit::All];
        let wanted = |method: Method, path: &str| levels.map(|level| is_wanted(level, &info(&method, path)));
        let pod = "/api/v1/namespaces/a/pods/b";
        for way in ["exec", "%65xec", "attach", "portforward", "proxy/x"] {
            assert_eq!(wanted(Method::GET, &format!("{pod}/{way}")), [true; 3], "{way}");
        }
        assert_eq!(wanted(Method::PATCH, &format!("{pod}/ephemeralcontainers")), [true; 3]);
        assert_eq!(wanted(Method::DELETE, pod), [false, true, true]);
        assert_eq!(wanted(Method::GET, pod), [false, false, true]);
        assert_eq!(wanted(Method::GET, &format!("{pod}/log")), [false, false, true]);
    }
}
