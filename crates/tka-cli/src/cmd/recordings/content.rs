//! What is in a recording, opened with the identities of the person who asks.

use std::path::PathBuf;

use crate::context::CommandContext;
use crate::error::Error;
use crate::recordings::identities::IdentityFiles;
use crate::recordings::opened::opened;
use crate::recordings::play::Content;
use crate::terminal::messages;

/// The identities that open what is sealed.
#[derive(clap::Args, Debug)]
pub(super) struct Keys {
    /// File with an identity of age that opens sealed recordings on this device; several may be given [default: the setting
    /// `recordings.identity`]
    #[arg(long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
}

// === impl Keys ===

impl Keys {
    /// The files that are named, else that of the settings.
    pub(super) fn files(&self, ctx: &CommandContext) -> IdentityFiles {
        let mut paths = self.identities.clone();
        if paths.is_empty() {
            paths.extend(ctx.config.identity.clone());
        }
        IdentityFiles::new(paths)
    }
}

/// What is in a recording, opened if it is sealed. It has a time limit of its own: a person may have looked at others before.
pub(super) fn content(ctx: &CommandContext, id: &str, files: &IdentityFiles) -> Result<Content, Error> {
    let download = ctx.client_with_own_limit()?.cast(id)?;
    Ok(opened(id, download, files)?)
}

/// A recording has no end where its server was stopped, or it is still being written.
pub(super) fn tell_cut(ctx: &CommandContext, id: &str) {
    let text = format!("the recording {id} has no end: it is still being written, or its server was stopped");
    ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
}
