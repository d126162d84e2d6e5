//! Signing in, and writing the kubeconfig of a session.

use std::path::Path;

use tka_api::kubeconfig::{EntryNames, KubeconfigFile, NamedCluster, User};

use crate::api::access::Access;
use crate::api::client::{Client, ClientError, SignedIn};
use crate::context::App;
use crate::credential;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::server_kubeconfig::{self, Form, Sent};
use crate::kubeconfig::session_cache::KnownSession;
use crate::session::login_request::{self, Replaced};
use crate::session::persist::{self, Called, Kept, New};
use crate::session::provisioning::fetch_when_ready;
use crate::session::sign_out::sign_out;
use crate::terminal::messages;
use crate::terminal::output::Look;

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
    persist::check(app, how.merge)?;
    let attempt = |access: &Access| login_request::attempt(app, access, None);
    let (client, signed_in) = login_request::with_reason(app, access, attempt)?;
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
        server_kubeconfig::work_in(&mut kubeconfig, namespace);
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
    let kept = persist::keep(app, new).map_err(|error| Error::NotKept(error.into()))?;
    if let (Some(session), Some(credential)) = (session, credential) {
        credential::keep(app, &session, credential);
    }
    drop(spinner);
    let (palette, details) = (&app.ui.palette, details(app, &client, &kubeconfig, &kept));
    app.ui
        .tell(&messages::signed_in(&login, details, &Look::beside(palette)));
    note_token(app, how.form, has_plugin);
    note_merge(app, &kept);
    warn_unverified(app, &kubeconfig);
    Ok(kept)
}

/// Signs out of one session and in again, under the same name if it is through the same rule.
pub(crate) fn sign_in_again(app: &App, access: Access, how: How) -> Result<Kept, Error> {
    let (access, replaced) = login_request::as_before(app, access)?;
    // Before anything ends.
    persist::check(app, how.merge)?;
    let Replaced::Session { name, is_same_rule } = replaced else {
        if replaced == Replaced::Users {
            // Whether there was a session to end makes no difference to the one that begins.
            sign_out(app)?;
        }
        return sign_in(app, &access, how);
    };
    let names = persist::names_of(app, &name).filter(|_| is_same_rule);
    let how = How {
        merge: how.merge || persist::is_merged(app, &name),
        ..how
    };
    persist::check(app, how.merge)?;
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
        Ok(kept) => persist::end(app, &name).map(|()| kept),
        // What went wrong first is what matters.
        Err(error) => {
            let _ = persist::end(app, &name);
            Err(error)
        }
    }
}

/// Lets the file's user ask as it did when it was kept under `names`, which says more of how to sign in again.
fn ask_as_before(app: &App, kubeconfig: &mut KubeconfigFile, names: &EntryNames) {
    let Some(before) = persist::user_of(app, names) else {
        return;
    };
    let session = |user: &User| {
        let exec = user.exec.as_ref();
        exec.and_then(|exec| exec_plugin::session_in(&exec.args))
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
        app.ui.tell(&messages::warning(text, &app.ui.palette));
    }
}

/// Fetches a kubeconfig of the session there is, and keeps it. What there is of other sessions calls this program where it is now.
pub(crate) fn fetch_kubeconfig(app: &App, how: How) -> Result<Kept, Error> {
    persist::check(app, how.merge)?;
    mend(app);
    let client = app.client()?;
    let spinner = app.ui.spinner("fetching the kubeconfig");
    let sent = fetch_when_ready(&client, how.form)?;
    let known = login_request::known(&client, sent.session.as_deref());
    let session = sent.session.clone().or_else(|| known.as_ref()?.name.clone());
    let access = Access::default();
    let (mut kubeconfig, has_plugin) = with_credential(sent, &client, session.as_deref(), &access, how.form)?;
    let names = session.as_deref().and_then(|session| persist::names_of(app, session));
    if let (Some(names), true) = (&names, has_plugin) {
        ask_as_before(app, &mut kubeconfig, names);
    }
    let kept = persist::keep(
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
    app.ui.tell(&messages::done(text, &app.ui.palette));
    note_token(app, how.form, has_plugin);
    note_merge(app, &kept);
    Ok(kept)
}

/// Mends what calls this program where it is no longer. What cannot be mended does not keep the rest from it.
fn mend(app: &App) {
    let palette = &app.ui.palette;
    match persist::repair(app) {
        Ok(0) => {}
        Ok(1) => app.ui.tell(&messages::done(
            "one user of your kubeconfigs calls tka where it is now",
            palette,
        )),
        Ok(count) => {
            let text = format!("{count} users of your kubeconfigs call tka where it is now");
            app.ui.tell(&messages::done(&text, palette));
        }
        Err(error) => crate::terminal::ui::complain(&error.shown(&Look::beside(palette))),
    }
}

/// Tells where a context was merged.
pub(crate) fn note_merge(app: &App, kept: &Kept) {
    if let Some(target) = &kept.merged {
        let text = format!("{} is the current context of {}", kept.context, target.path.display());
        app.ui.tell(&messages::note(&text, &app.ui.palette));
    }
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
        app.ui.tell(&messages::note(text, &app.ui.palette));
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
