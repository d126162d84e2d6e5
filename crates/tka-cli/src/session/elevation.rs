//! Elevations of this device: while one lasts, it acts for all that uses the gateway without naming a rule.

use tka_api::http::{ApprovalInfo, ApprovalState, SessionInfo};

use crate::api::access::AccessRequest;
use crate::api::client::Client;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::current_context::{self, ElevationScope};
use crate::kubeconfig::known_replicas;
use crate::kubeconfig::server_kubeconfig::AuthMethod;
use crate::kubeconfig::session_cache::{CachedSession, is_elevation};
use crate::kubeconfig::store::KubeconfigStore;
use crate::session::{login_request, notices, sign_out};
use crate::sys::environment;
use crate::terminal::messages::{self, Clock};
use crate::terminal::time_format;

/// Elevates this device, and says for what that counts.
pub(crate) fn begin(ctx: &CommandContext, access: &AccessRequest) -> Result<(), Error> {
    check(ctx, &ctx.client()?)?;
    let attempt = |access: &AccessRequest| login_request::sign_in_until_ready(ctx, access, AuthMethod::Gateway, None);
    let (_, signed_in) = login_request::with_required_reason(ctx, access, attempt)?;
    let clock = Clock::system();
    let login = signed_in.login;
    let text = announcement(
        &described(&login.role, signed_in.rule.as_deref()),
        &time_format::until(login.until, clock.now, &clock.zone),
    );
    remember(
        ctx,
        CachedSession {
            name: signed_in.session,
            elevated: Some(clock.now),
            ..CachedSession::from(login)
        },
    );
    ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
    if let Some(text) = unreached(&reach(ctx)) {
        ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
    }
    Ok(())
}

/// Ends the elevations of this device, and withdraws those that wait for approval.
pub(crate) fn end(ctx: &CommandContext) -> Result<(), Error> {
    let client = ctx.client()?;
    // First: one that is approved meanwhile is found among the sessions below. What fails of it keeps none of them.
    let withdrawn = withdraw_waiting(ctx, &client);
    let of_this_device = |session: &SessionInfo| session.this_device && is_elevation(session);
    let elevations: Vec<_> = client.sessions()?.items.into_iter().filter(of_this_device).collect();
    if elevations.is_empty() {
        forget(ctx);
        if withdrawn? {
            return Ok(());
        }
        return Err(Error::NotElevated {
            server: ctx.server().to_string(),
        });
    }
    for elevation in &elevations {
        match client.end_session(&elevation.name) {
            Ok(_) => {}
            // It ended meanwhile.
            Err(error) if error.exit() == Exit::NotSignedIn => {}
            Err(error) => return Err(error.into()),
        }
        sign_out::remove_ended(ctx, &elevation.name)?;
        let what = described(&elevation.role, elevation.rule.as_deref());
        let text = format!("your elevation to {what} is over");
        ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
    }
    forget(ctx);
    withdrawn.map(drop)
}

