//! Kubernetes Events about sessions: what `kubectl describe signin` shows happened. Those about sign-ins that came to no session are about
//! the server's own ServiceAccount, and those about what a server lacks are about its pod.
//!
//! They are a courtesy to people; the audit log is the record. Telling one delays nothing and fails nothing: what cannot be told
//! is dropped.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource};
use tka_api::resource::TkaSignin;
use tka_core::{Caller, Session};
use tokio::sync::mpsc;

use crate::approval::{ApprovalRequest, Vote};
use crate::emergency::UnacknowledgedSignIns;
use crate::error::with_causes;
use crate::waiting::WaitingSignIn;
use crate::{EndReason, Error};

/// What reports them.
const CONTROLLER: &str = "tka.specht-labs.de/tka-server";
/// How many may wait to be told.
const QUEUE: usize = 256;
/// How long telling one may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest note that Kubernetes takes, in bytes
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
const NOTE_BYTES: usize = 1024;
/// What a token that is bound to a pod says of it
/// (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>).
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Tells events, one after the other, beside whatever else is going on.
pub(crate) struct Events(mpsc::Sender<(Event, Regarding)>);

/// What an event is about.
enum Regarding {
    Session(ObjectReference),
    Server,
    Pod,
}

/// What this server is in its cluster.
#[derive(Clone, Debug)]
struct ServerReference {
    account: ObjectReference,
    /// None where it does not run in a pod.
    pod: Option<ObjectReference>,
}

// === impl Events ===

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Starts to tell events. Within an async runtime.
    pub(crate) fn start(client: Client) -> Self {
        let (sender, mut waiting) = mpsc::channel::<(Event, Regarding)>(QUEUE);
        let recorder = Recorder::new(client.clone(), CONTROLLER.into());
        tokio::spawn(async move {
            let mut server = None;
            while let Some((event, about)) = waiting.recv().await {
                let publish = async {
                    let regarding = match about {
                        Regarding::Session(regarding) => regarding,
                        Regarding::Server => known(&mut server, &client).await?.account,
                        Regarding::Pod => known(&mut server, &client).await?.at_best_pod(),
                    };
                    recorder.publish(&event, &regarding).await
                };
                match tokio::time::timeout(LIMIT, publish).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(event = event.reason, %error, "event not published"),
                    Err(_) => tracing::debug!(event = event.reason, reason = "timeout", "event not published"),
                }
            }
        });
        Self(sender)
    }

    pub(crate) fn signed_in(&self, signin: &TkaSignin, session: &Session, extended: bool) {
        let (reason, action) = if extended {
            ("Extended", "Extend")
        } else {
            ("SignedIn", "SignIn")
        };
        let (username, device) = (session.caller.username(), &session.caller.device.name);
        let (role, until) = (&session.rule.role, session.until());
        let note = format!("{username} on {device} has the role {role} until {until}");
        self.tell(signin, event(EventType::Normal, reason, action, note));
    }

    /// A sign-in waits for others.
    pub(crate) fn approval_requested(&self, signin: &TkaSignin, waiting: &WaitingSignIn) {
        let (username, device) = (waiting.caller.username(), &waiting.caller.device.name);
        let (role, request) = (&waiting.rule.role, &waiting.request);
        let reason = request.reason.as_deref().map(|reason| format!(": {reason}"));
        let note = format!(
            "{username} on {device} asks for the role {role} for {}, and waits for {} to approve until {}{}",
            request.period,
            request.needed,
            request.expires,
            reason.unwrap_or_default()
        );
        self.tell(signin, event(EventType::Normal, "ApprovalRequested", "Ask", note));
    }

    /// What was decided of a request: what is in `after` and not in `before`.
    pub(crate) fn decided(&self, signin: &TkaSignin, before: &ApprovalRequest, after: &ApprovalRequest) {
        let said = |vote: &Vote| {
            vote.comment
                .as_ref()
                .map(|comment| format!(": {comment}"))
                .unwrap_or_default()
        };
        let new = after.approvals.iter().filter(|vote| !before.approvals.contains(vote));
        for vote in new {
            let note = format!("{} approved it{}", vote.username, said(vote));
            self.tell(signin, event(EventType::Normal, "Approved", "Approve", note));
        }
        if let (None, Some(vote)) = (&before.denial, &after.denial) {
            let note = format!("{} denied it{}", vote.username, said(vote));
            self.tell(signin, event(EventType::Warning, "Denied", "Deny", note));
        }
    }

    /// A session was signed in to in an emergency.
    pub(crate) fn break_glass(&self, signin: &TkaSignin, session: &Session) {
        let (username, device) = (session.caller.username(), &session.caller.device.name);
        let reason = session.reason.as_ref().map(ToString::to_string).unwrap_or_default();
        let note = format!(
            "{username} on {device} has the role {} in an emergency: {reason}. Another is to acknowledge it",
            session.rule.role
        );
        self.tell(signin, event(EventType::Warning, "BreakGlass", "SignIn", note));
    }

    /// None has acknowledged that. The session may be over by now.
    pub(crate) fn unacknowledged(&self, emergency: &UnacknowledgedSignIns) {
        let (username, role, name) = (emergency.caller.username(), &emergency.rule.role, &emergency.name);
        let note = format!(
            "{username} had the role {role} in an emergency, and none has acknowledged it: tka approvals acknowledge {name}"
        );
        let unacknowledged = Event {
            secondary: Some(person(&emergency.caller)),
            ..event(EventType::Warning, "BreakGlassUnacknowledged", "Acknowledge", note)
        };
        self.send(unacknowledged, Regarding::Server);
    }

    /// An extension: what there is goes on as it was.
    pub(crate) fn refused(&self, signin: &TkaSignin, error: &Error) {
        let note = with_causes(error);
        self.tell(signin, event(EventType::Warning, "Refused", "SignIn", note));
    }

    pub(crate) fn ended(&self, signin: &TkaSignin, how: &EndReason) {
        let (type_, reason) = match how {
            EndReason::SignedOut => (EventType::Normal, "SignedOut"),
            EndReason::Expired => (EventType::Normal, "Expired"),
            EndReason::Idle => (EventType::Normal, "Idle"),
            EndReason::Revoked(_) => (EventType::Warning, "Revoked"),
            EndReason::Refused(_) => (EventType::Warning, "Refused"),
            EndReason::TakenDown => (EventType::Warning, "TakenDown"),
            EndReason::Broken => (EventType::Warning, "Broken"),
        };
        self.tell(signin, event(type_, reason, "End", how.to_string()));
    }

    /// `caller` was refused a session, and `why`.
    pub(crate) fn refused_session(&self, caller: &Caller, why: &str) {
        let note = format!("{} on {}: {why}", caller.username(), caller.device.name);
        let refused = Event {
            secondary: Some(person(caller)),
            ..event(EventType::Warning, "Refused", "SignIn", note)
        };
        self.send(refused, Regarding::Server);
    }

    /// The cluster lacks roles that this server may give.
    pub(crate) fn missing_roles(&self, what: &str) {
        let event = event(EventType::Warning, "MissingRoles", "Check", what.to_owned());
        self.send(event, Regarding::Pod);
    }

    fn tell(&self, signin: &TkaSignin, event: Event) {
        self.send(event, Regarding::Session(signin.object_ref(&())));
    }

    fn send(&self, event: Event, about: Regarding) {
        if self.0.try_send((event, about)).is_err() {
            tracing::debug!(reason = "queue full", "event not published");
        }
    }
}

