//! The audit log: every decision leaves a record, and nothing is given without one.
//!
//! This is the one place where records are made. A session, a credential, a stream, or a look at what is others' is given only once its record is
//! written ([`Records::began`](tka_operator::Records::began), [`Audit::credential_issued`], [`Audit::record_view`]). The gateway carries a request once
//! there is room for its record ([`Audit::reserve_slot`]). Whatever takes access away is not held up by its record. What is recorded is told to webhooks too,
//! which holds up nothing at all.

mod budget;
mod records;
mod search;
mod writer;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tka_api::Token;
use tka_api::audit::{self, Decision, Outcome, Record, Version, Who};
use tka_core::{Caller, Identity, Session};
use tka_operator::{Clock, Credential, EndReason, claims};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::App;
use crate::answer::{Failure, RefusalCause, RefusalKind, not_recorded, unwritable};
use crate::audit_context::AuditContext;
use crate::metrics::Metrics;
use crate::notifications::Notifier;
use crate::rates::Requester;

use self::budget::{Budget, RefusalBucket};
pub use self::records::RequestAudit;
pub use self::search::{AuditQuery, Found, LogPosition, SearchError};
use self::writer::Queue;
pub use self::writer::{AuditError, QueueSlot, Writer};

/// The longest credential ID that is believed to be one. The API server makes UUIDs.
const CREDENTIAL_ID_BYTES: usize = 128;

/// How long an end by oversight waits for the record of who asked for it. Taking access away waits for no disk.
const END_REQUESTED: Duration = Duration::from_secs(1);

/// How many searches in records run at the same time. Others wait.
const SEARCHES: usize = 2;

/// Makes records, and has them written.
#[derive(Clone)]
pub struct Audit {
    queue: Queue,
    /// Where records can be searched; none where they go to standard output.
    file: Option<Arc<Path>>,
    searches: Arc<Semaphore>,
    budget: Arc<Budget>,
    namespace: String,
    clock: Clock,
    metrics: Metrics,
    notifier: Notifier,
}

/// Gives every request its [`AuditContext`], and records those that do not get what they ask for, as far as their budget goes.
pub async fn audited(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let context = Arc::new(AuditContext::new(&request));
    request.extensions_mut().insert(Arc::clone(&context));
    let response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let why = response.extensions().get::<RefusalCause>();
        let kind = response.extensions().get::<RefusalKind>().map(|kind| kind.0);
        app.metrics.refused(status, kind);
        app.audit.refused(&context, status, why);
        if let Some((caller, why)) = context.refused_a_session(status, kind, why)
            && app.rates.allow_event(caller)
        {
            app.sessions.emit_refused_event(caller, why);
        }
        if context.is_lost_sign_in() {
            app.metrics.signed_in(None, Some(status));
        }
    }
    response
}

// === impl AuditError ===

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        not_recorded(&error)
    }
}

// === impl Audit ===

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

impl Audit {
    /// Starts to write records of the sessions in `namespace`: to the file at `path`, to standard output when it is empty or `-`. What
    /// is left out or lost is counted in `metrics`. As many as `kept` requests may be carried that have room for the record of their end.
    pub fn start(
        path: &Path,
        namespace: &str,
        clock: Clock,
        metrics: &Metrics,
        kept: usize,
    ) -> Result<(Self, Writer), AuditError> {
        let is_stdout = path.as_os_str().is_empty() || path == Path::new("-");
        let file = (!is_stdout).then_some(path);
        let (queue, writer) = writer::start(file, metrics.audit_lost.clone(), kept)?;
        let audit = Self {
            queue,
            file: file.map(Arc::from),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            budget: Arc::new(Budget::new(metrics.audit_suppressed.clone())),
            namespace: namespace.into(),
            clock,
            metrics: metrics.clone(),
            notifier: Notifier::default(),
        };
        Ok((audit, writer))
    }

    /// The same, which tells `notifier` of each decision that is recorded.
    #[must_use]
    pub fn telling(self, notifier: Notifier) -> Self {
        Self { notifier, ..self }
    }

    /// Records that `session` began, or that it was `extended`. Unless this returns well nothing may be given.
    async fn signed_in(&self, context: &AuditContext, session: &Session, extended: bool) -> Result<(), AuditError> {
        let record = Record {
            session: Some(self.session(session)),
            ..self.of_request(context, given(extended), Outcome::Granted)
        };
        self.write(&record).await
    }

