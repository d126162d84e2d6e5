//! The objects of a session, and a session read back from its `TkaSignin`. By value, without a cluster.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{self, ClusterRoleBinding, RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use tka_api::resource::{
    ANNOTATION_APPROVAL, ANNOTATION_APPROVED, ANNOTATION_END, ANNOTATION_IDLE, ANNOTATION_LAST_SIGN_IN,
    ANNOTATION_LAST_USE, ANNOTATION_MAX_SESSIONS, ANNOTATION_SIGN_IN, ANNOTATION_VALID_UNTIL, AWAITING_APPROVAL,
    FINALIZER, LABEL_CALLER, LABEL_MANAGED_BY, LABEL_NAMESPACE, LABEL_SESSION, LABEL_UID, LABEL_USER, MANAGED_BY,
    MAX_ITEMS, SigninDevice, TkaSignin, TkaSigninSpec,
};
use tka_core::{
    Caller, Device, Identity, MAX_NAMESPACES, Namespace, Period, Reason, RoleName, RuleKey, RuleName, Scope, Session,
    SessionLabel, SessionName, SignInTrigger,
};

use crate::Error;
use crate::approval::{ApprovalRequest, RequestState};
use crate::end_reason::EndRecord;

/// How far the clocks of two replicas may be apart for one to believe what the other wrote.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);

/// Whatever is a rule fits into a `TkaSignin`.
const _: () = assert!(MAX_NAMESPACES == MAX_ITEMS);

/// What every object of every session can be selected by.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/managed-by=tka,tka.specht-labs.de/session";

/// What is watched: the `TkaSignin`s of sessions, and those that wait for approval and hold no session yet.
pub(crate) const WATCHED: &str =
    "app.kubernetes.io/managed-by in (tka,tka-awaiting-approval),tka.specht-labs.de/session";

/// The `TkaSignin` of `session`, of which its user may have `max_sessions` through the same rule.
pub(crate) fn signin(session: &Session, max_sessions: Option<NonZeroU32>, namespace: &str) -> TkaSignin {
    let mut signin = TkaSignin::new(session.name().as_str(), spec(session));
    signin.metadata.namespace = Some(namespace.into());
    signin.metadata.finalizers = Some(vec![FINALIZER.into()]);
    signin.metadata.labels = Some(labels(session, namespace));
    let mut annotations = BTreeMap::from([
        (ANNOTATION_LAST_SIGN_IN.into(), session.signed_in.to_string()),
        (ANNOTATION_VALID_UNTIL.into(), session.until().to_string()),
    ]);
    annotations.extend(max_sessions.map(|max| (ANNOTATION_MAX_SESSIONS.into(), max.to_string())));
    annotations.extend(
        session
            .on_use
            .map(|begun| (ANNOTATION_SIGN_IN.into(), trigger_annotation(begun).into())),
    );
    annotations.extend(session.idle.map(|idle| (ANNOTATION_IDLE.into(), idle.to_string())));
    signin.metadata.annotations = Some(annotations);
    signin
}

/// The `TkaSignin` on which `request` waits, while there is no `session` that it would extend. It has no time of sign-in, so that it is read as no
/// session, by earlier versions too. It needs no finalizer.
pub(crate) fn awaiting(session: &Session, request: &ApprovalRequest, namespace: &str) -> TkaSignin {
    let mut signin = TkaSignin::new(session.name().as_str(), spec(session));
    let mut labels = labels(session, namespace);
    labels.insert(LABEL_MANAGED_BY.into(), AWAITING_APPROVAL.into());
    signin.metadata.namespace = Some(namespace.into());
    signin.metadata.labels = Some(labels);
    signin.metadata.annotations = Some(BTreeMap::from([(ANNOTATION_APPROVAL.into(), request.to_annotation())]));
    signin
}

/// Whether `signin` is one on which a sign-in waits for approval, and that holds no session.
pub(crate) fn is_awaiting(signin: &TkaSignin) -> bool {
    signin
        .labels()
        .get(LABEL_MANAGED_BY)
        .is_some_and(|value| value == AWAITING_APPROVAL)
}

