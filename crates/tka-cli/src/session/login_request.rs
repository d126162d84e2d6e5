//! Sign-in requests. They are checked before anything begins, and a missing reason is prompted for.

use std::thread;
use std::time::Instant;

use tka_api::http::{RuleInfo, RuleList, SessionInfo};
use tka_core::Reason;

use crate::api::access::AccessRequest;
use crate::api::client::{Client, SignInResponse};
use crate::api::retry::PollBackoff;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::server_kubeconfig::AuthMethod;
use crate::kubeconfig::session_cache::CachedSession;
use crate::session::approval::{self, PendingRequest};
use crate::session::notices;
use crate::session::replicas::ReplicaDiscovery;
use crate::sys::signals::SignalNotice;
use crate::terminal::ui;

/// What a signal is answered while a sign-in is under way.
const MAY_HAVE_BEGUN: &str = "tka: a session may have begun: `tka sessions` shows it, `tka logout` ends it";

/// Refuses options that the server does not support, and a namespace that the rule does not cover. Begins nothing.
pub(crate) fn check(ctx: &CommandContext, access: &AccessRequest, form: AuthMethod) -> Result<(), Error> {
    if form == AuthMethod::Gateway {
        check_gateway(ctx)?;
    }
    if !access.has_server_options() && access.namespace.is_none() {
        return Ok(());
    }
    match ctx.client()?.selectable_rules() {
        Ok(rules) => Ok(access.check_namespace(&rules)?),
        // A server without rules limits none to namespaces.
        Err(error) if error.is_unsupported() && !access.has_server_options() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Refuses the gateway of a server that has none. What else is against it, the sign-in tells.
fn check_gateway(ctx: &CommandContext) -> Result<(), Error> {
    match ctx.client()?.cluster_info() {
        Ok(info) if info.gateway.is_none() => Err(Error::NoGateway {
            server: ctx.server().to_string(),
        }),
        _ => Ok(()),
    }
}

/// Signs in by `sign_in_until_ready`. If the rule requires a reason and none was given, prompts for it once.
pub(crate) fn with_required_reason<T>(
    ctx: &CommandContext,
    access: &AccessRequest,
    attempt: impl Fn(&AccessRequest) -> Result<T, Error>,
) -> Result<T, Error> {
    match attempt(access) {
        Err(Error::Client(refusal)) if refusal.exit() == Exit::Policy && access.reason.is_none() => {
            match prompt_for_reason(ctx, access) {
                Some(reason) => attempt(&AccessRequest {
                    reason: Some(reason),
                    ..access.clone()
                }),
                None => Err(refusal.into()),
            }
        }
        result => result,
    }
}

/// Signs in. If the session was selected or has a `label`, repeats the sign-in until the session is usable. `GET /kubeconfig` might return
/// another session of the caller.
pub(crate) fn sign_in_until_ready(
    ctx: &CommandContext,
    access: &AccessRequest,
    form: AuthMethod,
    label: Option<&str>,
) -> Result<(Client, SignInResponse), Error> {
    let client = ctx.client()?;
    let spinner = ctx.ui.spinner("signing in");
    let learning = ReplicaDiscovery::begin(ctx);
    let request = access.request(label);
    let notice = SignalNotice::new(MAY_HAVE_BEGUN);
    let mut signed_in = client.sign_in(&request, form)?;
    drop(notice);
    if let Some(status) = signed_in.login.approval.take() {
        drop(spinner);
        if access.no_wait {
            return Err(Error::AwaitsApproval { status });
        }
        let asked = PendingRequest {
            request: &request,
            form,
        };
        signed_in = approval::wait(ctx, &asked, &status)?;
        learning.finish(ctx);
        // The time that others took is none of the server's.
        let client = ctx.retrying_client(ctx.config.timeout)?;
        return Ok((client, signed_in));
    }
    let mut backoff = PollBackoff::new();
    let is_chosen =
        signed_in.kubeconfig.is_none() && (access.has_server_options() || label.is_some() && supports_rules(&client)?);
    while is_chosen && signed_in.kubeconfig.is_none() {
        let pause = backoff.next(signed_in.retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned().into());
        }
        thread::sleep(pause);
        signed_in = client.sign_in(&request, form)?;
    }
    learning.finish(ctx);
    drop(spinner);
    notices::warn_clock_skew(ctx, client.skew(), Some(signed_in.login.until));
    Ok((client, signed_in))
}

/// Whether the server has rules and labels. The original's has not.
fn supports_rules(client: &Client) -> Result<bool, Error> {
    match client.selectable_rules() {
        Ok(_) => Ok(true),
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The reason that the user enters, if the rule requires one.
fn prompt_for_reason(ctx: &CommandContext, access: &AccessRequest) -> Option<Reason> {
    if !ui::is_interactive_terminal() {
        return None;
    }
    let rules = ctx.client().ok()?.rules().ok()?;
    let rule = access.select_rule(&rules).filter(|rule| rule.require_reason)?;
    let answer = ctx.prompt(&format!("what do you need {} for?", rule.role))?;
    Reason::try_from(answer).ok()
}

/// The session that a new sign-in replaces.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ReplacedSession {
    Nothing,
    /// One session, and whether its rule is the one that will be taken.
    One {
        name: String,
        is_same_rule: bool,
    },
    /// All sessions of the user: the original's server does not tell them apart.
    AllOfUser,
}

/// The access that replaces a session of this device: the one of the selected rule, else the last one. Without a selection the rule and
/// reason of that session are kept.
///
/// A rule that the policy no longer has is not kept. The policy then decides.
pub(crate) fn plan_replacement(
    ctx: &CommandContext,
    access: AccessRequest,
) -> Result<(AccessRequest, ReplacedSession, Option<RuleList>), Error> {
    let sessions = match ctx.client()?.sessions() {
        Ok(sessions) => sessions.items,
        Err(error) if error.is_unsupported() => return Ok((access, ReplacedSession::AllOfUser, None)),
        Err(error) => return Err(error.into()),
    };
    let Some(last) = session_to_replace(sessions, &access) else {
        return Ok((access, ReplacedSession::Nothing, None));
    };
    let replaced = |is_same_rule| ReplacedSession::One {
        name: last.name.clone(),
        is_same_rule,
    };
    if access.selects_rule() {
        let replaced = replaced(access.matches_session(&last));
        return Ok((access, replaced, None));
    }
    let rules = ctx.client()?.rules()?;
    let still_applies = rules.items.iter().any(|rule| is_rule_of(rule, &last));
    let replaced = replaced(still_applies);
    Ok((
        if still_applies {
            access.with_rule_of(last)
        } else {
            access
        },
        replaced,
        Some(rules),
    ))
}

/// The way that a session had, if its rule and its server still offer it. `rules` are those that apply, where they were asked for already.
pub(crate) fn offered_route(
    ctx: &CommandContext,
    access: &AccessRequest,
    rules: Option<RuleList>,
    had_gateway: Option<bool>,
) -> Result<Option<bool>, Error> {
    let Some(through_gateway) = had_gateway else {
        return Ok(None);
    };
    let client = ctx.client()?;
    let rules = rules.map_or_else(|| client.rules(), Ok)?;
    let only = access.select_rule(&rules).and_then(|rule| rule.access.as_deref());
    let is_offered = match (only, through_gateway) {
        (Some("gateway"), false) | (Some("direct"), true) => false,
        (_, true) => client.cluster_info()?.gateway.is_some(),
        (_, false) => true,
    };
    Ok(had_gateway.filter(|_| is_offered))
}

/// The last session of this device through the selected rule, else the last one.
fn session_to_replace(sessions: Vec<SessionInfo>, access: &AccessRequest) -> Option<SessionInfo> {
    let is_candidate = |session: &SessionInfo| session.this_device && session.label.is_none();
    let candidates = sessions.into_iter().filter(is_candidate);
    candidates.max_by_key(|session| (access.matches_session(session), session.signed_in))
}

/// The session for the cache. Without a name it is the one of the kubeconfig. None if it cannot be determined.
pub(crate) fn cached_session(client: &Client, session: Option<&str>) -> Option<CachedSession> {
    let sessions = match client.sessions() {
        Ok(sessions) => sessions.items,
        Err(error) if error.is_unsupported() => return Some(client.session().ok()?.login.into()),
        Err(_) => return None,
    };
    let mut of_this_device = sessions.into_iter().filter(|session| session.this_device);
    let found = if let Some(name) = session {
        of_this_device.find(|session| session.name == name)
    } else {
        let login = client.session().ok()?.login;
        of_this_device.find(|session| (&session.role, session.until) == (&login.role, login.until))
    };
    found.map(CachedSession::from)
}

fn is_rule_of(rule: &RuleInfo, session: &SessionInfo) -> bool {
    (&rule.name, &rule.role, &rule.namespaces) == (&session.rule, &session.role, &session.namespaces)
}
