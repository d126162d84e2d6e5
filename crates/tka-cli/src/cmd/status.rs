//! `tka status`

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tka_api::http::RequestedAccess;

use crate::api::clock::Skew;
use crate::api::device_sessions;
use crate::config::flags::Global;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::current_context::{self, CurrentContext, ElevationScope};
use crate::kubeconfig::known_replicas;
use crate::kubeconfig::session_cache::{self, CachedSession, SessionCache};
use crate::kubeconfig::store::{self, KubeconfigStore};
use crate::net::server::Server;
use crate::report;
use crate::report::status::{Status, StatusItem};
use crate::session::notices;
use crate::sys::{environment, parallel};
use crate::terminal::output::Output;
use crate::terminal::{messages, ui};

/// How long each server may take. All are asked in parallel, and the cache stands in.
const LIMIT: Duration = Duration::from_secs(3);

/// Show your sessions at all servers: user, role and time left
///
/// Shows the sessions of this device at all servers that it signed in to. `*` marks the session that kubectl uses. Servers are asked in
/// parallel. If one does not respond, the cached sessions are shown, with a note. The exit status is 3 if there is none.
///
/// With --prompt prints the role, server and time left of the session that kubectl uses, such as `view@tka 14m`, for a shell's prompt. It
/// uses what this device knows and sends no request. Without such a session it prints nothing, and the exit status is 0.
///
/// An elevation is a session of its own. Where kubectl goes through the gateway and names no rule, kubectl uses the elevation. The prompt then shows
/// it with a `^` before the role: `^cluster-admin@tka 29m`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// One short line for a prompt
    #[arg(long, conflicts_with = "format")]
    prompt: bool,

    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    if arguments.prompt {
        return prompt().map(|()| ExitCode::SUCCESS);
    }
    let ctx = notices::command_context(flags)?;
    let mut all = ctx.all_session_caches();
    if !all.iter().any(|cache| cache.server().as_ref() == Some(ctx.server())) {
        all.push(SessionCache::at(ctx.server()));
    }
    let spinner = ctx.ui.spinner("querying servers");
    let answers = query_all(&ctx, &all);
    drop(spinner);
    let current = environment::home().and_then(|home| current_context::find(&home));
    let mut items = Vec::new();
    let mut failed = None;
    for (mut cache, answer) in all.into_iter().zip(answers) {
        let confirmed = answer.is_ok();
        match answer {
            Ok((sessions, skew)) => {
                let until = sessions.iter().map(|session| session.until).min();
                notices::warn_clock_skew(&ctx, skew, until);
                cache.update(ctx.store().ok().map(KubeconfigStore::folder), sessions);
            }
            Err(error) => failed = Some(error),
        }
        items.extend(shown(&cache, confirmed, current.as_ref()));
    }
    let status = Status { items };
    match failed {
        Some(error) if status.items.is_empty() => return Err(error),
        _ => {}
    }
    if arguments.output.print(ctx.config.output_mode(), &status)? && status.items.is_empty() {
        let text = "you are not signed in: sign in with `tka login`";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
    let exit = if status.items.is_empty() {
        Exit::NotSignedIn
    } else {
        Exit::Ok
    };
    Ok(exit.into())
}

/// Queries every server, within the limit.
fn query_all(ctx: &CommandContext, all: &[SessionCache]) -> Vec<Result<(Vec<CachedSession>, Skew), Error>> {
    let answers = parallel::map(all, |cache| query(ctx, cache));
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(Error::WorkerPanicked)))
        .collect()
}

fn query(ctx: &CommandContext, cache: &SessionCache) -> Result<(Vec<CachedSession>, Skew), Error> {
    let server = cache.server().unwrap_or_else(|| ctx.server().clone());
    let client = ctx.client_for(&server, LIMIT)?;
    let sessions = device_sessions::fetch(&client)?;
    Ok((sessions, client.skew()))
}

fn shown(cache: &SessionCache, confirmed: bool, current: Option<&CurrentContext>) -> Vec<StatusItem> {
    let now = Timestamp::now();
    let Some(server) = cache.server() else { return vec![] };
    // Beside it, the session of the context does not act.
    let elevation = current.and_then(|current| acting(current, cache, &server, now));
    let is_current = |session: &CachedSession| match elevation {
        Some(elevation) => elevation == session,
        None => current.is_some_and(|current| current.uses(cache, session)),
    };
    // The server's report counts, whatever this machine's clock says.
    let sessions = cache.sessions.iter().filter(|session| confirmed || session.until > now);
    let item = |session: &CachedSession| StatusItem {
        server: server.to_string(),
        session: session.name.clone(),
        username: session.username.clone(),
        role: session.role.clone(),
        until: session.until,
        context: session.context.clone(),
        via: way(session),
        elevation: session.elevated.is_some(),
        current: is_current(session),
        confirmed,
    };
    sessions.map(item).collect()
}

/// By which way the context of a session leads to the cluster. An elevation acts for contexts of others.
fn way(session: &CachedSession) -> Option<RequestedAccess> {
    match &session.context {
        _ if session.elevated.is_some() => Some(RequestedAccess::Gateway),
        Some(_) if session.gateway => Some(RequestedAccess::Gateway),
        Some(_) => Some(RequestedAccess::Direct),
        None => None,
    }
}

/// The elevation at `server` that acts for the current context at `now`.
fn acting<'a>(
    current: &CurrentContext,
    cache: &'a SessionCache,
    server: &Server,
    now: Timestamp,
) -> Option<&'a CachedSession> {
    let elevation = cache.elevation(now)?;
    let store = KubeconfigStore::new(environment::home().as_deref(), server).ok();
    let servers = known_replicas::with_replicas(store.as_ref(), server);
    (current.reach(&servers) == ElevationScope::Elevated).then_some(elevation)
}

/// Prints the session that kubectl uses. Reads a few small files and sends no request.
fn prompt() -> Result<(), Error> {
    let Some(home) = environment::home() else { return Ok(()) };
    let Some(current) = current_context::find(&home) else {
        return Ok(());
    };
    let now = Timestamp::now();
    if let Some((server, role, until)) = current.ephemeral_session(&environment::variable) {
        if until > now {
            ui::print(&report::status::prompt(&role, server.host(), until, now))?;
        }
        return Ok(());
    }
    let caches = session_cache::load_all(&store::folder(&home));
    for cache in &caches {
        let Some(server) = cache.server() else { continue };
        if let Some(elevation) = acting(&current, cache, &server, now) {
            let (role, until) = (&elevation.role, elevation.until);
            ui::print(&report::status::elevated_prompt(role, server.host(), until, now))?;
            return Ok(());
        }
    }
    for cache in caches {
        let mut sessions = cache.sessions.iter().filter(|session| session.until > now);
        let session = sessions.find(|session| current.uses(&cache, session));
        if let (Some(session), Some(server)) = (session, cache.server()) {
            ui::print(&report::status::prompt(
                &session.role,
                server.host(),
                session.until,
                now,
            ))?;
            break;
        }
    }
    Ok(())
}
