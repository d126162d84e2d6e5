//! Credentials for kubectl: asked of the server once, and kept until shortly before their end.

mod reauthenticate;
mod request;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tka_api::exec::ExecCredential;

use crate::credential;
use crate::credential::cache::{Cache, Kept};
use crate::credential::parent_process::Asker;
use crate::credential::shared_state::Failure;
use crate::error::Error;
use crate::exit::Exit;
use crate::terminal::messages;
use crate::terminal::output::PrintError;
use crate::terminal::ui;
pub(crate) use request::Asked;

/// How long a server may take whose credential there is already. It may be refused, and most are not.
const WHILE_KEPT: Duration = Duration::from_secs(5);

/// Prints the credential that is asked for, from the cache if it will do, else fetched and kept.
///
/// Of many that ask at once one asks the server, and all have its answer, also when that is a refusal. Where nothing can be kept they ask
/// one after the other. Which of two things an early second call means is not known: a client that was refused, or one that asks at each
/// of its calls. So what was fetched a moment ago is handed out again, and what is older and was handed out a moment ago is asked for anew.
pub(crate) fn hand_out(asked: &Asked<'_>) -> Result<ExitCode, Error> {
    let began = Timestamp::now();
    let cache = credential::cache(asked.server, asked.session)?;
    if let Some(kept) = cache.give(began) {
        return print(&kept.credential);
    }
    // What cannot be locked or kept costs a request more, and nothing else.
    let _turn = cache.turn();
    let now = Timestamp::now();
    let kept = cache.credential(now);
    if let Some(kept) = kept.as_ref().filter(|kept| kept.is_new(began, now)) {
        cache.note_given(now);
        return print(&kept.credential);
    }
    let has_kept = kept.is_some();
    if let Some(failure) = cache.failure().filter(|failure| failure.holds(has_kept, began, now)) {
        // Who can sign in is not bound by what another call heard that could not.
        if failure.status != Exit::NotSignedIn as u8 || reauthenticate::wanted(asked).is_none() {
            return without_new(asked, &cache, failure);
        }
    }
    match fetch(asked, &cache, has_kept) {
        Ok(credential) => {
            let now = Timestamp::now();
            let kept = Kept::new(credential, now);
            let _ = cache.keep(&kept);
            cache.note_given(now);
            print(&kept.credential)
        }
        Err(error) => {
            let told = cache.failure().map(|before| before.told).unwrap_or_default();
            let failure = Failure::new(Timestamp::now(), error.exit(), line(&error));
            without_new(asked, &cache, Failure { told, ..failure })
        }
    }
}

/// What there is where the server gave no other: the credential that is kept, unless the server itself says no. Else the reason, for
/// whom it is new to.
fn without_new(asked: &Asked<'_>, cache: &Cache, mut failure: Failure) -> Result<ExitCode, Error> {
    let now = Timestamp::now();
    if let Some(kept) = cache.credential(now).filter(|_| !failure.is_refusal()) {
        let _ = cache.remember(&failure);
        cache.note_given(now);
        return print(&kept.credential);
    }
    let is_new = failure.tell(Asker::find(), now);
    let _ = cache.remember(&failure);
    // A person who asks twice wants to read it twice.
    if is_new || !asked.by_program {
        ui::complain(&failure.text);
    }
    Ok(failure.status.into())
}

/// A credential from the server, after signing in again if the session is over and that is wanted.
///
/// Where there is `has_kept`, which may do as well, a server that does not answer is not waited for as long.
fn fetch(asked: &Asked<'_>, cache: &Cache, has_kept: bool) -> Result<ExecCredential, Error> {
    let deadline = asked.deadline();
    let limit = if has_kept { WHILE_KEPT } else { deadline.limit() };
    match asked.fetch(deadline.within(limit)) {
        Err(over) if over.exit() == Exit::NotSignedIn => {
            cache.drop_credential();
            match reauthenticate::wanted(asked) {
                Some(app) => reauthenticate::sign_in(&app.within(deadline), asked),
                None => Err(over),
            }
        }
        answer => answer,
    }
}

/// In one line: kubectl's own words are around it.
fn line(error: &Error) -> String {
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