    /// Records that `credential` is issued. Unless this returns well it must not be handed out.
    pub async fn credential_issued(
        &self,
        context: &AuditContext,
        session: &Session,
        credential: &Credential,
    ) -> Result<(), AuditError> {
        let record = Record {
            session: Some(self.session(session)),
            credential: Some(audit::Credential {
                id: credential_id(&credential.token),
                expires: credential.expires,
            }),
            ..self.of_request(context, Decision::CredentialIssued, Outcome::Granted)
        };
        self.write(&record).await?;
        self.metrics.credentials.inc();
        Ok(())
    }

    /// Records that a way into a pod or node is opened for `session`. Unless this returns well it must not be.
    pub async fn stream_begins(
        &self,
        context: &AuditContext,
        session: &Session,
        request: &audit::ApiRequest,
    ) -> Result<(), AuditError> {
        let record = Record {
            session: Some(self.session(session)),
            api: Some(request.clone()),
            ..self.of_request(context, Decision::StreamBegan, Outcome::Granted)
        };
        self.write(&record).await
    }

    /// Records that the caller of `context` is shown what `look` says. Unless this returns well nothing may be shown.
    pub async fn record_view(&self, context: &AuditContext, look: audit::Look) -> Result<(), AuditError> {
        let record = Record {
            look: Some(look),
            ..self.of_request(context, Decision::Looked, Outcome::Granted)
        };
        self.write(&record).await
    }

    /// Searches the records that this server keeps in files. A thread of its own does it, which goes on where the caller hangs up, and no longer than some seconds.
    pub async fn search(&self, question: AuditQuery) -> Result<Found, SearchError> {
        let file = self.file.clone().ok_or(SearchError::NoFile)?;
        let failed = |path: &Path, source| SearchError::Io {
            path: path.to_owned(),
            source,
        };
        let turn = Arc::clone(&self.searches).acquire_owned().await;
        let turn = turn.map_err(|error| failed(&file, io::Error::other(error)))?;
        let path = Arc::clone(&file);
        let searched = spawn_blocking(move || {
            let _turn = turn;
            search::search(&path, &question)
        });
        let searched = searched.await;
        searched.unwrap_or_else(|error| Err(failed(&file, io::Error::other(error))))
    }

    /// Records that the caller of `context` has oversight and ends `session`, because of `why` if they say. Returns when the record is written, or left to be
    /// written for longer than an end may wait for it.
    pub async fn end_requested(&self, context: &AuditContext, session: &Session, why: Option<String>) {
        let record = Record {
            session: Some(self.session(session)),
            why,
            ..self.of_request(context, Decision::EndRequested, Outcome::Granted)
        };
        // What is not written in time stays in the queue.
        let _ = timeout(END_REQUESTED, self.write_or_log(&record)).await;
    }

    /// Records that a request of `session` was carried and is over, and `why` it was cut, if it was.
    pub fn proxied(
        &self,
        room: QueueSlot,
        context: &AuditContext,
        session: &Session,
        request: audit::ApiRequest,
        why: Option<String>,
    ) {
        let record = Record {
            session: Some(self.session(session)),
            api: Some(request),
            why,
            ..self.of_request(context, Decision::Carried, Outcome::Granted)
        };
        room.leave(line(&record));
        self.notifier.tell(&record);
    }

    /// Keeps room for the record of a request that is to be carried, if it would be written as far as is known. Unless this returns well the request must
    /// not be carried.
    pub async fn reserve_slot(&self) -> Result<QueueSlot, Failure> {
        self.queue.check().await.map_err(|why| unwritable(&why))?;
        Ok(self.queue.room()?)
    }

    /// Records that `session` was ended by its owner.
    async fn signed_out(&self, context: &AuditContext, session: &Session) {
        log_end(session, &EndReason::SignedOut);
        self.metrics.ended(&EndReason::SignedOut);
        let record = Record {
            session: Some(self.session(session)),
            ..self.of_request(context, Decision::SignedOut, Outcome::Ended)
        };
        self.write_or_log(&record).await;
    }

    /// Records that `session` began, or that it was `extended`, by a sign-in that was cut off before it could record that.
    async fn completed(&self, session: &Session, extended: bool) -> Result<(), AuditError> {
        let record = self.about(session, given(extended), Outcome::Granted);
        self.write(&record).await
    }