/// Has `desired` be written in place of this very version of `existing`, on which the request `checked` waits. None unless it still waits there, and
/// is approved at `now`. None too if the session ends that it would extend.
pub(crate) fn carry_out(
    desired: &mut TkaSignin,
    existing: Option<&TkaSignin>,
    checked: &ApprovalRequest,
    now: Timestamp,
) -> Option<()> {
    let existing = existing.filter(|existing| existing.metadata.deletion_timestamp.is_none())?;
    let is_same = ApprovalRequest::of(existing).is_some_and(|request| request == *checked);
    if !is_same || checked.state(now) != RequestState::Approved {
        return None;
    }
    // Its caller ended what they asked to extend. They ask anew if they want it after all.
    if !is_awaiting(existing) && has_end_reason(existing, &session(existing).ok()?) {
        return None;
    }
    let granted = checked.granted(checked.approved_at()?).to_annotation();
    // Without the UID it would be made anew where it is gone.
    desired.metadata.uid = Some(existing.uid()?);
    desired.metadata.resource_version = Some(existing.resource_version()?);
    let annotations = desired.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_APPROVAL.into(), granted.clone());
    annotations.insert(ANNOTATION_APPROVED.into(), granted);
    Some(())
}

pub(crate) fn trigger_annotation(begun: SignInTrigger) -> &'static str {
    match begun {
        SignInTrigger::Asked => "asked",
        SignInTrigger::ByUse => "by_use",
    }
}

fn not_a_session(signin: &TkaSignin, why: impl Into<String>) -> Error {
    let (name, why) = (signin.name_any(), why.into());
    Error::NotASession { name, why }
}

/// How many sessions its user may have through its rule, as that stood at sign-in.
pub(crate) fn max_sessions(signin: &TkaSignin) -> Result<Option<NonZeroU32>, Error> {
    let Some(text) = said(signin, ANNOTATION_MAX_SESSIONS) else {
        return Ok(None);
    };
    // What cannot be read must not pass for no limit.
    let why = || format!("the annotation {ANNOTATION_MAX_SESSIONS} is no number: {text:?}");
    text.parse().map(Some).map_err(|_| not_a_session(signin, why()))
}

/// Has `desired` empty the annotations that an earlier sign-in left in `existing` and this one does not set, whichever manager owns the field. They
/// said that it was to end, which was not carried out, and on what conditions it was given. Empty is as good as absent.
pub(crate) fn clear_stale_annotations(desired: &mut TkaSignin, existing: &TkaSignin) {
    if existing.metadata.deletion_timestamp.is_some() {
        return;
    }
    let annotations = desired.metadata.annotations.get_or_insert_default();
    for name in [
        ANNOTATION_END,
        ANNOTATION_SIGN_IN,
        ANNOTATION_IDLE,
        ANNOTATION_MAX_SESSIONS,
        ANNOTATION_APPROVAL,
        ANNOTATION_APPROVED,
    ] {
        if existing.annotations().contains_key(name) {
            annotations.entry(name.into()).or_default();
        }
    }
}

/// What an annotation says; nothing where it is empty.
fn said<'s>(signin: &'s TkaSignin, name: &str) -> Option<&'s String> {
    signin.annotations().get(name).filter(|text| !text.is_empty())
}

fn spec(session: &Session) -> TkaSigninSpec {
    let (user_id, tags) = match &session.caller.identity {
        Identity::User { id, .. } => (Some(id.0), Vec::new()),
        // For people to read: a machine is its device, whatever its tags.
        Identity::Machine { tags } => (None, tags.iter().take(MAX_ITEMS).cloned().collect()),
    };
    TkaSigninSpec {
        username: session.caller.username().into(),
        role: session.rule.role.to_string(),
        validity_period: session.period.to_string(),
        user_id,
        tags,
        device: Some(SigninDevice {
            stable_id: session.caller.device.stable_id.clone(),
            name: session.caller.device.name.clone(),
        }),
        namespaces: session.rule.scope.to_names(),
        rule: session.rule.name.as_ref().map(ToString::to_string),
        label: session.label.as_ref().map(|label| label.as_str().into()),
        reason: session.reason.as_ref().map(|reason| reason.as_str().into()),
    }
}

