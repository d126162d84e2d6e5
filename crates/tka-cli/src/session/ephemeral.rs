//! An ephemeral session: it begins before one program and ends after it. Other sessions are not affected.

mod child;
mod folder;
mod shells;
mod signals;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;
use tka_api::http::LoginResponse;
use tka_api::kubeconfig::KubeconfigFile;

use crate::api::access::AccessRequest;
use crate::api::client::{Client, SignInResponse};
use crate::context::CommandContext;
use crate::credential;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::server_kubeconfig::{self, AuthMethod};
use crate::kubeconfig::shell_integration;
use crate::kubeconfig::store::StoreError;
use crate::session::sign_out::{self, SignedOut};
use crate::session::{login_request, provisioning, sign_in};
use crate::sys::environment::variable;
use crate::terminal::output::RenderOptions;
use crate::terminal::{messages, time_format, ui};

use signals::SignalGuard;

/// The name of the session, for the programs in it.
const SESSION: &str = "TKA_SESSION";

/// How long to try to end the session, whatever the time limit of other requests. Otherwise it lasts its whole period.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How long to try to end a session that may have begun. The user has waited for it already.
const ABANDON_LIMIT: Duration = Duration::from_secs(5);

/// The program to run, and how it is presented.
#[derive(Debug)]
pub(crate) enum Program {
    /// A command and its arguments. `tka` prints no messages of its own.
    Command(Vec<OsString>),
    /// The user's interactive shell.
    Shell,
    /// One command line for the user's shell.
    Line(OsString),
}

#[derive(Debug)]
enum SessionScope {
    /// A session with a label of its own. Holds its name.
    Labelled(String),
    /// The only session of this user, at the original's server.
    UserWide,
}

/// A session that ends with its program.
#[derive(Debug)]
struct EphemeralSession {
    scope: SessionScope,
    login: LoginResponse,
    folder: TempDir,
}

/// Runs `program` in a session of its own, ends the session, and returns the program's status.
pub(crate) fn run(
    ctx: &CommandContext,
    access: &AccessRequest,
    form: AuthMethod,
    program: &Program,
) -> Result<ExitCode, Error> {
    if let (Program::Shell, Some(outer)) = (program, variable(SESSION)) {
        let text = format!("this shell runs inside the shell of the session {outer}, and returns to it");
        ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
    }
    let guard = SignalGuard::new().map_err(Error::Signals)?;
    let session = EphemeralSession::begin(ctx, access, form, program, &guard)?;
    let ended = match guard.interruption() {
        Some(signal) => Ok(child::status_of(signal)),
        None => session.run(ctx, program, &guard),
    };
    session.end(ctx);
    ended
}

// === impl EphemeralSession ===

impl EphemeralSession {
    fn begin(
        ctx: &CommandContext,
        access: &AccessRequest,
        form: AuthMethod,
        program: &Program,
        guard: &SignalGuard,
    ) -> Result<Self, Error> {
        // All checks that need no session come first.
        let folder = folder::private()?;
        guard.remove_on_exit(folder.path());
        let label = program.label()?;
        login_request::check(ctx, access, form)?;
        let signed_in = login_request::with_required_reason(ctx, access, |access| {
            // A session that may have begun ends before a signal can end the process.
            let abandoned = |error: &Error| abandon(ctx, error, &label);
            guard.begin(|| login_request::sign_in_until_ready(ctx, access, form, Some(&label)).inspect_err(abandoned))
        });
        let (client, signed_in) = signed_in?;
        let persisted = Self::persist(ctx, access, form, &client, signed_in, folder);
        let session = persisted.inspect_err(|error| abandon(ctx, error, &label))?;
        session.present(ctx, program);
        Ok(session)
    }

