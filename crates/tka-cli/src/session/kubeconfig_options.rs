//! The options of every command that writes a kubeconfig.

use crate::context::CommandContext;
use crate::kubeconfig::server_kubeconfig::CredentialForm;
use crate::session::sign_in::PersistOptions;

/// How to write the kubeconfig of a session.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct KubeconfigOptions {
    /// Put a token into the kubeconfig, for programs that cannot run a plugin; it ends before the session may
    #[arg(long)]
    token: bool,

    /// Also put the context into your own kubeconfig; `tka logout` removes it
    #[arg(long)]
    merge: bool,
}

// === impl KubeconfigOptions ===

impl KubeconfigOptions {
    pub(crate) fn persist_options(self, ctx: &CommandContext) -> PersistOptions {
        PersistOptions {
            form: CredentialForm::new(self.token),
            merge: self.merge || ctx.config.merge,
        }
    }
}