/// The ServiceAccount of the session that `signin` holds. It belongs to the `TkaSignin`, so that Kubernetes collects it with it.
pub(crate) fn service_account(signin: &TkaSignin) -> Result<ServiceAccount, Error> {
    let owner = OwnerReference {
        api_version: TkaSignin::api_version(&()).into(),
        kind: TkaSignin::kind(&()).into(),
        name: signin.name_any(),
        uid: uid(signin)?,
        ..OwnerReference::default()
    };
    Ok(ServiceAccount {
        metadata: ObjectMeta {
            name: Some(signin.name_any()),
            namespace: signin.namespace(),
            labels: Some(labels_of_children(signin)?),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        // Credentials are asked for with TokenRequest; no pod is meant to run as a session.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// What gives a session its role: one binding for the whole cluster, or one in each namespace that its rule names.
///
/// None can be owned by the `TkaSignin`: an owner is in the same namespace, and that of a cluster-scoped object is cluster-scoped
/// (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents>).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bindings {
    /// The role holds everywhere.
    Cluster(Box<ClusterRoleBinding>),
    /// The role holds in these namespaces.
    Namespaces(Vec<RoleBinding>),
}

fn uid(signin: &TkaSignin) -> Result<String, Error> {
    signin.uid().ok_or(Error::Incomplete("metadata.uid"))
}

fn labels_of_children(signin: &TkaSignin) -> Result<BTreeMap<String, String>, Error> {
    let mut labels = signin.labels().clone();
    labels.insert(LABEL_UID.into(), uid(signin)?);
    Ok(labels)
}

/// The bindings of the session that `signin` holds.
pub(crate) fn bindings(signin: &TkaSignin) -> Result<Bindings, Error> {
    let namespace = signin.namespace().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(binding_name(&namespace, &signin.name_any())),
        labels: Some(labels_of_children(signin)?),
        ..ObjectMeta::default()
    };
    let role_ref = RoleRef {
        api_group: "rbac.authorization.k8s.io".into(),
        kind: "ClusterRole".into(),
        name: signin.spec.role.clone(),
    };
    let account = v1::Subject {
        kind: "ServiceAccount".into(),
        name: signin.name_any(),
        namespace: Some(namespace),
        ..v1::Subject::default()
    };
    let subjects = Some(vec![account]);
    let scope = Scope::from_stored(&signin.spec.namespaces).map_err(|why| not_a_session(signin, why.to_string()))?;
    if scope == Scope::Cluster {
        return Ok(Bindings::Cluster(Box::new(ClusterRoleBinding {
            metadata,
            role_ref,
            subjects,
        })));
    }
    let within = |namespace: &Namespace| RoleBinding {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_string()),
            ..metadata.clone()
        },
        role_ref: role_ref.clone(),
        subjects: subjects.clone(),
    };
    Ok(Bindings::Namespaces(scope.namespaces().map(within).collect()))
}

/// How many bindings the session has that `signin` holds.
pub(crate) fn count_bindings(signin: &TkaSignin) -> usize {
    signin.spec.namespaces.len().max(1)
}

/// The name of a session's binding. Names of RBAC objects may hold a colon, and namespaces may not: no two sessions of two
/// servers in one cluster meet.
pub(crate) fn binding_name(namespace: &str, session: &str) -> String {
    format!("{namespace}:{session}")
}

fn labels(session: &Session, namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_MANAGED_BY.into(), MANAGED_BY.into()),
        (LABEL_SESSION.into(), session.name().as_str().into()),
        (LABEL_NAMESPACE.into(), namespace.into()),
        (LABEL_CALLER.into(), session.caller.key().as_str().into()),
        (LABEL_USER.into(), session.caller.user_key().as_str().into()),
    ])
}

/// The session that `signin` holds.
///
/// The name must be the one that this caller, device and rule lead to. An object made by hand, or one of the original TKA, is no session of ours.
pub(crate) fn session(signin: &TkaSignin) -> Result<Session, Error> {
    if is_awaiting(signin) {
        return Err(not_a_session(signin, "it waits for approval"));
    }
    let session = read(signin).map_err(|why| not_a_session(signin, why))?;
    if session.name().as_str() != signin.name_any() {
        let why = "its name is not that of this caller, device and rule";
        return Err(not_a_session(signin, why));
    }
    Ok(session)
}

/// What makes a session this one and no other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SessionIdentity {
    pub(crate) caller: Caller,
    pub(crate) rule: RuleKey,
    pub(crate) label: Option<SessionLabel>,
}

