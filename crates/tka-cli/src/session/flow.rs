//! What several commands do: sign in, fetch the kubeconfig, sign out.

use std::path::Path;
use std::thread;
use std::time::Instant;

use tka_api::exec::ExecCredential;
use tka_api::kubeconfig::{EntryNames, KubeconfigFile, NamedCluster, User};

use crate::api::access::Access;
use crate::api::client::{Client, ClientError, Credential, Kubeconfig, SignedIn};
use crate::api::retry::Pauses;
use crate::app::App;
use crate::credential;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::known::KnownSession;
use crate::kubeconfig::plugin;
use crate::kubeconfig::sent::{self, Form, Sent};
use crate::session::local::{self, Called, Kept, New};
use crate::session::signin::{self, Replaced};
use crate::terminal::output::Look;
use crate::terminal::view;

/// How a sign-out ended well.
#[derive(Debug)]
pub(crate) enum SignedOut {
    /// The session of this user is over.
    User(String),
    /// There was no session; the server's account of it.
    NotSignedIn(ClientError),
}

/// How a session's context is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) form: Form,
    /// Whether in the user's own kubeconfig too.
    pub(crate) merge: bool,
}

/// Signs in, waits until the session is usable, and keeps its kubeconfig.
pub(crate) fn sign_in(app: &App, access: &Access, how: How) -> Result<Kept, Error> {
    let called = access.choice().map_or(Called::AsSent, Called::ForRule);
    sign_in_as(app, access, how, called)
}

fn sign_in_as(app: &App, access: &Access, how: How, called: Called) -> Result<Kept, Error> {
    local::check(app, how.merge)?;
    let attempt = |access: &Access| signin::attempt(app, access, None);
    let (client, signed_in) = signin::with_reason(app, access, attempt)?;
    let spinner = app.ui.spinner("signing in");
    let SignedIn {
        login,
        kubeconfig,
        session,
        credential,
        ..
    } = signed_in;
    let sent = match kubeconfig {
        Some(sent) => *sent,
        None => fetch_when_ready(&client, how.form)?,
    };
    let session = session.or_else(|| sent.session.clone());
    let (mut kubeconfig, has_plugin) = with_credential(sent, &client, session.as_deref(), access, how.form)?;
    if has_plugin && let Called::AsBefore(names) = &called {
        ask_as_before(app, &mut kubeconfig, names);
    }
    if let Some(namespace) = &access.namespace {
        sent::work_in(&mut kubeconfig, namespace);
    }
    let new = New {
        kubeconfig: kubeconfig.clone(),
        session: session.clone(),
        known: Some(KnownSession {
            name: session.clone(),
            ..KnownSession::from(login.clone())
        }),
        called,
        merge: how.merge,
    };
    let kept = local::keep(app, new).map_err(|error| Error::NotKept(error.into()))?;
    if let (Some(session), Some(credential)) = (session, credential) {
        credential::keep(app, &session, credential);
    }
    drop(spinner);
    let (palette, details) = (&app.ui.palette, details(app, &client, &kubeconfig, &kept));
    app.ui.tell(&view::signed_in(&login, details, &Look::beside(palette)));
    note_token(app, how.form, has_plugin);
    note_merge(app, &kept);
    warn_unverified(app, &kubeconfig);
    Ok(kept)
}

/// Signs out of one session and in again, under the same name if it is through the same rule.
pub(crate) fn sign_in_again(app: &App, access: Access, how: How) -> Result<Kept, Error> {
    let (access, replaced) = signin::as_before(app, access)?;
    // Before anything ends.
    local::check(app, how.merge)?;
    let Replaced::Session { name, is_same_rule } = replaced else {
        if replaced == Replaced::Users {
            // Whether there was a session to end makes no difference to the one that begins.
            sign_out(app)?;
        }
        return sign_in(app, &access, how);
    };
    let names = local::names_of(app, &name).filter(|_| is_same_rule);
    let how = How {
        merge: how.merge || local::is_merged(app, &name),
        ..how
    };
    local::check(app, how.merge)?;
    match app.client()?.end_session(&name) {
        Ok(_) => credential::forget_session(app, &name),
        Err(error) if error.exit() == Exit::NotSignedIn => credential::forget_session(app, &name),
        Err(error) => return Err(error.into()),
    }
    let kept = match names {
        Some(names) => sign_in_as(app, &access, how, Called::AsBefore(names)),
        None => sign_in(app, &access, how),
    };
    match kept {
        Ok(kept) if kept.session.as_ref() == Some(&name) => Ok(kept),
        Ok(kept) => local::end(app, &name).map(|()| kept),
        // What went wrong first is what matters.
        Err(error) => {
            let _ = local::end(app, &name);
            Err(error)
        }
    }
}

/// Lets the file's user ask as it did when it was kept under `names`, which says more of how to sign in again.
fn ask_as_before(app: &App, kubeconfig: &mut KubeconfigFile, names: &EntryNames) {
    let Some(before) = local::user_of(app, names) else {
        return;
    };
    let session = |user: &User| {
        let exec = user.exec.as_ref();
        exec.and_then(|exec| plugin::session_in(&exec.args))
            .map(ToOwned::to_owned)
    };
    for named in &mut kubeconfig.users {
        if session(&named.user) == session(&before) {
            named.user = before.clone();
        }
    }
}

/// Tells that anyone on the way to the API server can read along, if so.
pub(crate) fn warn_unverified(app: &App, kubeconfig: &KubeconfigFile) {
    let is_unverified = |named: &NamedCluster| named.cluster.insecure_skip_tls_verify;
    if kubeconfig.clusters.iter().any(is_unverified) {
        let text = "the certificate of the cluster's API server is not verified";
        app.ui.tell(&view::warning(text, &app.ui.palette));
    }
}

