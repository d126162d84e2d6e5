//! A sign-in as it is asked for: what can be had is found out before anything is begun, and a reason that is missing is asked for.

use std::thread;
use std::time::Instant;

use tka_api::http::{RuleInfo, SessionInfo};
use tka_core::Reason;

use crate::api::access::Access;
use crate::api::client::{Client, SignInResponse};
use crate::api::retry::PollBackoff;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::session_cache::CachedSession;
use crate::terminal::ui;

/// Refuses what the server cannot do, or not in the namespace that is asked for. Begins nothing.
pub(crate) fn check(ctx: &CommandContext, access: &Access) -> Result<(), Error> {
    if !access.has_server_options() && access.namespace.is_none() {
        return Ok(());
    }
    match ctx.client()?.selectable_rules() {
        Ok(rules) => Ok(access.check_namespace(&rules)?),
        // Where rules cannot be chosen, none is limited to namespaces.
        Err(error) if error.is_unsupported() && !access.has_server_options() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Signs in by `attempt`. A reason that the rule asks for and that was not given is asked for, once, where somebody can be asked.
pub(crate) fn with_required_reason<T>(
    ctx: &CommandContext,
    access: &Access,
    attempt: impl Fn(&Access) -> Result<T, Error>,
) -> Result<T, Error> {
    match attempt(access) {
        Err(Error::Client(refusal)) if refusal.exit() == Exit::Policy && access.reason.is_none() => {
            match prompt_for_reason(ctx, access) {
                Some(reason) => attempt(&Access {
                    reason: Some(reason),
                    ..access.clone()
                }),
                None => Err(refusal.into()),
            }
        }
        answer => answer,
    }
}

/// Signs in once, and waits until the session is usable where that takes signing in again: of a server that lets sessions be chosen,
/// `GET /kubeconfig` might answer for another session than the one that was asked for or is kept apart by `label`.
pub(crate) fn attempt(
    ctx: &CommandContext,
    access: &Access,
    label: Option<&str>,
) -> Result<(Client, SignInResponse), Error> {
    let client = ctx.client()?;
    let spinner = ctx.ui.spinner("signing in");
    let request = access.request(label);
    let mut signed_in = client.sign_in(&request)?;
    let mut backoff = PollBackoff::new();
    let is_chosen =
        signed_in.kubeconfig.is_none() && (access.has_server_options() || label.is_some() && supports_rules(&client)?);
    while is_chosen && signed_in.kubeconfig.is_none() {
        let pause = backoff.next(signed_in.retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned().into());
        }
        thread::sleep(pause);
        signed_in = client.sign_in(&request)?;
    }
    drop(spinner);
    ctx.warn_clock_skew(client.skew(), Some(signed_in.login.until));
    Ok((client, signed_in))
}

/// Whether sessions can be chosen and kept apart, which the original's server cannot.
fn supports_rules(client: &Client) -> Result<bool, Error> {
    match client.selectable_rules() {
        Ok(_) => Ok(true),
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The reason that the person before the terminal gives, if the rule asks for one.
fn prompt_for_reason(ctx: &CommandContext, access: &Access) -> Option<Reason> {
    if !ui::is_interactive_terminal() {
        return None;
    }
    let rules = ctx.client().ok()?.rules().ok()?;
    let rule = access.select_rule(&rules).filter(|rule| rule.require_reason)?;
    let answer = ctx.prompt(&format!("what do you need {} for?", rule.role))?;
    Reason::try_from(answer).ok()
}

/// What signing in anew is in the place of.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ReplacedSession {
    Nothing,
    /// One session, and whether through the rule that will be taken.
    One {
        name: String,
        is_same_rule: bool,
    },
    /// All that the user has, where the server knows no more of it.
    AllOfUser,
}

/// `access` in the place of the session that this device has now through the rule that is asked for, else of its last one. Where none is
/// asked for, through the rule of that session and for its reason.
///
/// A rule that the policy no longer gives is not kept: to get what it gives instead is what signing in anew is for.
pub(crate) fn like_replaced(ctx: &CommandContext, access: Access) -> Result<(Access, ReplacedSession), Error> {
    let sessions = match ctx.client()?.sessions() {
        Ok(sessions) => sessions.items,
        Err(error) if error.is_unsupported() => return Ok((access, ReplacedSession::AllOfUser)),
        Err(error) => return Err(error.into()),
    };
    let Some(last) = session_to_replace(sessions, &access) else {
        return Ok((access, ReplacedSession::Nothing));
    };
    let replaced = |is_same_rule| ReplacedSession::One {
        name: last.name.clone(),
        is_same_rule,
    };
    if access.selects_rule() {
        let replaced = replaced(access.matches_session(&last));
        return Ok((access, replaced));
    }
    let rules = ctx.client()?.rules()?;
    let is_given = rules.items.iter().any(|rule| is_rule_of(rule, &last));
    let replaced = replaced(is_given);
    Ok((if is_given { access.with_rule_of(last) } else { access }, replaced))
}

/// The last session of this device through the rule that is asked for, else its last one.
fn session_to_replace(sessions: Vec<SessionInfo>, access: &Access) -> Option<SessionInfo> {
    let is_meant = |session: &SessionInfo| session.this_device && session.label.is_none();
    let meant = sessions.into_iter().filter(is_meant);
    meant.max_by_key(|session| (access.matches_session(session), session.signed_in))
}

/// What is known of a session, without a name of the one that a kubeconfig is of; none where that cannot be said.
pub(crate) fn cached_session(client: &Client, session: Option<&str>) -> Option<CachedSession> {
    let sessions = match client.sessions() {
        Ok(sessions) => sessions.items,
        Err(error) if error.is_unsupported() => return Some(client.session().ok()?.login.into()),
        Err(_) => return None,
    };
    let mut here = sessions.into_iter().filter(|session| session.this_device);
    let found = if let Some(name) = session {
        here.find(|session| session.name == name)
    } else {
        let login = client.session().ok()?.login;
        here.find(|session| (&session.role, session.until) == (&login.role, login.until))
    };
    found.map(CachedSession::from)
}

fn is_rule_of(rule: &RuleInfo, session: &SessionInfo) -> bool {
    (&rule.name, &rule.role, &rule.namespaces) == (&session.rule, &session.role, &session.namespaces)
}
