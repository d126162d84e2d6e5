//! The options of every command that writes a kubeconfig.

use crate::context::CommandContext;
use crate::kubeconfig::server_kubeconfig::AuthMethod;
use crate::session::sign_in::PersistOptions;

/// How to write the kubeconfig of a session.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct KubeconfigOptions {
    #[command(flatten)]
    credential: CredentialOptions,

    /// Also put the context into your own kubeconfig; `tka logout` removes it
    #[arg(long)]
    merge: bool,
}

/// How kubectl reaches the cluster.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct CredentialOptions {
    /// Put a token into the kubeconfig, for programs that cannot run a plugin; it ends before the session may
    #[arg(long, conflicts_with = "via")]
    token: bool,

    /// By which way to reach the cluster, if not by that of the rule and the server
    #[arg(long, value_name = "WAY")]
    via: Option<AccessRoute>,
}

/// A way to the cluster.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
enum AccessRoute {
    /// From this device to the API server, with a credential
    Direct,
    /// Through the server, with an address and no credential
    Gateway,
}

// === impl KubeconfigOptions ===

impl KubeconfigOptions {
    pub(crate) fn persist_options(self, ctx: &CommandContext) -> PersistOptions {
        PersistOptions {
            form: self.credential.form(),
            merge: self.merge || ctx.config.merge,
        }
    }
}

// === impl CredentialOptions ===

impl CredentialOptions {
    pub(crate) fn form(self) -> AuthMethod {
        match (self.token, self.via) {
            (true, _) => AuthMethod::Token,
            (false, None) => AuthMethod::Default,
            (false, Some(AccessRoute::Direct)) => AuthMethod::Plugin,
            (false, Some(AccessRoute::Gateway)) => AuthMethod::Gateway,
        }
    }
}
