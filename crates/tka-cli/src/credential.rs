//! Where credentials are kept between calls of kubectl, until shortly before their end.

pub(crate) mod cache;
mod files;
mod folder;
pub(crate) mod parent_process;
mod secret_store;
pub(crate) mod shared_state;

use jiff::Timestamp;
use tka_api::exec::ExecCredential;

use crate::context::App;
use crate::error::Error;
use crate::net::server::Server;
use crate::sys::environment;
use cache::{Cache, Kept, Places};

/// Keeps a credential that came with a sign-in. Where it cannot be kept it will be asked for.
pub(crate) fn keep(app: &App, session: &str, credential: ExecCredential) {
    let kept = Kept::new(credential, Timestamp::now());
    let cache = cache(app.server(), session).map_err(|error| error.to_string());
    let written = cache.and_then(|cache| cache.keep(&kept).map_err(|error| error.to_string()));
    if let Err(why) = written {
        app.ui.debug(&format!("the credential was not kept: {why}"));
    }
}

/// Forgets what is kept for all sessions at the server.
pub(crate) fn forget(app: &App) {
    let places = Places::find(&environment::variable).map_err(|error| error.to_string());
    let forgotten = places.and_then(|places| places.forget_all(app.server()).map_err(|error| error.to_string()));
    if let Err(why) = forgotten {
        app.ui.debug(&format!("credentials were not forgotten: {why}"));
    }
}

/// Forgets what is kept for one session at the server.
pub(crate) fn forget_session(app: &App, session: &str) {
    if let Ok(cache) = cache(app.server(), session) {
        cache.forget();
    }
}

/// Where the credential of one session is kept.
pub(crate) fn cache(server: &Server, session: &str) -> Result<Cache, Error> {
    Ok(Places::find(&environment::variable)?.of(server, session))
}
