//! Sessions, rules and kubeconfigs as they are answered.

use axum::http::StatusCode;
use futures::future::try_join;
use tka_api::http::{
    ApprovalInfo, ApprovalState, ApprovalStatus, ApprovalVote, LoginResponse, RuleInfo, SessionInfo, UNUSED_TOKEN,
};
use tka_api::kubeconfig::{Cluster, EntryNames, Exec, KeyedKubeconfig, User};
use tka_core::{
    Access, ApplicableRules, Caller, RecordingMode, Refusal, Rule, RuleSelector, Session, SessionLabel, SignInMode,
};
use tka_gateway::PREFIX;
use tka_operator::{RequestState, StoredSession, UnacknowledgedSignIns, Vote, WaitingSignIn};

use super::credential::issued;
use crate::answer::Failure;
use crate::approvals::{Approver, Approvers, emergency};
use crate::audit_context::AuditContext;
use crate::authorize::Authorization;
use crate::{App, cluster};

/// Where `tka` is to be had, for whose kubectl finds no such program.
const INSTALL_HINT: &str = "install `tka`, the command line of TKA, and sign in with `tka login`";

pub(super) fn login(session: &Session) -> LoginResponse {
    LoginResponse {
        username: session.caller.username().into(),
        role: session.rule.role.to_string(),
        until: session.until(),
        approval: None,
    }
}

/// `session`, which is what `waiting` would give, and how that stands.
pub(super) async fn awaiting(app: &App, session: &Session, waiting: &WaitingSignIn) -> LoginResponse {
    let approvers = app.approvers.known(app).await;
    LoginResponse {
        approval: Some(own_status(app, waiting, approvers.as_deref())),
        ..login(session)
    }
}

/// How `waiting` stands, for its own caller: with those of the `approvers` who may approve it.
fn own_status(app: &App, waiting: &WaitingSignIn, approvers: Option<&Approvers>) -> ApprovalStatus {
    let mut status = status(app, waiting);
    if status.state == ApprovalState::Waiting {
        status.approvers = approvers.and_then(|approvers| approvers.names(waiting));
    }
    status
}

fn status(app: &App, waiting: &WaitingSignIn) -> ApprovalStatus {
    let request = &waiting.request;
    ApprovalStatus {
        count: request.count(),
        needed: request.needed.get(),
        expires: request.expires,
        session: waiting.name.to_string(),
        request: request.id.clone(),
        state: match request.state((app.clock)()) {
            RequestState::Waiting => ApprovalState::Waiting,
            RequestState::Approved => ApprovalState::Approved,
            RequestState::Granted => ApprovalState::Granted,
            RequestState::Denied => ApprovalState::Denied,
            RequestState::Expired => ApprovalState::Expired,
        },
        approvers: None,
    }
}

/// `waiting` as `approver` sees it.
///
/// Where that is its own caller, it says who of the `approvers` may decide.
pub(super) fn approval(
    app: &App,
    waiting: &WaitingSignIn,
    approver: &Approver,
    approvers: Option<&Approvers>,
) -> ApprovalInfo {
    let request = &waiting.request;
    let vote = |vote: &Vote| ApprovalVote {
        username: vote.username.clone(),
        at: vote.at,
        comment: vote.comment.clone(),
    };
    let status = if approver.owns(waiting) {
        own_status(app, waiting, approvers)
    } else {
        status(app, waiting)
    };
    ApprovalInfo {
        username: waiting.caller.username().into(),
        device: waiting.caller.device.name.clone(),
        own: approver.owns(waiting),
        this_device: approver.is_on(&waiting.caller),
        may_decide: status.state == ApprovalState::Waiting && approver.may_decide(waiting).is_ok(),
        status,
        role: waiting.rule.role.to_string(),
        namespaces: waiting.rule.scope.to_names(),
        rule: waiting.rule.name.as_ref().map(ToString::to_string),
        period: request.period.to_string(),
        reason: request.reason.clone(),
        extends: waiting.extends,
        elevation: waiting.label.as_ref().is_some_and(SessionLabel::is_elevation),
        requested: request.requested,
        approvals: request.approvals.iter().map(vote).collect(),
        denial: request.denial.as_ref().map(vote),
        denied_before: request.denied_before.as_ref().map(vote),
    }
}