    /// Determines the scope of the session, and writes its kubeconfig.
    fn persist(
        ctx: &CommandContext,
        access: &AccessRequest,
        form: AuthMethod,
        client: &Client,
        signed_in: SignInResponse,
        folder: TempDir,
    ) -> Result<Self, Error> {
        let (login, credential) = (signed_in.login, signed_in.credential);
        let (scope, sent) = match (signed_in.session, signed_in.kubeconfig) {
            (Some(session), Some(sent)) => (SessionScope::Labelled(session), *sent?),
            (None, Some(sent)) => (SessionScope::UserWide, *sent?),
            (_, None) => {
                let sent = provisioning::fetch_when_ready(client, AuthMethod::Token)?;
                (SessionScope::UserWide, sent)
            }
        };
        let session = match &scope {
            SessionScope::Labelled(session) => Some(session.as_str()),
            SessionScope::UserWide => None,
        };
        let (mut kubeconfig, _) = sign_in::with_credential(sent, client, session, access, form)?;
        if let Some(namespace) = &access.namespace {
            server_kubeconfig::set_namespace(&mut kubeconfig, namespace);
        }
        let session = Self { scope, login, folder };
        session.write(&kubeconfig)?;
        if let (SessionScope::Labelled(session), Some(credential)) = (&session.scope, credential) {
            credential::store(ctx, session, credential);
        }
        sign_in::warn_unverified(ctx, &kubeconfig);
        Ok(session)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn write(&self, kubeconfig: &KubeconfigFile) -> Result<(), StoreError> {
        let (path, text) = (self.kubeconfig(), tka_kubeconfig::to_yaml(kubeconfig)?);
        // helm warns about a kubeconfig that others can read, in any folder.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| StoreError::Write { path, source })
    }

    fn present(&self, ctx: &CommandContext, program: &Program) {
        let palette = &ctx.ui.palette;
        if matches!(program, Program::Shell) {
            let options = RenderOptions::for_stderr(palette);
            ctx.ui.notify(&messages::signed_in(&self.login, vec![], &options));
        }
        if matches!(self.scope, SessionScope::UserWide) {
            let text = "this server keeps one session per user: the end of this one signs you out everywhere";
            ctx.ui.notify(&messages::warning(text, palette));
        }
    }

    fn run(&self, ctx: &CommandContext, program: &Program, guard: &SignalGuard) -> Result<ExitCode, Error> {
        let (name, mut command) = program.command(&self.kubeconfig(), self.folder.path())?;
        command
            // For the calling shell only. The program sets its own variables.
            .env_remove(shell_integration::FILE)
            .env("KUBECONFIG", self.kubeconfig())
            .env("TKA_KUBECONFIG", self.kubeconfig())
            .env("TKA_SERVER", ctx.server().to_string())
            .env("TKA_ROLE", &self.login.role)
            .env("TKA_UNTIL", self.login.until.to_string());
        match &self.scope {
            SessionScope::Labelled(session) => command.env(SESSION, session),
            SessionScope::UserWide => command.env(SESSION, &self.login.username),
        };
        if matches!(program, Program::Shell) && ui::is_captured(ctx.config.quiet) {
            command.stdout(std::io::stderr());
        }
        let hangup_ends_it = matches!(program, Program::Shell);
        child::run(&mut command, guard, hangup_ends_it).map_err(|source| Error::Program { name, source })
    }

    /// Ends the session. A failure is reported, but the program's status stands.
    fn end(&self, ctx: &CommandContext) {
        let palette = &ctx.ui.palette;
        let spinner = ctx.ui.spinner("ending the session");
        let client = ctx.retrying_client(END_LIMIT);
        let ended = client.and_then(|client| self.end_with(ctx, &client));
        drop(spinner);
        if let SessionScope::Labelled(session) = &self.scope {
            credential::remove(ctx, session);
        }
        match ended {
            Ok(()) => {}
            // The session has ended already: it expired, or another command ended it.
            Err(error) if error.exit() == Exit::NotSignedIn => {}
            Err(error) => {
                ui::write_stderr(&error.render(&RenderOptions::for_stderr(palette)));
                let (until, now) = (self.login.until, Timestamp::now());
                if until <= now {
                    return;
                }
                let until = time_format::until(until, now, &TimeZone::system());
                let text = format!("the session could not be ended now, and ends by itself {until}");
                ui::write_stderr(&messages::warning(&text, palette));
            }
        }
    }

    fn end_with(&self, ctx: &CommandContext, client: &Client) -> Result<(), Error> {
        match &self.scope {
            SessionScope::Labelled(name) => client.end_session(name).map(drop)?,
            SessionScope::UserWide => {
                if let SignedOut::User(user) = sign_out::sign_out_with(ctx, client)? {
                    ctx.ui
                        .notify(&messages::done(&format!("signed out {user}"), &ctx.ui.palette));
                }
            }
        }
        Ok(())
    }
}

/// Ends a session that may have begun although the response failed or came too late.
fn abandon(ctx: &CommandContext, error: &Error, label: &str) {
    let may_have_begun = match error {
        Error::Client(error) => error.may_have_taken_effect(),
        _ => true,
    };
    if !may_have_begun {
        return;
    }
    let Ok(client) = ctx.retrying_client(ABANDON_LIMIT) else {
        return;
    };
    let sessions = client.sessions().map(|sessions| sessions.items).unwrap_or_default();
    for session in sessions {
        if session.this_device && session.label.as_deref() == Some(label) {
            // If this fails, the session expires.
            let _ = client.end_session(&session.name);
        }
    }
}

// === impl Program ===

impl Program {
    /// The label that keeps its session apart from others of the device.
    fn label(&self) -> Result<String, Error> {
        let kind = match self {
            Self::Command(_) => "exec",
            Self::Shell | Self::Line(_) => "shell",
        };
        let random = getrandom::u64().map_err(Error::Random)?;
        Ok(format!("{kind}-{random:016x}"))
    }
}
