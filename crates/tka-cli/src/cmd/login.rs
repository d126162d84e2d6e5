//! `tka login`

use std::process::ExitCode;

use crate::api::access::AccessRequest;
use crate::config::flags::Global;
use crate::error::Error;
#[cfg(unix)]
use crate::session::ephemeral::{self, Program};
use crate::session::kubeconfig_options::KubeconfigOptions;
use crate::session::{export, first_sign_in, login_request, sign_in};

/// Sign in and get a kubeconfig
///
/// Asks the server for access as the tailnet user of this device, and writes a kubeconfig to `~/.kube/tka/HOST_PORT.yaml`. Then it prints
/// the line that makes kubectl use it:
///
///   eval "$(tka login)"
///
/// Without a server in the settings it looks for servers on the tailnet: the nodes with the tag (the setting `tailscale.tag`). It takes
/// the only one, or lets you choose, and remembers it in the configuration file.
///
/// Of several rules that reach you it takes the one of the highest priority, unless you choose. If the rule requires a
/// reason, give it with --reason, or enter it on a terminal when asked.
#[derive(clap::Args, Debug)]
#[command(visible_aliases = ["signin", "auth"], verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Start a shell instead, with a session of its own that ends with it: `tka shell`
    #[cfg(unix)]
    #[arg(long)]
    shell: bool,

    #[command(flatten)]
    kubeconfig: KubeconfigOptions,

    #[command(flatten)]
    access: AccessRequest,
}

impl Arguments {
    /// Whether it prints a line for a shell to evaluate.
    pub(crate) fn prints_shell_code(&self) -> bool {
        #[cfg(unix)]
        return !self.shell;
        #[cfg(not(unix))]
        true
    }
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    let server = first_sign_in::choose(flags)?;
    let ctx = &server.ctx;
    let options = arguments.kubeconfig.persist_options(ctx);
    #[cfg(unix)]
    if arguments.shell {
        return ephemeral::run(ctx, &arguments.access, options.form, &Program::Shell);
    }
    login_request::check(ctx, &arguments.access, options.form)?;
    let persisted = sign_in::sign_in(ctx, &arguments.access, options)?;
    server.remember(flags);
    export::export(ctx, persisted.merged.as_ref())?;
    Ok(ExitCode::SUCCESS)
}