    /// Records that `session` began, or that it was `extended`, because others approved it.
    pub(crate) async fn approved(
        &self,
        session: &Session,
        extended: bool,
        approval: audit::Approval,
    ) -> Result<(), AuditError> {
        let record = Record {
            approval: Some(approval),
            ..self.about(session, given(extended), Outcome::Granted)
        };
        self.write(&record).await
    }

    /// Has `record` written. Unless this returns well, what it says must not be done.
    pub(crate) async fn write(&self, record: &Record) -> Result<(), AuditError> {
        self.queue.write(line(record)).await?;
        self.notifier.tell(record);
        Ok(())
    }

    /// Has `record` written, or kept elsewhere where that fails.
    pub(crate) async fn write_or_log(&self, record: &Record) {
        self.notifier.tell(record);
        self.queue.keep(line(record)).await;
    }

    /// Records that `session` ended, without its owner asking.
    async fn ended(&self, session: &Session, how: &EndReason) {
        log_end(session, how);
        self.metrics.ended(how);
        let (decision, outcome, why) = match how {
            EndReason::SignedOut => (Decision::SignedOut, Outcome::Ended, None),
            EndReason::Expired => (Decision::Expired, Outcome::Ended, None),
            EndReason::Idle => (Decision::Idle, Outcome::Ended, None),
            EndReason::Revoked(why) => (Decision::Revoked, Outcome::Ended, Some(why.clone())),
            EndReason::Refused(why) => (Decision::Refused, Outcome::Refused, Some(why.clone())),
            EndReason::TakenDown => (Decision::TakenDown, Outcome::Ended, None),
            EndReason::Broken => (Decision::TakenDown, Outcome::Ended, Some(how.to_string())),
        };
        let record = Record {
            why,
            ..self.about(session, decision, outcome)
        };
        self.write_or_log(&record).await;
    }

    /// Whether records can be written, tried anew where the last could not.
    pub async fn check(&self) -> Result<(), String> {
        self.queue.check().await
    }

    /// Records how many refusals were left out since that was last told, if any: no other record may follow that tells it.
    pub fn tell_left_out(&self) {
        let record = self.record(Decision::Refused, Outcome::Refused);
        if record.suppressed.is_some() {
            let why = Some("the server stops; these refusals have no record of their own".to_owned());
            self.leave(&Record { why, ..record });
        }
    }

    /// Records that the request of `context` was refused and says so in the log, or counts that it did not.
    pub(crate) fn refused(&self, context: &AuditContext, status: StatusCode, why: Option<&RefusalCause>) {
        if !self.budget.spend(payer(context)) {
            return;
        }
        let outcome = if status.is_server_error() {
            Outcome::Failed
        } else {
            Outcome::Refused
        };
        let why = why.map(|why| why.0.clone());
        let mut record = Record {
            session: context.session.get().map(|session| self.session(session)),
            why: why.or_else(|| status.canonical_reason().map(Into::into)),
            ..self.of_request(context, Decision::Refused, outcome)
        };
        if let Some(request) = &mut record.request {
            request.status = Some(status.as_u16());
        }
        tracing::warn!(
            username = context.identified.get().map(|identified| identified.caller.username()),
            path = context.path,
            status = status.as_u16(),
            reason = record.why,
            "refused"
        );
        self.leave(&record);
    }

    fn leave(&self, record: &Record) {
        self.queue.leave(line(record));
        self.notifier.tell(record);
    }

    pub(crate) fn of_request(&self, context: &AuditContext, decision: Decision, outcome: Outcome) -> Record {
        let subject = context.identified.get();
        let subject = subject.map(|identified| caller(&identified.caller, &identified.addresses));
        let (who, device) = subject.unzip();
        Record {
            who,
            device,
            request: Some(audit::Request {
                method: context.method.to_string(),
                path: context.path.clone(),
                peer: context.peer.map(|peer| peer.to_string()),
                status: None,
            }),
            ..self.record(decision, outcome)
        }
    }

    fn about(&self, session: &Session, decision: Decision, outcome: Outcome) -> Record {
        Record {
            session: Some(self.session(session)),
            ..self.of_caller(&session.caller, decision, outcome)
        }
    }

    /// A record about one who is not at the other end of a connection.
    pub(crate) fn of_caller(&self, of: &Caller, decision: Decision, outcome: Outcome) -> Record {
        let (who, device) = caller(of, &[]);
        Record {
            who: Some(who),
            device: Some(device),
            ..self.record(decision, outcome)
        }
    }