/// Withdraws the elevations of this device that wait for approval. Returns whether there was one.
fn withdraw_waiting(ctx: &CommandContext, client: &Client) -> Result<bool, Error> {
    let all = match client.approvals() {
        Ok(list) => list.items,
        // Where nothing can wait, nothing does.
        Err(error) if error.is_unsupported() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let is_meant = |one: &ApprovalInfo| {
        one.this_device && one.elevation && matches!(one.status.state, ApprovalState::Waiting | ApprovalState::Approved)
    };
    let mut is_any_withdrawn = false;
    for waiting in all.iter().filter(|one| is_meant(one)) {
        match client.withdraw(&waiting.status.session) {
            Ok(_) => {}
            // It was decided or withdrawn meanwhile, or is over.
            Err(error) if error.is_not_signed_in() || error.is_decided() => continue,
            Err(error) => return Err(error.into()),
        }
        is_any_withdrawn = true;
        let what = described(&waiting.role, waiting.rule.as_deref());
        let text = format!("your elevation to {what} waits for approval no more");
        ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
    }
    Ok(is_any_withdrawn)
}

/// Refuses a server that knows no elevations: it would sign in as ever.
fn check(ctx: &CommandContext, client: &Client) -> Result<(), Error> {
    let gateway = match client.cluster_info() {
        Ok(info) => info.gateway,
        // Rules that are ambiguous until one is chosen. A server that reads no choice refuses to sign in, too.
        Err(error) if error.exit() == Exit::Policy => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match gateway {
        Some(gateway) if gateway.elevation => Ok(()),
        Some(_) => Err(client.knows_no_elevations().into()),
        None => Err(Error::NothingToElevate {
            server: ctx.server().to_string(),
        }),
    }
}

/// Puts an elevation into the session cache, for the prompt. A command does not fail if that fails.
fn remember(ctx: &CommandContext, session: CachedSession) {
    let locked = ctx.store().and_then(KubeconfigStore::lock);
    match locked {
        Ok(lock) => {
            let mut cache = ctx.session_cache();
            cache.put(session);
            notices::save_session_cache(ctx, &lock, &cache);
        }
        Err(error) => ctx.ui.debug(&format!("session cache not saved: {error}")),
    }
}

/// Takes all elevations out of the session cache.
fn forget(ctx: &CommandContext) {
    let mut cache = ctx.session_cache();
    if cache.sessions.iter().all(|session| session.elevated.is_none()) {
        return;
    }
    if let Ok(lock) = ctx.store().and_then(KubeconfigStore::lock) {
        cache.sessions.retain(|session| session.elevated.is_none());
        notices::save_session_cache(ctx, &lock, &cache);
    }
}

/// How the context that kubectl uses stands to an elevation at the server.
fn reach(ctx: &CommandContext) -> ElevationScope {
    let home = environment::home();
    let current = home.and_then(|home| current_context::find(&home));
    let servers = known_replicas::with_replicas(ctx.store().ok(), ctx.server());
    current.map_or(ElevationScope::Elsewhere(String::new()), |current| {
        current.reach(&servers)
    })
}

/// A role, with the rule that gives it.
fn described(role: &str, given_by: Option<&str>) -> String {
    given_by.map_or_else(|| role.to_owned(), |rule_name| format!("{role} (rule {rule_name})"))
}

fn announcement(what: &str, until: &str) -> String {
    format!(
        "elevated to {what}, over {until}; until then every program on this device that uses the gateway without naming a rule has this role"
    )
}

/// Why kubectl is not elevated by what it uses.
fn unreached(reach: &ElevationScope) -> Option<String> {
    match reach {
        ElevationScope::Elevated => None,
        ElevationScope::Named(context) => Some(format!(
            "the context that kubectl uses, {context}, names a rule or a session in its address, so the elevation does not reach it"
        )),
        ElevationScope::Elsewhere(context) if context.is_empty() => Some(
            "kubectl uses no context here, so the elevation does not reach it: `tka login --via gateway` writes one that it reaches".into(),
        ),
        ElevationScope::Elsewhere(context) => Some(format!(
            "the context that kubectl uses, {context}, does not go through the gateway of this server, so the elevation does not reach it: `tka login --via gateway` writes one that it reaches"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcement_says_what_until_when_and_for_which_programs() {
        let text = announcement(&described("cluster-admin", Some("oncall")), "in 29 min");
        assert_eq!(
            text,
            "elevated to cluster-admin (rule oncall), over in 29 min; until then every program on this device that uses the gateway \
             without naming a rule has this role"
        );
        assert_eq!(described("edit", None), "edit");
    }

    #[test]
    fn context_that_is_not_reached_is_named() {
        assert_eq!(unreached(&ElevationScope::Elevated), None);
        let named = unreached(&ElevationScope::Named("tka-context-alice".into())).unwrap();
        assert!(named.contains("tka-context-alice, names a rule"), "{named}");
        let elsewhere = unreached(&ElevationScope::Elsewhere("kind".into())).unwrap();
        assert!(
            elsewhere.contains("kind, does not go through the gateway"),
            "{elsewhere}"
        );
        let none = unreached(&ElevationScope::Elsewhere(String::new())).unwrap();
        assert!(none.starts_with("kubectl uses no context"), "{none}");
    }
}
