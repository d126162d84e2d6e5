//! Credentials for kubectl: asked of the server once, and kept until shortly before their end.

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
use crate::terminal::messages;
use crate::terminal::output::PrintError;
use crate::terminal::ui;
pub(crate) use request::PluginRequest;

/// How long a server may take whose credential there is already. It may be refused, and most are not.
const TIMEOUT_WITH_CACHED: Duration = Duration::from_secs(5);

/// Prints the credential that is asked for, from the cache if it will do, else fetched and kept.
///
/// Of many that ask at once one asks the server, and all have its answer, also when that is a refusal. Where nothing can be kept they ask
/// one after the other. Which of two things an early second call means is not known: a client that was refused, or one that asks at each
/// of its calls. So what was fetched a moment ago is handed out again, and what is older and was handed out a moment ago is asked for anew.
pub(crate) fn provide(request: &PluginRequest<'_>) -> Result<ExitCode, Error> {
    let began = Timestamp::now();
    let cache = credential::cache(request.server, request.session)?;
    if let Some(cached) = cache.hand_out(began) {
        return print(&cached.credential);
    }
    // What cannot be locked or kept costs a request more, and nothing else.
    let _lock = cache.lock();
    let now = Timestamp::now();
    let cached = cache.credential(now);
    if let Some(cached) = cached.as_ref().filter(|cached| cached.is_fresh(began, now)) {
        cache.mark_handed_out(now);
        return print(&cached.credential);
    }
    let has_cached = cached.is_some();
    if let Some(failure) = cache
        .failure()
        .filter(|failure| failure.applies(has_cached, began, now))
    {
        // Who can sign in is not bound by what another call heard that could not.
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
            print(&cached.credential)
        }
        Err(error) => {
            let notified = cache.failure().map(|before| before.notified).unwrap_or_default();
            let failure = FetchFailure::new(Timestamp::now(), error.exit(), one_line(&error));
            fall_back(request, &cache, FetchFailure { notified, ..failure })
        }
    }
}

/// What there is where the server gave no other: the credential that is kept, unless the server itself says no. Else the reason, for
/// whom it is new to.
fn fall_back(
    request: &PluginRequest<'_>,
    cache: &CredentialCache,
    mut failure: FetchFailure,
) -> Result<ExitCode, Error> {
    let now = Timestamp::now();
    if let Some(cached) = cache.credential(now).filter(|_| !failure.is_refusal()) {
        let _ = cache.record_failure(&failure);
        cache.mark_handed_out(now);
        return print(&cached.credential);
    }
    let is_new = failure.mark_notified(ParentProcess::find(), now);
    let _ = cache.record_failure(&failure);
    // A person who asks twice wants to read it twice.
    if is_new || !request.by_program {
        ui::write_stderr(&failure.text);
    }
    Ok(failure.status.into())
}

/// A credential from the server, after signing in again if the session is over and that is wanted.
///
/// Where there is `has_kept`, which may do as well, a server that does not answer is not waited for as long.
fn fetch(request: &PluginRequest<'_>, cache: &CredentialCache, has_cached: bool) -> Result<ExecCredential, Error> {
    let deadline = request.deadline();
    let limit = if has_cached {
        TIMEOUT_WITH_CACHED
    } else {
        deadline.limit()
    };
    match request.fetch(deadline.capped_at(limit)) {
        Err(over) if over.exit() == Exit::NotSignedIn => {
            cache.remove_credential();
            match reauthenticate::context_if_enabled(request) {
                Some(ctx) => reauthenticate::sign_in(&ctx.with_deadline(deadline), request),
                None => Err(over),
            }
        }
        answer => answer,
    }
}

/// In one line: kubectl's own words are around it.
fn one_line(error: &Error) -> String {
    let said = error.to_string();
    let why = error.why().into_iter().find(|why| !said.contains(why.as_str()));
    let advice = error.advice().into_iter().next();
    let parts: Vec<_> = [Some(said), why, advice].into_iter().flatten().collect();
    format!("tka: {}\n", messages::clean(&parts.join(": ")))
}

fn print(credential: &ExecCredential) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer(&mut out, credential).map_err(io::Error::from);
    let written = written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written
        .map(|()| ExitCode::SUCCESS)
        .map_err(|error| PrintError::Write(error).into())
}
