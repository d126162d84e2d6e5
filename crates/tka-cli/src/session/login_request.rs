//! A sign-in as it is asked for: what can be had is found out before anything is begun, and a reason that is missing is asked for.

use std::thread;
use std::time::Instant;

use tka_api::http::{RuleInfo, SessionInfo};
use tka_core::Reason;

use crate::api::access::Access;
use crate::api::client::{Client, SignedIn};
use crate::api::retry::Pauses;
use crate::context::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::session_cache::KnownSession;
use crate::terminal::ui;

/// Refuses what the server cannot do, or not in the namespace that is asked for. Begins nothing.
pub(crate) fn check(app: &App, access: &Access) -> Result<(), Error> {
    if !access.asks() && access.namespace.is_none() {
        return Ok(());
    }
    match app.client()?.choices() {
        Ok(rules) => Ok(access.check_namespace(&rules)?),
        // Where rules cannot be chosen, none is limited to namespaces.
        Err(error) if error.is_unsupported() && !access.asks() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Signs in by `attempt`. A reason that the rule asks for and that was not given is asked for, once, where somebody can be asked.
pub(crate) fn with_reason<T>(
    app: &App,
    access: &Access,
    attempt: impl Fn(&Access) -> Result<T, Error>,
) -> Result<T, Error> {
    match attempt(access) {
        Err(Error::Client(refusal)) if refusal.exit() == Exit::Policy && access.reason.is_none() => {
            match missing_reason(app, access) {
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
pub(crate) fn attempt(app: &App, access: &Access, label: Option<&str>) -> Result<(Client, SignedIn), Error> {
    let client = app.client()?;
    let spinner = app.ui.spinner("signing in");
    let request = access.request(label);
    let mut signed_in = client.sign_in(&request)?;
    let mut pauses = Pauses::new();
    let is_chosen = signed_in.kubeconfig.is_none() && (access.asks() || label.is_some() && lets_choose(&client)?);
    while is_chosen && signed_in.kubeconfig.is_none() {
        let pause = pauses.next(signed_in.retry_after);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned().into());
        }
        thread::sleep(pause);
        signed_in = client.sign_in(&request)?;
    }
    drop(spinner);
    app.note_clock(client.skew(), Some(signed_in.login.until));
    Ok((client, signed_in))
}

/// Whether sessions can be chosen and kept apart, which the original's server cannot.
fn lets_choose(client: &Client) -> Result<bool, Error> {
    match client.choices() {
        Ok(_) => Ok(true),
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The reason that the person before the terminal gives, if the rule asks for one.
fn missing_reason(app: &App, access: &Access) -> Option<Reason> {
    if !ui::can_ask() {
        return None;
    }
    let rules = app.client().ok()?.rules().ok()?;
    let rule = access.chosen(&rules).filter(|rule| rule.require_reason)?;
    let answer = app.ask(&format!("what do you need {} for?", rule.role))?;
    Reason::try_from(answer).ok()
}

/// What signing in anew is in the place of.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Replaced {
    Nothing,
    /// One session, and whether through the rule that will be taken.
    Session {
        name: String,
        is_same_rule: bool,
    },
    /// All that the user has, where the server knows no more of it.
    Users,
}

/// `access` in the place of the session that this device has now through the rule that is asked for, else of its last one. Where none is
/// asked for, through the rule of that session and for its reason.
///
/// A rule that the policy no longer gives is not kept: to get what it gives instead is what signing in anew is for.
pub(crate) fn as_before(app: &App, access: Access) -> Result<(Access, Replaced), Error> {
    let sessions = match app.client()?.sessions() {
        Ok(sessions) => sessions.items,
        Err(error) if error.is_unsupported() => return Ok((access, Replaced::Users)),
        Err(error) => return Err(error.into()),
    };
    let Some(last) = to_replace(sessions, &access) else {
        return Ok((access, Replaced::Nothing));
    };
    let replaced = |is_same_rule| Replaced::Session {
        name: last.name.clone(),
        is_same_rule,
    };
    if access.chooses() {
        let replaced = replaced(access.gave(&last));
        return Ok((access, replaced));
    }
    let rules = app.client()?.rules()?;
    let is_given = rules.items.iter().any(|rule| is_rule_of(rule, &last));
    let replaced = replaced(is_given);
    Ok((if is_given { access.again(last) } else { access }, replaced))
}

/// The last session of this device through the rule that is asked for, else its last one.
fn to_replace(sessions: Vec<SessionInfo>, access: &Access) -> Option<SessionInfo> {
    let is_meant = |session: &SessionInfo| session.this_device && session.label.is_none();
    let meant = sessions.into_iter().filter(is_meant);
    meant.max_by_key(|session| (access.gave(session), session.signed_in))
}

/// What is known of a session, without a name of the one that a kubeconfig is of; none where that cannot be said.
pub(crate) fn known(client: &Client, session: Option<&str>) -> Option<KnownSession> {
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
    found.map(KnownSession::from)
}

fn is_rule_of(rule: &RuleInfo, session: &SessionInfo) -> bool {
    (&rule.name, &rule.role, &rule.namespaces) == (&session.rule, &session.role, &session.namespaces)
}
