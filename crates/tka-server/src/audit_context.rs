//! What is found out about a request on the way, for its audit records.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, Method, StatusCode};
use tka_api::http::PREFIX;
use tka_core::{Caller, Session, shorten};

use crate::answer::{Failure, RefusalCause};
use crate::browser::{made_by, refuse_issuing};
use crate::identified::Identified;
use crate::rates::Requester;

/// One request, and what is found out about it on the way, for its records.
#[derive(Debug)]
pub struct AuditContext {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) peer: Option<SocketAddr>,
    /// The header by which it shows that a browser sent it.
    browser: Option<HeaderName>,
    pub(crate) identified: OnceLock<Arc<Identified>>,
    pub(crate) by: OnceLock<Requester>,
    pub(crate) session: OnceLock<Session>,
    begun: OnceLock<()>,
}

// === impl AuditContext ===

impl AuditContext {
    pub(crate) fn new(request: &Request) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            method: request.method().clone(),
            path: shorten(request.uri().path()),
            peer: peer.map(|ConnectInfo(peer)| *peer),
            browser: made_by(request.headers()),
            identified: OnceLock::new(),
            by: OnceLock::new(),
            session: OnceLock::new(),
            begun: OnceLock::new(),
        }
    }

    /// The other end of the connection.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Refuses to issue a credential for it where any page can have had a browser send it.
    pub fn refuse_browser(&self) -> Result<(), Failure> {
        match &self.browser {
            Some(sign) if self.method.is_safe() => Err(refuse_issuing(sign.as_str())),
            _ => Ok(()),
        }
    }

    /// What is asked for is begun. What sees its end counts it.
    pub fn mark_begun(&self) {
        let _ = self.begun.set(());
    }

    /// Whether it is an attempt to sign in that came to its end before anything was begun.
    pub(crate) fn is_lost_sign_in(&self) -> bool {
        self.is_sign_in() && self.begun.get().is_none()
    }

    fn is_sign_in(&self) -> bool {
        self.method == Method::POST && self.path.strip_prefix(PREFIX) == Some("/login")
    }

    /// Who was refused a session and why, if that is what was asked for and it was refused. `kind` is that of a refusal. Too many
    /// requests have none, and are none of that.
    pub(crate) fn refused_a_session<'a>(
        &'a self,
        status: StatusCode,
        kind: Option<&str>,
        why: Option<&'a RefusalCause>,
    ) -> Option<(&'a Caller, &'a str)> {
        let refused = status.is_client_error() && (kind.is_some() || status != StatusCode::TOO_MANY_REQUESTS);
        (refused && self.is_sign_in()).then_some((&self.identified.get()?.caller, why?.0.as_str()))
    }

    /// It is known who asks, and whether it is they or a page. The first to say so is believed.
    pub fn set_caller(&self, identified: &Arc<Identified>, by: Requester) {
        let _ = self.identified.set(Arc::clone(identified));
        let _ = self.by.set(by);
    }

    /// It is known which session it is about.
    pub fn set_session(&self, session: &Session) {
        let _ = self.session.set(session.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_send_is_kept_in_short() {
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = format!("/{}", "x".repeat(60_000)).parse().unwrap();
        assert!(AuditContext::new(&request).path.len() < 200);
    }
}