/// The subject that an event is about beside its object, in the words of RBAC. Events that differ by this alone are not counted as one.
fn person(caller: &Caller) -> ObjectReference {
    ObjectReference {
        api_version: Some("rbac.authorization.k8s.io/v1".into()),
        kind: Some("User".into()),
        name: Some(caller.username().into()),
        ..ObjectReference::default()
    }
}

/// What this server is, asked for once.
async fn known(server: &mut Option<ServerReference>, client: &Client) -> kube::Result<ServerReference> {
    if let Some(server) = server {
        return Ok(server.clone());
    }
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = SelfSubjectReview::default();
    let review = reviews.create(&PostParams::default(), &review).await?;
    let user = review.status.and_then(|status| status.user_info).unwrap_or_default();
    Ok(server.insert(ServerReference::of(user)).clone())
}

// === impl ServerReference ===

impl ServerReference {
    fn of(user: UserInfo) -> Self {
        let account = account(user.username.as_deref().unwrap_or_default(), user.uid);
        let extra = user.extra.unwrap_or_default();
        let first = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
        let pod = first(POD_NAME).zip(first(POD_UID)).map(|(name, uid)| ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: account.namespace.clone(),
            name: Some(name),
            uid: Some(uid),
            ..ObjectReference::default()
        });
        Self { account, pod }
    }

    fn at_best_pod(self) -> ObjectReference {
        self.pod.unwrap_or(self.account)
    }
}

/// The ServiceAccount that a username is of
/// (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>). With the UID `kubectl describe` finds what is about it.
fn account(username: &str, uid: Option<String>) -> ObjectReference {
    let name = username.strip_prefix("system:serviceaccount:");
    let (namespace, name) = name.and_then(|name| name.split_once(':')).unwrap_or_default();
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("ServiceAccount".into()),
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        uid,
        ..ObjectReference::default()
    }
}

fn event(type_: EventType, reason: &str, action: &str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE_BYTES));
    Event {
        type_,
        reason: reason.into(),
        note: Some(note),
        action: action.into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_read_from_its_username() {
        let of = |username: &str| {
            let account = account(username, Some("u".into()));
            (account.namespace.unwrap(), account.name.unwrap())
        };
        assert_eq!(of("system:serviceaccount:tka:server"), ("tka".into(), "server".into()));
        // The API server takes no event about an account without a name, and that is as it should be.
        assert_eq!(of("kubernetes-admin"), (String::new(), String::new()));
    }

    #[test]
    fn server_is_its_pod_where_its_token_says_so() {
        let user = |extra: &[(&str, &str)]| UserInfo {
            username: Some("system:serviceaccount:tka:server".into()),
            extra: Some(
                extra
                    .iter()
                    .map(|(key, value)| ((*key).into(), vec![(*value).into()]))
                    .collect(),
            ),
            ..UserInfo::default()
        };
        let about = |extra: &[(&str, &str)]| ServerReference::of(user(extra)).at_best_pod();
        let pod = about(&[(POD_NAME, "tka-0"), (POD_UID, "u")]);
        let named = [pod.kind, pod.namespace, pod.name, pod.uid].map(Option::unwrap);
        assert_eq!(named, ["Pod", "tka", "tka-0", "u"]);
        // A token of another kind.
        for extra in [&[][..], &[(POD_NAME, "tka-0")]] {
            assert_eq!(about(extra).kind.unwrap(), "ServiceAccount");
        }
    }

    #[test]
    fn note_is_never_longer_than_kubernetes_takes() {
        let long = "ü".repeat(NOTE_BYTES);
        for (note, bytes) in [(format!("a{long}"), NOTE_BYTES - 1), (long, NOTE_BYTES)] {
            let told = event(EventType::Normal, "SignedIn", "SignIn", note);
            assert_eq!(told.note.unwrap().len(), bytes);
        }
    }
}