/// What none has acknowledged, or `acknowledged` was by `approver`.
pub(super) fn emergency(emergency: &UnacknowledgedSignIns, approver: &Approver, acknowledged: bool) -> ApprovalInfo {
    let last = emergency.last();
    let reasons: Vec<_> = emergency.sign_ins.iter().map(|one| one.reason.as_str()).collect();
    let state = if acknowledged {
        ApprovalState::Acknowledged
    } else {
        ApprovalState::Unacknowledged
    };
    ApprovalInfo {
        status: ApprovalStatus {
            count: 0,
            needed: 0,
            expires: emergency::told_again_at(emergency),
            session: emergency.name.to_string(),
            request: last.map(|last| last.request.clone()).unwrap_or_default(),
            state,
            approvers: None,
        },
        username: emergency.caller.username().into(),
        device: emergency.caller.device.name.clone(),
        own: approver.is_of(&emergency.caller),
        this_device: approver.is_on(&emergency.caller),
        may_decide: !acknowledged && approver.may_acknowledge(emergency).is_ok(),
        role: emergency.rule.role.to_string(),
        namespaces: emergency.rule.scope.to_names(),
        rule: emergency.rule.name.as_ref().map(ToString::to_string),
        period: last.map(|last| last.period.to_string()).unwrap_or_default(),
        reason: Some(reasons.join("; ")),
        extends: false,
        elevation: false,
        requested: last.map_or(emergency.told, |last| last.at),
        approvals: Vec::new(),
        denial: None,
        denied_before: None,
    }
}

/// `stored` as `caller` sees it.
pub(super) fn session(stored: &StoredSession, caller: &Caller) -> SessionInfo {
    let session = &stored.session;
    SessionInfo {
        name: session.name().to_string(),
        username: session.caller.username().into(),
        device: session.caller.device.name.clone(),
        this_device: session.caller.device.stable_id == caller.device.stable_id,
        role: session.rule.role.to_string(),
        namespaces: session.rule.scope.to_names(),
        rule: session.rule.name.as_ref().map(ToString::to_string),
        label: session.label.as_ref().map(|label| label.as_str().into()),
        reason: session.reason.as_ref().map(|reason| reason.as_str().into()),
        provisioned: stored.provisioned,
        signed_in: session.signed_in,
        until: session.until(),
    }
}

pub(super) fn rules(rules: &ApplicableRules) -> Vec<RuleInfo> {
    let default = rules.choose(&RuleSelector::default()).ok();
    let info = |rule: &Rule| RuleInfo {
        name: rule.name.as_ref().map(ToString::to_string),
        role: rule.role.to_string(),
        namespaces: rule.scope.to_names(),
        period: rule.period.to_string(),
        priority: rule.priority,
        require_reason: rule.require_reason || rules.break_glass(&rule.key()),
        break_glass: rules.break_glass(&rule.key()),
        max_sessions: rule.max_sessions.map(Into::into),
        sign_in: (rule.sign_in == SignInMode::OnUse).then(|| "on_use".to_owned()),
        idle: rule.idle.map(|idle| idle.to_string()),
        access: (rule.access != Access::Any).then(|| rule.access.to_string()),
        recording: (rule.recording != RecordingMode::Off).then(|| rule.recording.to_string()),
        unrecorded: false,
        approvals: rule.approval.as_ref().map(|approval| approval.count.get()),
        default: Some(rule) == default,
        problem: None,
        unchecked: false,
    };
    rules.rules().iter().map(info).collect()
}

/// A kubeconfig with a fresh credential in it.
pub(super) async fn kubeconfig(
    app: &App,
    context: &AuditContext,
    authorization: &mut Authorization,
    session: &Session,
) -> Result<KeyedKubeconfig, Failure> {
    let (info, credential) = try_join(app.cluster.info(), issued(app, context, authorization, session, None)).await?;
    Ok(with_user(app, info, session, credential.token.into()))
}

