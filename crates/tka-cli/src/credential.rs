//! The cache of credentials between calls of kubectl.

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

/// Caches a credential that came with a sign-in. A failure only costs another request.
pub(crate) fn store(ctx: &CommandContext, session: &str, credential: ExecCredential) {
    let cached = CachedCredential::new(credential, Timestamp::now());
    let cache = cache(ctx.server(), session).map_err(|error| error.to_string());
    let written = cache.and_then(|cache| cache.store(&cached).map_err(|error| error.to_string()));
    if let Err(why) = written {
        ctx.ui.debug(&format!("credential not cached: {why}"));
    }
}

/// Removes the cached credentials of all sessions at the server.
pub(crate) fn remove_all(ctx: &CommandContext) {
    let location = CacheLocation::find(&environment::variable).map_err(|error| error.to_string());
    let removed = location.and_then(|location| location.remove_all(ctx.server()).map_err(|error| error.to_string()));
    if let Err(why) = removed {
        ctx.ui.debug(&format!("cached credentials not removed: {why}"));
    }
}

/// Removes the cached credential of one session.
pub(crate) fn remove(ctx: &CommandContext, session: &str) {
    if let Ok(cache) = cache(ctx.server(), session) {
        cache.remove();
    }
}

/// The cache for the credential of one session.
pub(crate) fn cache(server: &Server, session: &str) -> Result<CredentialCache, Error> {
    Ok(CacheLocation::find(&environment::variable)?.cache_for(server, session))
}
