//! Credentials for kubectl. They are fetched once and cached until shortly before their end.

mod reauthenticate;
mod request;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tka_api::exec::ExecCredential;

use crate::credential;
use crate::credential::cache::{CachedCredential, CredentialCache};
use crate::credential::parent_process::ParentProcess;
use crate::credential::shared_state::FetchFailure;
use crate::error::Error;
use crate::exit::Exit;
use crate::terminal::output::PrintError;
use crate::terminal::{messages, ui};
pub(crate) use request::PluginRequest;

/// How long the server may take if a credential is cached. The cached one may be refused, but rarely is.
const TIMEOUT_WITH_CACHED: Duration = Duration::from_secs(5);

/// Prints the requested credential, from the cache or from the server.
///
/// Of concurrent calls one asks the server, and all use its response, also a refusal. Without a cache they ask one after the other. A
/// second call soon after may mean a refused credential, or a client that asks for each request. So a fresh credential is handed out again.
/// An older one that was just handed out is fetched again.
pub(crate) fn print_credential(request: &PluginRequest<'_>) -> Result<ExitCode, Error> {
    let began = Timestamp::now();
    let cache = credential::cache(request.server, request.session)?;
    if let Some(cached) = cache.hand_out(began) {
        return write_to_stdout(&cached.credential);
    }
    // Without a lock or cache there are more requests, and nothing else changes.
    let _lock = cache.lock();
    let now = Timestamp::now();
    let cached = cache.credential(now);
    if let Some(cached) = cached.as_ref().filter(|cached| cached.is_fresh(began, now)) {
        cache.mark_handed_out(now);
        return write_to_stdout(&cached.credential);
    }
    let has_cached = cached.is_some();
    let failure = cache
        .failure()
        .filter(|failure| failure.applies(has_cached, began, now));
    if let Some(failure) = failure {
        // A failure of a call that could not sign in does not bind a call that can.
        if failure.status != Exit::NotSignedIn as u8 || reauthenticate::context_if_enabled(request).is_none() {
            return fall_back(request, &cache, failure);
        }
    }
    match fetch(request, &cache, has_cached) {
        Ok(credential) => {
            let now = Timestamp::now();
            let cached = CachedCredential::new(credential, now);
            let _ = cache.store(&cached);
            cache.mark_handed_out(now);
            write_to_stdout(&cached.credential)
        }
        Err(error) => {
            let notified = cache.failure().map(|before| before.notified).unwrap_or_default();
            let failure = FetchFailure::new(Timestamp::now(), error.exit(), one_line(&error));
            fall_back(request, &cache, FetchFailure { notified, ..failure })
        }
    }
}

/// Falls back to the cached credential, unless the server refused. Otherwise prints the reason, unless the caller has just read it.
fn fall_back(
    request: &PluginRequest<'_>,
    cache: &CredentialCache,
    mut failure: FetchFailure,
) -> Result<ExitCode, Error> {
    let now = Timestamp::now();
    if let Some(cached) = cache.credential(now).filter(|_| !failure.is_refusal()) {
        let _ = cache.record_failure(&failure);
        cache.mark_handed_out(now);
        return write_to_stdout(&cached.credential);
    }
    let is_new = failure.mark_notified(ParentProcess::find(), now);
    let _ = cache.record_failure(&failure);
    // A user who asks again wants to read it again.
    if is_new || !request.by_program {
        ui::write_stderr(&failure.text);
    }
    Ok(failure.status.into())
}

/// Fetches a credential. Signs in again first if the session is over and that is enabled.
///
/// With `has_cached` the time limit is shorter, since the cached credential may do.
fn fetch(request: &PluginRequest<'_>, cache: &CredentialCache, has_cached: bool) -> Result<ExecCredential, Error> {
    let deadline = request.deadline();
    let limit = if has_cached {
        TIMEOUT_WITH_CACHED
    } else {
        deadline.limit()
    };
    match request.fetch(deadline.capped_at(limit)) {
        Err(not_signed_in) if not_signed_in.exit() == Exit::NotSignedIn => {
            cache.remove_credential();
            match reauthenticate::context_if_enabled(request) {
                Some(ctx) => reauthenticate::sign_in(&ctx.with_deadline(deadline), request),
                None => Err(not_signed_in),
            }
        }
        result => result,
    }
}

/// The error on one line, between kubectl's own lines.
fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let why = error.why().into_iter().find(|why| !text.contains(why.as_str()));
    let advice = error.advice().into_iter().next();
    let parts: Vec<_> = [Some(text), why, advice].into_iter().flatten().collect();
    format!("tka: {}\n", messages::clean(&parts.join(": ")))
}

fn write_to_stdout(credential: &ExecCredential) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer(&mut out, credential).map_err(io::Error::from);
    let written = written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(PrintError::Write)?;
    Ok(ExitCode::SUCCESS)
}
