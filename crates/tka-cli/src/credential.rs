//! Where credentials are kept between calls of kubectl, until shortly before their end.

pub(crate) mod cache;
mod files;
mod folder;
pub(crate) mod parent_process;
mod secret_store;
pub(crate) mod shared_state;

use jiff::Timestamp;
use tka_api::exec::ExecCredential;

use crate::context::CommandContext;
use crate::error::Error;
use crate::net::server::Server;
use crate::sys::environment;
use cache::{CacheLocation, CachedCredential, CredentialCache};

/// Keeps a credential that came with a sign-in. Where it cannot be kept it will be asked for.
pub(crate) fn store(ctx: &CommandContext, session: &str, credential: ExecCredential) {
    let cached = CachedCredential::new(credential, Timestamp::now());
    let cache = cache(ctx.server(), session).map_err(|error| error.to_string());
    let written = cache.and_then(|cache| cache.store(&cached).map_err(|error| error.to_string()));
    if let Err(why) = written {
        ctx.ui.debug(&format!("the credential was not kept: {why}"));
    }
}

/// Forgets what is kept for all sessions at the server.
pub(crate) fn remove_all(ctx: &CommandContext) {
    let location = CacheLocation::find(&environment::variable).map_err(|error| error.to_string());
    let removed = location.and_then(|location| location.remove_all(ctx.server()).map_err(|error| error.to_string()));
    if let Err(why) = removed {
        ctx.ui.debug(&format!("credentials were not forgotten: {why}"));
    }
}

/// Forgets what is kept for one session at the server.
pub(crate) fn remove(ctx: &CommandContext, session: &str) {
    if let Ok(cache) = cache(ctx.server(), session) {
        cache.remove();
    }
}

/// Where the credential of one session is kept.
pub(crate) fn cache(server: &Server, session: &str) -> Result<CredentialCache, Error> {
    Ok(CacheLocation::find(&environment::variable)?.cache_for(server, session))
}