impl SessionIdentity {
    pub(crate) fn name(&self) -> SessionName {
        SessionName::new(&self.caller, &self.rule, self.label.as_ref())
    }
}

/// Whose access through which rule `signin` is about, even if it holds no session. Its name must be the one that they lead to.
pub(crate) fn subject(signin: &TkaSignin) -> Result<SessionIdentity, Error> {
    let subject = read_subject(signin).map_err(|why| not_a_session(signin, why))?;
    if subject.name().as_str() == signin.name_any() {
        return Ok(subject);
    }
    Err(not_a_session(
        signin,
        "its name is not that of this caller, device and rule",
    ))
}

fn read_subject(signin: &TkaSignin) -> Result<SessionIdentity, String> {
    let spec = &signin.spec;
    let device = spec.device.as_ref().ok_or("spec.device is missing")?;
    let identity = match (spec.user_id, spec.tags.as_slice()) {
        (Some(id), []) => Identity::user(id, spec.username.clone()),
        (None, [_, ..]) => Identity::machine(spec.tags.clone()),
        _ => return Err("it has neither spec.user_id nor spec.tags, or both".into()),
    };
    Ok(SessionIdentity {
        caller: Caller {
            identity,
            device: Device::new(device.stable_id.clone(), device.name.clone()),
        },
        rule: RuleKey {
            role: typed::<RoleName>(&spec.role)?,
            scope: Scope::from_stored(&spec.namespaces).map_err(|why| why.to_string())?,
            name: optional::<RuleName>(spec.rule.as_ref())?,
        },
        label: optional::<SessionLabel>(spec.label.as_ref())?,
    })
}

fn read(signin: &TkaSignin) -> Result<Session, String> {
    let SessionIdentity { caller, rule, label } = read_subject(signin)?;
    let spec = &signin.spec;
    Ok(Session {
        caller,
        rule,
        label,
        period: typed::<Period>(&spec.validity_period)?,
        signed_in: last_sign_in(signin)?,
        reason: optional::<Reason>(spec.reason.as_ref())?,
        on_use: begun(signin)?,
        // What cannot be read must not pass for no limit.
        idle: optional::<Period>(said(signin, ANNOTATION_IDLE))?,
    })
}

fn begun(signin: &TkaSignin) -> Result<Option<SignInTrigger>, String> {
    let Some(mark) = said(signin, ANNOTATION_SIGN_IN) else {
        return Ok(None);
    };
    let begun = [SignInTrigger::Asked, SignInTrigger::ByUse]
        .into_iter()
        .find(|begun| trigger_annotation(*begun) == mark);
    let why = || format!("the annotation {ANNOTATION_SIGN_IN} is neither asked nor by_use: {mark:?}");
    begun.map(Some).ok_or_else(why)
}

/// When the session was last used that `signin` holds, as far as that is written down at `now`. A sign-in is a use.
pub(crate) fn last_use(signin: &TkaSignin, session: &Session, now: Timestamp) -> Timestamp {
    let written = signin.annotations().get(ANNOTATION_LAST_USE);
    // What cannot be read is no use, and neither is what a clock far ahead wrote: it would count until its time has come.
    let written = written.and_then(|text| text.parse().ok());
    let written = written.filter(|written: &Timestamp| written.duration_since(now) <= CLOCKS_APART);
    written.map_or(session.signed_in, |written| written.max(session.signed_in))
}

fn optional<T: TryFrom<String, Error: ToString>>(text: Option<&String>) -> Result<Option<T>, String> {
    text.map(|text| typed(text)).transpose()
}

