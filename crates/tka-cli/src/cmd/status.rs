//! `tka status`

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::clock::Skew;
use crate::api::device_sessions;
use crate::config::flags::Global;
use crate::context::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::current_context::{self, Current};
use crate::kubeconfig::session_cache::{self, Known, KnownSession};
use crate::kubeconfig::store::{self, Store};
use crate::report;
use crate::report::status::{Status, StatusItem};
use crate::sys::environment;
use crate::sys::parallel;
use crate::terminal::messages;
use crate::terminal::output::Output;
use crate::terminal::ui;

/// How long each server may take: all are asked at the same time, and what was known before stands in.
const LIMIT: Duration = Duration::from_secs(3);

/// Show who you are, where, with which role and for how long
///
/// The sessions of this device at all servers that it signed in to, the one that kubectl uses here marked with `*`. Servers are asked
/// side by side; where one does not answer, what was known last is shown, and said to be. The exit status is 3 when there is none.
///
/// With --prompt just the role, server and time left of the session that kubectl uses here, such as `view@tka 14m`, for a shell's
/// prompt: from what this device knows, without asking anybody, and nothing at all when there is none. The exit status is 0 then.
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
    let app = App::new(flags)?;
    let mut all = app.known_everywhere();
    if !all.iter().any(|known| known.server().as_ref() == Some(app.server())) {
        all.push(Known::at(app.server()));
    }
    let spinner = app.ui.spinner("asking");
    let asked = ask_all(&app, &all);
    drop(spinner);
    let current = environment::home().and_then(|home| current_context::find(&home));
    let mut items = Vec::new();
    let mut failed = None;
    for (mut known, answer) in all.into_iter().zip(asked) {
        let confirmed = answer.is_ok();
        match answer {
            Ok((sessions, skew)) => {
                let until = sessions.iter().map(|session| session.until).min();
                app.note_clock(skew, until);
                known.update(app.store().ok().map(Store::folder), sessions);
            }
            Err(error) => failed = Some(error),
        }
        items.extend(shown(&known, confirmed, current.as_ref()));
    }
    let status = Status { items };
    match failed {
        Some(error) if status.items.is_empty() => return Err(error),
        _ => {}
    }
    if arguments.output.print(app.config.mode(), &status)? && status.items.is_empty() {
        let text = "you are not signed in: sign in with `tka login`";
        app.ui.tell(&messages::note(text, &app.ui.palette));
    }
    let exit = if status.items.is_empty() {
        Exit::NotSignedIn
    } else {
        Exit::Ok
    };
    Ok(exit.into())
}

/// What every server says, each within the limit.
fn ask_all(app: &App, all: &[Known]) -> Vec<Result<(Vec<KnownSession>, Skew), Error>> {
    let answers = parallel::map(all, |known| ask(app, known));
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(Error::NotAsked)))
        .collect()
}

fn ask(app: &App, known: &Known) -> Result<(Vec<KnownSession>, Skew), Error> {
    let server = known.server().unwrap_or_else(|| app.server().clone());
    let client = app.client_at(&server, LIMIT)?;
    let sessions = device_sessions::fetch(&client)?;
    Ok((sessions, client.skew()))
}

fn shown(known: &Known, confirmed: bool, current: Option<&Current>) -> Vec<StatusItem> {
    let now = Timestamp::now();
    let Some(server) = known.server() else { return vec![] };
    // What the server has just said counts, whatever this machine's clock says.
    let sessions = known.sessions.iter().filter(|session| confirmed || session.until > now);
    let item = |session: &KnownSession| StatusItem {
        server: server.to_string(),
        session: session.name.clone(),
        username: session.username.clone(),
        role: session.role.clone(),
        until: session.until,
        context: session.context.clone(),
        current: current.is_some_and(|current| current.is(known, session)),
        confirmed,
    };
    sessions.map(item).collect()
}

/// What a prompt shows of the session that kubectl uses here. Reads a few small files and asks nobody.
fn prompt() -> Result<(), Error> {
    let Some(home) = environment::home() else { return Ok(()) };
    let Some(current) = current_context::find(&home) else {
        return Ok(());
    };
    let now = Timestamp::now();
    if let Some((server, role, until)) = current.inside(&environment::variable) {
        if until > now {
            ui::print(&report::status::prompt(&role, server.host(), until, now))?;
        }
        return Ok(());
    }
    for known in session_cache::everywhere(&store::folder(&home)) {
        let mut sessions = known.sessions.iter().filter(|session| session.until > now);
        let session = sessions.find(|session| current.is(&known, session));
        if let (Some(session), Some(server)) = (session, known.server()) {
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