/// Fetches a kubeconfig of the session there is, and keeps it. What there is of other sessions calls this program where it is now.
pub(crate) fn fetch_kubeconfig(app: &App, how: How) -> Result<Kept, Error> {
    local::check(app, how.merge)?;
    mend(app);
    let client = app.client()?;
    let spinner = app.ui.spinner("fetching the kubeconfig");
    let sent = fetch_when_ready(&client, how.form)?;
    let known = signin::known(&client, sent.session.as_deref());
    let session = sent.session.clone().or_else(|| known.as_ref()?.name.clone());
    let access = Access::default();
    let (mut kubeconfig, has_plugin) = with_credential(sent, &client, session.as_deref(), &access, how.form)?;
    let names = session.as_deref().and_then(|session| local::names_of(app, session));
    if let (Some(names), true) = (&names, has_plugin) {
        ask_as_before(app, &mut kubeconfig, names);
    }
    let kept = local::keep(
        app,
        New {
            kubeconfig,
            session,
            known,
            called: names.map_or(Called::AsSent, Called::AsBefore),
            merge: how.merge,
        },
    )?;
    drop(spinner);
    let text = if has_plugin {
        "kubeconfig written"
    } else {
        "kubeconfig with a fresh credential written"
    };
    app.ui.tell(&view::done(text, &app.ui.palette));
    note_token(app, how.form, has_plugin);
    note_merge(app, &kept);
    Ok(kept)
}

/// Mends what calls this program where it is no longer. What cannot be mended does not keep the rest from it.
fn mend(app: &App) {
    let palette = &app.ui.palette;
    match local::mend(app) {
        Ok(0) => {}
        Ok(1) => app.ui.tell(&view::done(
            "one user of your kubeconfigs calls tka where it is now",
            palette,
        )),
        Ok(count) => {
            let text = format!("{count} users of your kubeconfigs call tka where it is now");
            app.ui.tell(&view::done(&text, palette));
        }
        Err(error) => crate::terminal::ui::complain(&error.shown(&Look::beside(palette))),
    }
}

/// Tells where a context was merged.
pub(crate) fn note_merge(app: &App, kept: &Kept) {
    if let Some(target) = &kept.merged {
        let text = format!("{} is the current context of {}", kept.context, target.path.display());
        app.ui.tell(&view::note(&text, &app.ui.palette));
    }
}

/// Removes what is left here of a session that is over.
pub(crate) fn clear(app: &App, session: &str) -> Result<(), Error> {
    credential::forget_session(app, session);
    local::end(app, session)
}

/// What was sent, with this program's plugin or a token; see [`Sent::with_credential`].
pub(crate) fn with_credential(
    sent: Sent,
    client: &Client,
    session: Option<&str>,
    access: &Access,
    form: Form,
) -> Result<(KubeconfigFile, bool), ClientError> {
    let filled = sent.with_credential(client.server(), session, &access.choosing(), form);
    filled.map_err(|flaw| client.unusable(flaw))
}

fn note_token(app: &App, form: Form, has_plugin: bool) {
    if form == Form::Plugin && !has_plugin {
        let text = "this server gives credentials in kubeconfigs only: the file holds the token, and `tka kubeconfig` a fresh one";
        app.ui.tell(&view::note(text, &app.ui.palette));
    }
}

/// Ends the session and removes its kubeconfig, which stays where the session may have stayed.
pub(crate) fn sign_out(app: &App) -> Result<SignedOut, Error> {
    let _spinner = app.ui.spinner("signing out");
    sign_out_by(app, &app.client()?)
}

/// The same, by a connection of its own.
pub(crate) fn sign_out_by(app: &App, client: &Client) -> Result<SignedOut, Error> {
    match client.sign_out() {
        Ok(user) => {
            forget(app)?;
            Ok(SignedOut::User(user))
        }
        Err(error) if error.is_not_signed_in() => {
            forget(app)?;
            Ok(SignedOut::NotSignedIn(error))
        }
        Err(error) => Err(match app.kubeconfig() {
            Some(path) => Error::KubeconfigKept {
                error,
                path: path.to_owned(),
            },
            None => error.into(),
        }),
    }
}

/// Removes what signing in left on this machine.
fn forget(app: &App) -> Result<(), Error> {
    credential::forget(app);
    local::forget(app)
}

/// Asks until the session is provisioned or the time is up.
pub(crate) fn fetch_when_ready(client: &Client, form: Form) -> Result<Sent, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let asked = match client.kubeconfig(form == Form::Plugin)? {
            Kubeconfig::Ready(sent) => return Ok(*sent),
            Kubeconfig::NotYet(asked) => asked,
        };
        let pause = pauses.next(asked);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}

/// A credential of `session`, as soon as that is provisioned.
pub(crate) fn fetch_credential(client: &Client, session: &str) -> Result<ExecCredential, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let asked = match client.credential(session)? {
            Credential::Ready(credential) => return Ok(credential),
            Credential::NotYet(asked) => asked,
        };
        let pause = pauses.next(asked);
        if pause >= client.remaining(Instant::now()) {
            return Err(client.not_provisioned());
        }
        thread::sleep(pause);
    }
}

/// What `--long` adds to a sign-in.
fn details(app: &App, client: &Client, kubeconfig: &KubeconfigFile, kept: &Kept) -> Vec<(&'static str, String)> {
    if !app.config.long {
        return vec![];
    }
    let api_server = kubeconfig
        .clusters
        .first()
        .map(|named| named.cluster.server.clone())
        .unwrap_or_default();
    let path = app.kubeconfig().unwrap_or(Path::new(""));
    vec![
        ("server", client.server().to_string()),
        ("cluster", api_server),
        ("context", kept.context.clone()),
        ("kubeconfig", path.display().to_string()),
    ]
}