/// A kubeconfig whose user is `user`. It works in the namespace that the role holds in, where that is one.
pub(super) fn with_user(app: &App, info: tka_api::http::ClusterInfo, session: &Session, user: User) -> KeyedKubeconfig {
    let mut namespaces = session.rule.scope.namespaces();
    let only = namespaces.next().filter(|_| namespaces.next().is_none());
    KeyedKubeconfig::new(entry_names(app, &session.caller), cluster::entry(info), user)
        .in_namespace(only.map(ToString::to_string))
}

/// A kubeconfig with the gateway's address and no credential. It means the rule of `session`, and the session itself only where a label keeps that apart.
///
/// The address leaves the rule out if it is the highest ordinary one and neither `is_chosen` nor apart. It means another rule then when a higher one
/// reaches the caller. That of an elevation names no rule either, so that it means the caller's ordinary rule when the elevation is over.
pub(super) fn gateway(
    app: &App,
    rules: &ApplicableRules,
    session: &Session,
    is_chosen: bool,
) -> Result<KeyedKubeconfig, Refusal> {
    let rule = &session.rule;
    if !app.has_gateway {
        return Err(Refusal::NoGateway {
            role: rule.role.clone(),
        });
    }
    if !rules.has_gateway(rule) {
        return Err(Refusal::DirectOnly {
            role: rule.role.clone(),
        });
    }
    let ordinary = rules.clone().prefer_ordinary_rules();
    let highest = ordinary.choose(&RuleSelector::default());
    let is_highest = || highest.is_ok_and(|highest| highest.key() == *rule);
    let is_left_out = session.is_elevation() || !is_chosen && session.label.is_none() && is_highest();
    let label = session.label.as_ref().filter(|label| !label.is_elevation());
    let label = label.map(|label| format!("/session/{label}")).unwrap_or_default();
    let path = match &rule.name {
        _ if is_left_out => String::new(),
        Some(name) => format!("/rule/{name}"),
        None => format!("/role/{}", rule.role.as_str().replace(':', "%3A")),
    };
    let url = app.node.borrow().url.clone();
    // Over https kubectl asks for a user name where there is no credential at all. The gateway takes this one off.
    let placeholder = url.starts_with("https:").then(|| UNUSED_TOKEN.to_owned().into());
    let cluster = Cluster {
        server: format!("{url}{PREFIX}{label}{path}"),
        ..Cluster::default()
    };
    let user = User {
        token: placeholder,
        exec: None,
    };
    let mut namespaces = rule.scope.namespaces();
    let only = namespaces.next().filter(|_| namespaces.next().is_none());
    let kubeconfig = KeyedKubeconfig::new(entry_names(app, &session.caller), cluster, user);
    Ok(kubeconfig.in_namespace(only.map(ToString::to_string)))
}

/// What makes kubectl ask `tka` for a credential of `session`.
pub(super) fn exec(app: &App, session: &Session) -> Exec {
    let name = session.name().to_string();
    Exec {
        api_version: tka_api::exec::API_VERSION.into(),
        command: "tka".into(),
        args: ["credential", "--server", &app.node.borrow().url, "--session", &name]
            .map(Into::into)
            .to_vec(),
        interactive_mode: "IfAvailable".into(),
        install_hint: INSTALL_HINT.into(),
    }
}

fn entry_names(app: &App, caller: &Caller) -> EntryNames {
    let short_name = caller.short_name();
    EntryNames::new(
        app.names.cluster.to_string(),
        format!("{}{short_name}", app.names.user_prefix),
        format!("{}{short_name}", app.names.context_prefix),
    )
}

pub(super) fn no_such_session() -> Failure {
    let advice = &["list your sessions with `tka sessions`"];
    Failure::new(StatusCode::NOT_FOUND, "you have no session of that name", advice)
}
