//! What several commands do: sign in, fetch the kubeconfig, sign out.

use std::thread;
use std::time::Instant;

use tka_api::exec::ExecCredential;
use tka_api::kubeconfig::{KubeconfigFile, NamedCluster};

use crate::access::Access;
use crate::app::App;
use crate::client::{Client, ClientError, Credential, Kubeconfig, SignedIn};
use crate::credential;
use crate::error::Error;
use crate::known;
use crate::kubeconfig;
use crate::plugin;
use crate::retry::Pauses;
use crate::signin;
use crate::view::{self, Clock};

/// How a sign-out ended well.
#[derive(Debug)]
pub(crate) enum SignedOut {
    /// The session of this user is over.
    User(String),
    /// There was no session; the server's account of it.
    NotSignedIn(ClientError),
}

/// How a credential gets into a kubeconfig.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// kubectl asks this program for it.
    Plugin,
    /// It is in the file, for programs that cannot ask.
    Token,
}

impl Form {
    pub(crate) fn of(token: bool) -> Self {
        if token { Self::Token } else { Self::Plugin }
    }
}

/// Signs in, waits until the session is usable, and keeps its kubeconfig.
pub(crate) fn sign_in(app: &App, access: &Access, form: Form) -> Result<(), Error> {
    app.store.check()?;
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
    let mut kubeconfig = match kubeconfig {
        Some(kubeconfig) => *kubeconfig,
        None => fetch_when_ready(&client, form)?,
    };
    let session = session.or_else(|| plugin::session(&kubeconfig));
    let has_plugin = fill_in(&mut kubeconfig, &client, session.as_deref(), access, form);
    if let Some(namespace) = &access.namespace {
        kubeconfig::work_in(&mut kubeconfig, namespace);
    }
    if let Some(rule) = access.choice() {
        kubeconfig::for_rule(&mut kubeconfig, &rule);
    }
    app.store.write(&kubeconfig)?;
    known::remember(app, &login, session.clone(), &kubeconfig.current_context);
    if let (Some(session), Some(credential)) = (session, credential) {
        credential::keep(app, &session, credential);
    }
    drop(spinner);
    let (palette, details) = (&app.ui.palette, details(app, &client, &kubeconfig));
    app.ui
        .tell(&view::signed_in(&login, details, &Clock::system(), palette));
    note_token(app, form, has_plugin);
    warn_unverified(app, &kubeconfig);
    Ok(())
}

/// Tells that anyone on the way to the API server can read along, if so.
pub(crate) fn warn_unverified(app: &App, kubeconfig: &KubeconfigFile) {
    let is_unverified = |named: &NamedCluster| named.cluster.insecure_skip_tls_verify;
    if kubeconfig.clusters.iter().any(is_unverified) {
        let text = "the certificate of the cluster's API server is not verified";
        app.ui.tell(&view::warning(text, &app.ui.palette));
    }
}

/// Fetches a kubeconfig of the session there is, and keeps it.
pub(crate) fn fetch_kubeconfig(app: &App, form: Form) -> Result<(), Error> {
    app.store.check()?;
    let client = app.client()?;
    let spinner = app.ui.spinner("fetching the kubeconfig");
    let mut kubeconfig = fetch_when_ready(&client, form)?;
    let session = plugin::session(&kubeconfig);
    let has_plugin = fill_in(&mut kubeconfig, &client, session.as_deref(), &Access::default(), form);
    app.store.write(&kubeconfig)?;
    drop(spinner);
    let text = if has_plugin {
        "kubeconfig written"
    } else {
        "kubeconfig with a fresh credential written"
    };
    app.ui.tell(&view::done(text, &app.ui.palette));
    note_token(app, form, has_plugin);
    Ok(())
}

/// Puts this program's plugin in the credential's place, if that is wanted and there is a session that it can ask for.
fn fill_in(
    kubeconfig: &mut KubeconfigFile,
    client: &Client,
    session: Option<&str>,
    access: &Access,
    form: Form,
) -> bool {
    match session {
        Some(session) if form == Form::Plugin => {
            plugin::use_for(kubeconfig, client.server(), session, access);
            true
        }
        _ => false,
    }
}

fn note_token(app: &App, form: Form, has_plugin: bool) {
    if form == Form::Plugin && !has_plugin {
        let text = "this server gives credentials in kubeconfigs only: the file holds the token, and `tka kubeconfig` a fresh one";
        app.ui.tell(&view::note(text, &app.ui.palette));
    }
}

/// Ends the session and removes its kubeconfig, which stays where the session may have stayed.
pub(crate) fn sign_out(app: &App) -> Result<SignedOut, Error> {
    let spinner = app.ui.spinner("signing out");
    let answer = app.client()?.sign_out();
    drop(spinner);
    match answer {
        Ok(user) => {
            forget(app)?;
            Ok(SignedOut::User(user))
        }
        Err(error) if error.is_not_signed_in() => {
            forget(app)?;
            Ok(SignedOut::NotSignedIn(error))
        }
        Err(error) if app.store.path().exists() => Err(Error::KubeconfigKept {
            error,
            path: app.store.path().to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Removes what signing in left on this machine.
fn forget(app: &App) -> Result<(), Error> {
    credential::forget(app);
    known::forget(app.store.path());
    app.store.remove()?;
    Ok(())
}

/// What the server says about the session, with `--long` more.
pub(crate) fn show_session(app: &App) -> Result<(), Error> {
    let client = app.client()?;
    let session = client.session()?;
    let mut extra = vec![];
    if app.config.long {
        extra.push(("server", client.server().to_string()));
        if app.store.path().exists() {
            extra.push(("kubeconfig", app.store.path().display().to_string()));
        }
    }
    let text = view::session(
        &session.login,
        session.provisioned,
        extra,
        &Clock::system(),
        &app.ui.palette,
    );
    Ok(app.ui.show(&text)?)
}

/// Asks until the session is provisioned or the time is up.
pub(crate) fn fetch_when_ready(client: &Client, form: Form) -> Result<KubeconfigFile, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let asked = match client.kubeconfig(form == Form::Plugin)? {
            Kubeconfig::Ready(kubeconfig) => return Ok(*kubeconfig),
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
fn details(app: &App, client: &Client, kubeconfig: &KubeconfigFile) -> Vec<(&'static str, String)> {
    if !app.config.long {
        return vec![];
    }
    let api_server = kubeconfig
        .clusters
        .first()
        .map(|named| named.cluster.server.clone())
        .unwrap_or_default();
    vec![
        ("server", client.server().to_string()),
        ("cluster", api_server),
        ("context", kubeconfig.current_context.clone()),
        ("kubeconfig", app.store.path().display().to_string()),
    ]
}
