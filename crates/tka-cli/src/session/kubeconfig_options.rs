//! How a session is kept: the options of every command that writes a kubeconfig.

use crate::context::App;
use crate::kubeconfig::server_kubeconfig::Form;
use crate::session::sign_in::How;

/// How a session is kept.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Put a token into the kubeconfig, for programs that cannot run a plugin; it ends before the session may
    #[arg(long)]
    token: bool,

    /// Put the context into your own kubeconfig too, for kubectl to use without more; `tka logout` takes it out
    #[arg(long)]
    merge: bool,
}

// === impl Keep ===

impl Keep {
    pub(crate) fn how(self, app: &App) -> How {
        How {
            form: Form::of(self.token),
            merge: self.merge || app.config.merge,
        }
    }
}
