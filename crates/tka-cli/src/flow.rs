//! What several commands do: sign in, fetch the kubeconfig, sign out.

use std::thread;
use std::time::Instant;

use tka_api::kubeconfig::KubeconfigFile;

use crate::access::Access;
use crate::app::App;
use crate::client::{Client, ClientError, Kubeconfig, SignedIn};
use crate::error::Error;
use crate::kubeconfig;
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

/// Signs in, waits until the session is usable, and keeps its kubeconfig.
pub(crate) fn sign_in(app: &App, access: &Access) -> Result<(), Error> {
    app.store.check()?;
    let (client, SignedIn { login, kubeconfig, .. }) = signin::sign_in(app, access)?;
    let spinner = app.ui.spinner("signing in");
    let mut kubeconfig = match kubeconfig {
        Some(kubeconfig) => *kubeconfig,
        None => fetch_when_ready(&client)?,
    };
    if let Some(namespace) = &access.namespace {
        kubeconfig::work_in(&mut kubeconfig, namespace);
    }
    app.store.write(&kubeconfig)?;
    drop(spinner);
    let (palette, details) = (&app.ui.palette, details(app, &client, &kubeconfig));
    app.ui
        .tell(&view::signed_in(&login, details, &Clock::system(), palette));
    if kubeconfig
        .clusters
        .iter()
        .any(|named| named.cluster.insecure_skip_tls_verify)
    {
        let text = "the certificate of the cluster's API server is not verified";
        app.ui.tell(&view::warning(text, palette));
    }
    Ok(())
}

/// Fetches a kubeconfig of the session there is, and keeps it.
pub(crate) fn fetch_kubeconfig(app: &App) -> Result<(), Error> {
    app.store.check()?;
    let client = app.client()?;
    let spinner = app.ui.spinner("fetching the kubeconfig");
    let kubeconfig = fetch_when_ready(&client)?;
    app.store.write(&kubeconfig)?;
    drop(spinner);
    app.ui.tell(&view::done(
        "kubeconfig with a fresh credential written",
        &app.ui.palette,
    ));
    Ok(())
}

/// Ends the session and removes its kubeconfig, which stays where the session may have stayed.
pub(crate) fn sign_out(app: &App) -> Result<SignedOut, Error> {
    let spinner = app.ui.spinner("signing out");
    let answer = app.client()?.sign_out();
    drop(spinner);
    match answer {
        Ok(user) => {
            app.store.remove()?;
            Ok(SignedOut::User(user))
        }
        Err(error) if error.is_not_signed_in() => {
            app.store.remove()?;
            Ok(SignedOut::NotSignedIn(error))
        }
        Err(error) if app.store.path().exists() => Err(Error::KubeconfigKept {
            error,
            path: app.store.path().to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
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
fn fetch_when_ready(client: &Client) -> Result<KubeconfigFile, ClientError> {
    let mut pauses = Pauses::new();
    loop {
        let asked = match client.kubeconfig()? {
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