    fn record(&self, decision: Decision, outcome: Outcome) -> Record {
        Record {
            version: Version::V1,
            time: (self.clock)(),
            decision,
            outcome,
            who: None,
            device: None,
            session: None,
            credential: None,
            request: None,
            api: None,
            approval: None,
            break_glass: None,
            look: None,
            why: None,
            suppressed: self.budget.left_out(),
        }
    }

    pub(crate) fn session(&self, session: &Session) -> audit::Session {
        let rule = &session.rule;
        audit::Session {
            name: session.name().to_string(),
            namespace: self.namespace.clone(),
            rule: audit::Rule {
                role: rule.role.to_string(),
                namespaces: rule.scope.to_names(),
                name: rule.name.as_ref().map(ToString::to_string),
                period: session.period.to_string(),
            },
            until: session.until(),
            label: session.label.as_ref().map(|label| label.as_str().into()),
            reason: session.reason.as_ref().map(|reason| reason.as_str().into()),
        }
    }
}

/// Whose budget pays for a record that the request of `context` is refused.
fn payer(context: &AuditContext) -> RefusalBucket<'_> {
    match (context.identified.get(), context.by.get()) {
        (None, _) => RefusalBucket::Unidentified,
        (Some(identified), Some(Requester::BrowserPage)) => RefusalBucket::BrowserPage(&identified.caller),
        (Some(identified), _) => RefusalBucket::Caller(&identified.caller),
    }
}

