//! What a command tells beside its result.

use jiff::Timestamp;

use crate::api::clock::{Skew, TOLERATED_SKEW};
use crate::config::Config;
use crate::config::flags::Global;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::session_cache::SessionCache;
use crate::kubeconfig::store::FolderLock;
use crate::terminal::{messages, ui};

/// What a command works with. Tells which keys of the working directory's file are ignored.
pub(crate) fn command_context(flags: &Global) -> Result<CommandContext, Error> {
    let ctx = CommandContext::new(flags)?;
    note_ignored_keys(&ctx.config);
    Ok(ctx)
}

/// Shows which keys of the working directory's file are ignored. `--quiet` does not hide this: the user may expect another server, and the
/// original's shell functions always add that flag.
pub(crate) fn note_ignored_keys(config: &Config) {
    if let Some(text) = config.ignored_keys_note() {
        ui::write_stderr(&messages::note(&text, &config.theme.palette()));
    }
}

/// Warns when the clocks of this machine and the server disagree. `until` is an end time that the server gave.
pub(crate) fn warn_clock_skew(ctx: &CommandContext, skew: Skew, until: Option<Timestamp>) {
    let is_over = until.is_some_and(|until| Timestamp::now().duration_since(until) > TOLERATED_SKEW);
    let unknown =
        || is_over.then(|| "the session has ended by this machine's clock, but not by the server's".to_owned());
    if let Some(found) = skew.describe().or_else(unknown) {
        let text = format!("{found}: set the clock, and turn on time synchronisation (timedatectl set-ntp true)");
        ctx.ui.notify(&messages::warning(&text, &ctx.ui.palette));
    }
}

/// Saves the session cache. A command does not fail if that fails, and says so.
pub(crate) fn save_session_cache(ctx: &CommandContext, lock: &FolderLock, cache: &SessionCache) {
    let Ok(store) = ctx.store() else { return };
    if let Err(error) = cache.save(lock, store) {
        let path = store.session_cache();
        let text = format!(
            "cannot write {}: {error}; the prompt and `tka status` may not show the session",
            path.display()
        );
        ctx.ui.notify(&messages::warning(&text, &ctx.ui.palette));
    }
}
