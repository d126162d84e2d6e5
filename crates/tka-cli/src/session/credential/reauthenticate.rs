//! Signing in again when kubectl asks for a session that is over. Only if it is enabled and a user can answer.

use tka_api::exec::ExecCredential;

use super::PluginRequest;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::server_kubeconfig::AuthMethod;
use crate::session::{login_request, persist, provisioning};
use crate::terminal::output::RenderOptions;
use crate::terminal::{messages, ui};

/// The context for signing in, if that is enabled. Needs a user at the terminal and readable settings.
pub(super) fn context_if_enabled(request: &PluginRequest<'_>) -> Option<CommandContext> {
    if !request.interactive || !ui::is_interactive_terminal() || request.is_own_ephemeral_session() {
        return None;
    }
    let ctx = CommandContext::new(request.flags).ok();
    ctx.filter(|ctx| ctx.config.login)
}

/// Signs in through the rule of the session.
pub(super) fn sign_in(ctx: &CommandContext, request: &PluginRequest<'_>) -> Result<ExecCredential, Error> {
    let before = ctx.client()?.sessions()?;
    let attempt = |access: &_| login_request::sign_in_until_ready(ctx, access, AuthMethod::Plugin, None);
    let (client, signed_in) = login_request::with_required_reason(ctx, request.access, attempt)?;
    let (login, session) = (signed_in.login, signed_in.session);
    // Another rule gives a session of another name. This kubeconfig is not for that one.
    if session.as_deref() != Some(request.session) {
        let is_new = |name: &String| before.items.iter().all(|one| one.name != *name);
        if let Some(name) = session.filter(is_new) {
            // If this fails, the session expires.
            let _ = client.end_session(&name);
        }
        let (server, advice) = (request.server.to_string(), request.advice());
        return Err(Error::OtherSession { server, advice });
    }
    let credential = match signed_in.credential {
        Some(credential) => credential,
        None => provisioning::fetch_credential(&client, request.session)?,
    };
    persist::update_session(ctx, request.session, &login);
    let options = RenderOptions::for_stderr(&ctx.ui.palette);
    ctx.ui.notify(&messages::signed_in(&login, vec![], &options));
    Ok(credential)
}