fn caller(caller: &Caller, addresses: &[IpAddr]) -> (Who, audit::Device) {
    let who = match &caller.identity {
        Identity::User { id, login_name } => Who::User {
            id: id.0,
            login_name: login_name.clone(),
        },
        Identity::Machine { tags } => Who::Machine { tags: tags.clone() },
    };
    let device = audit::Device {
        stable_id: caller.device.stable_id.clone(),
        name: caller.device.name.clone(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    (who, device)
}

fn given(extended: bool) -> Decision {
    if extended {
        Decision::Extended
    } else {
        Decision::SignedIn
    }
}

/// For people who read the log: the record says more.
fn log_end(session: &Session, how: &EndReason) {
    let (session, username) = (session.name(), session.caller.username());
    tracing::info!(%session, username, reason = %how, "session ended");
}

/// JSON escapes line breaks, so that whatever a caller says stays on its line.
fn line(record: &Record) -> Vec<u8> {
    // Nothing in a record fails to serialize: no map, no float, no path.
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The ID in a token (`jti`, RFC 7519), by which the API server's audit log names it
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/#authentication-kubernetes-io-credential-id>).
/// A token of another form has none.
fn credential_id(token: &Token) -> Option<String> {
    let claims = claims(token)?;
    let id = claims.get("jti")?.as_str()?;
    (!id.is_empty() && id.len() <= CREDENTIAL_ID_BYTES).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identified::Identified;
    use axum::extract::ConnectInfo;
    use axum::http::Method;
    use base64::Engine as _;
    use proptest::prelude::*;
    use std::fs;
    use std::net::SocketAddr;
    use tka_core::{Device, Limits, Request as Wanted, Revocation, Rule};
    use tka_operator::Records;

    fn time(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    fn identified() -> Identified {
        Identified {
            caller: Caller {
                identity: Identity::user(7, "alice@example.com\n{\"forged\": 1}"),
                device: Device::new("n1", "laptop"),
            },
            values: Vec::new(),
            oversight: Vec::new(),
            addresses: vec!["100.64.0.2".parse().unwrap()],
            expired: false,
            asked_at: tokio::time::Instant::now(),
        }
    }

    fn session() -> Session {
        let rule = r#"{"role": "view", "period": "1h", "namespaces": ["dev"], "name": "oncall"}"#;
        let wanted = Wanted {
            reason: Some("pager 4711".to_owned().try_into().unwrap()),
            ..Wanted::default()
        };
        let now = time("2026-01-02T15:04:05Z");
        let rule = Rule::parse(rule).unwrap();
        Session::new(identified().caller, &rule, &wanted, Limits::none(), now).unwrap()
    }

    fn token(payload: &str) -> Token {
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload);
        Token::from(format!("e30.{payload}.c2lnbmF0dXJl"))
    }

    fn context() -> AuditContext {
        let mut request = Request::new(axum::body::Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/api/v1alpha1/login?x=secret".parse().unwrap();
        let peer: SocketAddr = "100.64.0.2:5".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        AuditContext::new(&request)
    }

    /// Every line must be a record as the documented schema has it.
    fn records(path: &Path) -> Vec<Record> {
        let schema = include_str!("../../../../docs/audit.schema.json");
        let schema = jsonschema::options()
            .should_validate_formats(true)
            .build(&serde_json::from_str(schema).unwrap())
            .unwrap();
        let read = |line: &str| {
            let line = serde_json::from_str(line).unwrap();
            schema.validate(&line).unwrap();
            serde_json::from_value(line).unwrap()
        };
        fs::read_to_string(path).unwrap().lines().map(read).collect()
    }

    #[tokio::test]
    async fn every_decision_is_a_line_that_the_schema_describes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let clock: Clock = Arc::new(|| time("2026-01-02T15:04:05.678901Z"));
        let (audit, writer) = Audit::start(&path, "tka", clock, &Metrics::default(), 0).unwrap();
        let (known, unknown) = (context(), context());
        known.set_caller(&Arc::new(identified()), Requester::Caller);
        known.set_session(&session());
        let credential = Credential {
            token: token(r#"{"jti": "4711-a"}"#),
            expires: time("2026-01-02T15:30:00Z"),
        };
        audit.signed_in(&known, &session(), false).await.unwrap();
        audit.signed_in(&known, &session(), true).await.unwrap();
        audit.credential_issued(&known, &session(), &credential).await.unwrap();
        audit.refused(&known, StatusCode::FORBIDDEN, Some(&RefusalCause("no\nrule".into())));
        audit.refused(&unknown, StatusCode::INTERNAL_SERVER_ERROR, None);
        let (by_loop, by_request) = (audit.clone(), RequestAudit::new(&audit, &Arc::new(known)));
        by_request.ended(&session(), &EndReason::SignedOut).await;
        // The answer to the request has a record that says so.
        by_request.ended(&session(), &EndReason::Refused("no".into())).await;
        Records::ended(&by_loop, &session(), &EndReason::Expired).await;
        let gone = EndReason::Revoked(Revocation::RuleGone.to_string());
        Records::ended(&by_loop, &session(), &gone).await;
        Records::ended(&by_loop, &session(), &EndReason::TakenDown).await;
        by_loop.began(&session(), false).await.unwrap();
        Records::ended(&by_loop, &session(), &EndReason::Refused("no".into())).await;
        Records::ended(&by_loop, &session(), &EndReason::SignedOut).await;
        writer.finish().await;

        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(credential.token.expose()) && !text.contains("x=secret"));
        let records = records(&path);
        let decisions: Vec<_> = records.iter().map(|record| (record.decision, record.outcome)).collect();
        assert_eq!(
            decisions,
            [
                (Decision::SignedIn, Outcome::Granted),
                (Decision::Extended, Outcome::Granted),
                (Decision::CredentialIssued, Outcome::Granted),
                (Decision::Refused, Outcome::Refused),
                (Decision::Refused, Outcome::Failed),
                (Decision::SignedOut, Outcome::Ended),
                (Decision::Expired, Outcome::Ended),
                (Decision::Revoked, Outcome::Ended),
                (Decision::TakenDown, Outcome::Ended),
                (Decision::SignedIn, Outcome::Granted),
                (Decision::Refused, Outcome::Refused),
                (Decision::SignedOut, Outcome::Ended),
            ]
        );
        let issued = &records[2];
        assert_eq!(issued.credential.as_ref().unwrap().id.as_deref(), Some("4711-a"));
        assert_eq!(issued.device.as_ref().unwrap().addresses, ["100.64.0.2"]);
        let session = issued.session.as_ref().unwrap();
        let rule = (session.rule.role.as_str(), session.rule.name.as_deref());
        assert_eq!(rule, ("view", Some("oncall")));
        assert_eq!(session.reason.as_deref(), Some("pager 4711"));
        let request = |at: usize| records[at].request.as_ref().unwrap();
        let why = |at: usize| records[at].why.as_deref();
        assert_eq!((request(3).status, why(3)), (Some(403), Some("no\nrule")));
        assert_eq!((&records[4].who, &records[4].session), (&None, &None));
        assert_eq!(request(4).peer.as_deref(), Some("100.64.0.2:5"));
        assert_eq!(why(7), Some(Revocation::RuleGone.to_string().as_str()));
        let is_by_loop = |record: &Record| record.request.is_none() && record.session.is_some();
        assert!(records[9..].iter().all(is_by_loop));
        assert_eq!(why(10), Some("no"));
        assert!(text.contains(r#""time":"2026-01-02T15:04:05.678901Z""#));
    }

    // cases.md 11.2
    #[tokio::test]
    async fn storm_of_refusals_is_few_records_that_say_how_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let clock: Clock = Arc::new(|| time("2026-01-02T15:04:05Z"));
        let metrics = Metrics::default();
        let (audit, writer) = Audit::start(&path, "tka", clock, &metrics, 0).unwrap();
        let known = context();
        known.set_caller(&Arc::new(identified()), Requester::Caller);
        for _ in 0..400 {
            audit.refused(&known, StatusCode::FORBIDDEN, Some(&RefusalCause("no rule".into())));
        }
        // What is given is recorded whatever went before, and tells what was left out.
        for _ in 0..100 {
            audit.signed_in(&known, &session(), true).await.unwrap();
        }
        for _ in 0..100 {
            audit.refused(&context(), StatusCode::INTERNAL_SERVER_ERROR, None);
        }
        audit.tell_left_out();
        audit.tell_left_out();
        writer.finish().await;

        let records = records(&path);
        let of = |decision| records.iter().filter(move |record| record.decision == decision);
        let refused_caller = of(Decision::Refused).filter(|record| record.who.is_some()).count();
        // The budget's clock goes on, on a busy machine too.
        assert!((20..=100).contains(&refused_caller), "{refused_caller}");
        assert_eq!(of(Decision::Extended).count(), 100);
        let told: Vec<u64> = records.iter().filter_map(|record| record.suppressed).collect();
        let all =
            of(Decision::Refused).filter(|record| record.request.is_some()).count() as u64 + told.iter().sum::<u64>();
        assert_eq!(all, 500);
        assert_eq!(told.iter().sum::<u64>(), metrics.audit_suppressed.get());
        assert!(of(Decision::Extended).next().unwrap().suppressed.is_some());
        assert!(records.last().unwrap().suppressed.is_some());
    }

    // A receiver that takes connections and answers none.
    #[tokio::test]
    async fn decisions_wait_for_no_webhook() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let hook = serde_json::json!([{"name": "a", "url": url, "format": "slack", "events": ["signed_in"]}]);
        let settings = serde_json::from_value(serde_json::json!({"webhooks": hook})).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let (clock, metrics): (Clock, _) = (Arc::new(jiff::Timestamp::now), Metrics::default());
        let (notifier, delivery) = crate::notifications::start(&settings, "tka", &clock, &metrics);
        let (audit, writer) = Audit::start(&path, "tka", clock, &metrics, 0).unwrap();
        let audit = audit.telling(notifier.clone());
        let began = std::time::Instant::now();
        for _ in 0..400 {
            audit.began(&session(), false).await.unwrap();
        }
        assert!(
            began.elapsed() < std::time::Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        writer.finish().await;
        assert_eq!(records(&path).len(), 400);
        let of_hook = metrics.notifications.of("a");
        assert_eq!((of_hook.waiting.get(), of_hook.dead.get()), (256, 144));
        assert!(notifier.note().unwrap().contains("144 were given up of late"));
        // Neither does the end of the process.
        delivery.finish().await;
        assert!(
            began.elapsed() < std::time::Duration::from_secs(12),
            "{:?}",
            began.elapsed()
        );
        assert_eq!((of_hook.delivered.get(), of_hook.dead.get()), (0, 400));
    }

    #[test]
    fn credential_is_known_by_its_jti() {
        assert_eq!(credential_id(&token(r#"{"jti": "a-b"}"#)).as_deref(), Some("a-b"));
        for odd in [r#"{"jti": 7}"#, r#"{"jti": ""}"#, "{}", "[]", "no JSON"] {
            assert_eq!(credential_id(&token(odd)), None);
        }
        let long = format!(r#"{{"jti": "{}"}}"#, "a".repeat(CREDENTIAL_ID_BYTES + 1));
        assert_eq!(credential_id(&token(&long)), None);
        assert_eq!(credential_id(&Token::from("opaque".to_owned())), None);
    }

    proptest! {
        #[test]
        fn any_token_is_tolerated(text in ".*", payload in ".*") {
            let _ = credential_id(&Token::from(text));
            let _ = credential_id(&token(&payload));
        }
    }
}