fn typed<T: TryFrom<String, Error: ToString>>(text: &str) -> Result<T, String> {
    T::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn last_sign_in(signin: &TkaSignin) -> Result<Timestamp, String> {
    let text = signin.annotations().get(ANNOTATION_LAST_SIGN_IN);
    let text = text.ok_or_else(|| format!("the annotation {ANNOTATION_LAST_SIGN_IN} is missing"))?;
    text.parse()
        .map_err(|_| format!("the annotation {ANNOTATION_LAST_SIGN_IN} is no RFC 3339 time: {text:?}"))
}

/// Whether the session is provisioned, by its status: account and bindings exist, and the status has the end of this sign-in.
pub(crate) fn is_provisioned(signin: &TkaSignin, session: &Session) -> bool {
    let status = signin.status.as_ref();
    status.is_some_and(|status| status.provisioned && status.valid_until == Some(session.until()))
}

/// Whether the session was provisioned, by its status: account and bindings exist. The status may be that of an earlier sign-in.
pub(crate) fn was_provisioned(signin: &TkaSignin) -> bool {
    signin.status.as_ref().is_some_and(|status| status.provisioned)
}

/// Whether its end reason is written. Its account and bindings may still exist.
pub(crate) fn has_end_reason(signin: &TkaSignin, session: &Session) -> bool {
    EndRecord::of(signin, session).is_some()
}

/// Whether the session that `signin` holds is being deleted, or it is written down that it ends.
pub(crate) fn is_ending(signin: &TkaSignin, session: &Session) -> bool {
    signin.metadata.deletion_timestamp.is_some() || has_end_reason(signin, session)
}

/// Whether `signin` holds just `session`, provisioned and not to end, of which its user may have `max_sessions` through the same rule.
pub(crate) fn is_current_and_provisioned(signin: &TkaSignin, session: &Session, max: Option<NonZeroU32>) -> bool {
    let is_same = self::session(signin).is_ok_and(|there| there == *session);
    let has_limit = max_sessions(signin).is_ok_and(|there| there == max);
    !is_ending(signin, session) && is_same && has_limit && is_provisioned(signin, session)
}

/// Whether the quotas have admitted it, and its status says that it is usable at `now`.
pub(crate) fn is_admitted(signin: &TkaSignin, now: Timestamp) -> bool {
    let status = signin.status.as_ref();
    status.is_some_and(|status| status.provisioned && status.valid_until.is_some_and(|until| until > now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::{ApprovalDecision, Vote};
    use proptest::prelude::*;
    use tka_api::resource::TkaSigninStatus;
    use tka_core::{Limits, Request, Rule};

    fn through(rule: &str) -> Session {
        let caller = Caller {
            identity: Identity::user(7, "alice@example.com"),
            device: Device::new("n1", "laptop"),
        };
        let request = Request {
            reason: Some(Reason::try_from("pager".to_owned()).unwrap()),
            label: Some(SessionLabel::try_from("shell".to_owned()).unwrap()),
            ..Request::default()
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Session::new(caller, &Rule::parse(rule).unwrap(), &request, Limits::none(), now).unwrap()
    }

    fn alice() -> Session {
        through(r#"{"role": "view", "period": "1h"}"#)
    }

    fn cluster_binding(signin: &TkaSignin) -> ClusterRoleBinding {
        let Bindings::Cluster(binding) = bindings(signin).unwrap() else {
            panic!("not for the whole cluster")
        };
        *binding
    }

    fn signed(namespace: &str) -> TkaSignin {
        let mut signin = signin(&alice(), None, namespace);
        signin.metadata.uid = Some("u1".into());
        signin
    }

    fn stored() -> TkaSignin {
        signed("tka-dev")
    }

    #[test]
    fn written_session_is_read_back() {
        assert_eq!(session(&stored()).unwrap(), alice());
    }

    #[test]
    fn machine_with_too_many_tags_keeps_its_sessions() {
        let mut session = alice();
        let tags = (0..=MAX_ITEMS).map(|n| format!("tag:t{n}")).collect();
        session.caller.identity = Identity::Machine { tags };
        let written = super::signin(&session, None, "tka");
        assert_eq!(written.spec.tags.len(), MAX_ITEMS);
        assert_eq!(super::session(&written).unwrap().name(), session.name());
    }

    #[test]
    fn machine_is_written_and_read_back() {
        let (mut session, tags) = (alice(), vec!["tag:ci".into()]);
        session.caller.identity = Identity::Machine { tags };
        assert_eq!(super::session(&signin(&session, None, "tka-dev")).unwrap(), session);
    }

    fn asked(session: &Session) -> ApprovalRequest {
        let rule = Rule::parse(r#"{"role": "view", "period": "1h", "approval": {"count": 1}}"#).unwrap();
        let (approval, now) = (rule.approval.unwrap(), session.signed_in);
        ApprovalRequest::new("r1".into(), "d".into(), &approval, rule.period, None, now)
    }

    fn approved(session: &Session) -> ApprovalRequest {
        let carol = Caller {
            identity: Identity::user(8, "carol@example.com"),
            device: Device::new("n2", "desk"),
        };
        let vote = Vote::new(&carol, None, session.signed_in);
        let decided = asked(session).decided(ApprovalDecision::Approve, vote, session.signed_in);
        decided.unwrap()
    }

    /// What is carried out of `checked` on `existing`.
    fn carried_out(existing: Option<&TkaSignin>, checked: &ApprovalRequest) -> Option<TkaSignin> {
        let mut desired = super::signin(&alice(), None, "tka-dev");
        carry_out(&mut desired, existing, checked, alice().signed_in)?;
        Some(desired)
    }

    fn with_request(mut signin: TkaSignin, request: &ApprovalRequest) -> TkaSignin {
        signin.metadata.resource_version = Some("7".into());
        let annotations = signin.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_APPROVAL.into(), request.to_annotation());
        signin
    }

    #[test]
    fn approval_applies_to_the_checked_version_only() {
        let checked = approved(&alice());
        let mut waits = awaiting(&alice(), &checked, "tka-dev");
        waits.metadata.uid = Some("u1".into());
        let waits = with_request(waits, &checked);
        let desired = carried_out(Some(&waits), &checked).unwrap();
        assert_eq!(desired.uid().as_deref(), Some("u1"), "where it is gone nothing is made");
        assert_eq!(desired.resource_version().as_deref(), Some("7"));
        assert!(desired.annotations()[ANNOTATION_APPROVED].contains("carol@example.com"));
        assert_eq!(carried_out(None, &checked), None);
        for other in [asked(&alice()), checked.granted(alice().signed_in), checked.told()] {
            let other = with_request(waits.clone(), &other);
            assert_eq!(carried_out(Some(&other), &checked), None, "it is not what was checked");
        }
        let mut deleted = waits;
        deleted.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(alice().signed_in));
        assert_eq!(carried_out(Some(&deleted), &checked), None);
    }

    #[test]
    fn extension_of_a_session_that_was_ended_is_not_carried_out() {
        let checked = approved(&alice());
        let goes_on = with_request(stored(), &checked);
        assert!(carried_out(Some(&goes_on), &checked).is_some());
        let mut ends = goes_on;
        let intent = EndRecord::new(&alice(), crate::EndReason::SignedOut, alice().signed_in).to_annotation();
        ends.metadata
            .annotations
            .get_or_insert_default()
            .insert(ANNOTATION_END.into(), intent);
        assert_eq!(carried_out(Some(&ends), &checked), None);
    }

    #[test]
    fn account_belongs_to_its_signin() {
        let account = service_account(&stored()).unwrap();
        let owner = &account.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("TkaSignin", "u1"));
        assert_eq!(owner.api_version, "tka.specht-labs.de/v1alpha1");
        assert_eq!(account.name_any(), stored().name_any());
    }

    #[test]
    fn binding_gives_the_role_to_the_account_alone() {
        let binding = cluster_binding(&stored());
        let subjects = binding.subjects.clone().unwrap();
        assert_eq!(binding.role_ref.name, "view");
        assert_eq!(subjects.len(), 1);
        assert_eq!(subjects[0].name, stored().name_any());
        assert_eq!(subjects[0].namespace.as_deref(), Some("tka-dev"));
    }

    #[test]
    fn role_in_namespaces_is_bound_there_and_nowhere_else() {
        let session = through(r#"{"role": "edit", "period": "1h", "namespaces": ["ops", "dev"], "name": "oncall"}"#);
        let mut signin = signin(&session, None, "tka-dev");
        signin.metadata.uid = Some("u1".into());
        assert_eq!(super::session(&signin).unwrap(), session);
        let Bindings::Namespaces(bindings) = bindings(&signin).unwrap() else {
            panic!("for the whole cluster")
        };
        let places: Vec<_> = bindings.iter().filter_map(ResourceExt::namespace).collect();
        assert_eq!(places, ["dev", "ops"]);
        let mut roles = bindings.iter().map(|binding| &binding.role_ref);
        assert!(roles.all(|role| role.kind == "ClusterRole" && role.name == "edit"));
    }

    #[test]
    fn bindings_of_two_servers_do_not_meet() {
        let here = cluster_binding(&stored()).name_any();
        let there = cluster_binding(&signed("tka-prod")).name_any();
        assert_ne!(here, there);
    }

    #[test]
    fn all_objects_carry_the_labels() {
        let signin = stored();
        for labels in [
            signin.labels(),
            service_account(&signin).unwrap().labels(),
            cluster_binding(&signin).labels(),
        ] {
            assert_eq!(labels[LABEL_MANAGED_BY], MANAGED_BY);
            assert_eq!(labels[LABEL_SESSION], signin.name_any());
            assert_eq!(labels[LABEL_NAMESPACE], "tka-dev");
        }
    }

    #[test]
    fn account_and_binding_say_which_signin_they_were_made_for() {
        let signin = stored();
        let account = service_account(&signin).unwrap();
        assert_eq!(account.labels()[LABEL_UID], "u1");
        assert_eq!(cluster_binding(&signin).labels()[LABEL_UID], "u1");
        let unsaved = super::signin(&alice(), None, "tka-dev");
        assert!(service_account(&unsaved).is_err() && bindings(&unsaved).is_err());
    }

    #[test]
    fn limit_of_a_rule_is_kept_with_the_session() {
        let limit = |max| super::signin(&alice(), NonZeroU32::new(max), "tka-dev");
        assert_eq!(max_sessions(&limit(3)).unwrap(), NonZeroU32::new(3));
        assert_eq!(max_sessions(&limit(0)).unwrap(), None);
        let mut forged = limit(3);
        let annotations = forged.annotations_mut();
        annotations.insert(ANNOTATION_MAX_SESSIONS.into(), "many".into());
        assert!(max_sessions(&forged).is_err());
    }

    #[test]
    fn foreign_object_is_no_session() {
        let forged = |forge: fn(&mut TkaSignin)| {
            let mut signin = stored();
            forge(&mut signin);
            session(&signin).unwrap_err().to_string()
        };
        let why = forged(|signin| signin.spec.role = "cluster-admin".into());
        assert!(why.contains("its name is not that of"), "{why}");
        let why = forged(|signin| signin.spec.device = None);
        assert!(why.contains("spec.device is missing"), "as the original has it: {why}");
        let why = forged(|signin| signin.metadata.annotations = None);
        assert!(why.contains("last-attempted-sign-in is missing"), "{why}");
    }

    #[test]
    fn status_of_an_earlier_sign_in_does_not_count() {
        let session = alice();
        let mut signin = stored();
        assert!(!is_provisioned(&signin, &session));
        let status = |until: &str| TkaSigninStatus {
            provisioned: true,
            valid_until: Some(until.parse().unwrap()),
            signed_in: None,
            ..TkaSigninStatus::default()
        };
        signin.status = Some(status("2026-01-01T00:59:59Z"));
        assert!(!is_provisioned(&signin, &session));
        signin.status = Some(status("2026-01-01T01:00:00Z"));
        assert!(is_provisioned(&signin, &session));
    }

    proptest! {
        #[test]
        fn any_object_is_read_or_refused(
            username in ".*", role in ".*", period in ".*", signed_in in ".*", name in ".*", stable_id in ".*", user_id: Option<i64>, label in ".*",
        ) {
            let mut signin = stored();
            signin.metadata.name = Some(name);
            signin.metadata.annotations = Some(BTreeMap::from([(ANNOTATION_LAST_SIGN_IN.to_owned(), signed_in)]));
            signin.spec = TkaSigninSpec {
                username, role, validity_period: period, user_id, tags: vec![],
                device: Some(SigninDevice { stable_id, name: "d".into() }),
                namespaces: vec![label.clone()], rule: Some(label.clone()), label: Some(label.clone()), reason: Some(label),
            };
            prop_assert!(session(&signin).is_err());
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    /// Any object that is put into the cluster is no session, or one of just this name.
    #[test]
    fn signin() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(signin) = serde_json::from_slice::<TkaSignin>(bytes) else {
                return;
            };
            let Ok(session) = session(&signin) else { return };
            assert_eq!(session.name().as_str(), signin.name_any());
            let _ = (service_account(&signin), bindings(&signin), max_sessions(&signin));
        });
    }
}
