//! Signing in again when kubectl asks for a session that is over: for who has chosen so and sits before the terminal.

use tka_api::exec::ExecCredential;

use super::Asked;
use crate::api::client::SignedIn;
use crate::context::App;
use crate::error::Error;
use crate::session::login_request;
use crate::session::persist;
use crate::session::provisioning;
use crate::terminal::messages;
use crate::terminal::output::Look;
use crate::terminal::ui;

/// What signing in takes, if it is wanted. Nobody is signed in who is not there, nor by what cannot be read.
pub(super) fn wanted(asked: &Asked<'_>) -> Option<App> {
    if !asked.interactive || !ui::can_ask() || asked.is_of_what_runs_here() {
        return None;
    }
    App::unsaid(asked.flags).ok().filter(|app| app.config.login)
}

/// Signs in through the rule that the session was begun by.
pub(super) fn sign_in(app: &App, asked: &Asked<'_>) -> Result<ExecCredential, Error> {
    let before = app.client()?.sessions()?;
    let attempt = |access: &_| login_request::attempt(app, access, None);
    let (client, signed_in) = login_request::with_reason(app, asked.access, attempt)?;
    let SignedIn {
        login,
        session,
        credential,
        ..
    } = signed_in;
    // Its name follows from caller, device and rule: another rule is another session, which this kubeconfig is not for.
    if session.as_deref() != Some(asked.session) {
        let is_new = |name: &String| before.items.iter().all(|one| one.name != *name);
        if let Some(name) = session.filter(is_new) {
            // If it stays, it ends by itself.
            let _ = client.end_session(&name);
        }
        return Err(Error::OtherSession {
            server: asked.server.to_string(),
            advice: asked.advice(),
        });
    }
    let credential = match credential {
        Some(credential) => credential,
        None => provisioning::fetch_credential(&client, asked.session)?,
    };
    persist::renew(app, asked.session, &login);
    app.ui
        .tell(&messages::signed_in(&login, vec![], &Look::beside(&app.ui.palette)));
    Ok(credential)
}
