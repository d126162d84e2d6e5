//! The credential request of kubectl.

use tka_api::exec::ExecCredential;

use crate::api::access::AccessRequest;
use crate::api::deadline::Deadline;
use crate::config::TIMEOUT;
use crate::config::flags::Global;
use crate::context;
use crate::error::Error;
use crate::net::server::Server;
use crate::session::provisioning;
use crate::sys::environment;

/// A request for a credential, as the kubeconfig and kubectl describe it.
#[derive(Debug)]
pub(crate) struct PluginRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) session: &'a str,
    /// The access that was requested at sign-in.
    pub(crate) access: &'a AccessRequest,
    /// Whether a program asks, such as kubectl, and not a user.
    pub(crate) by_program: bool,
    /// Whether kubectl says that a user can answer prompts.
    pub(crate) interactive: bool,
    pub(crate) flags: &'a Global,
}

// === impl PluginRequest ===

impl PluginRequest<'_> {
    /// Fetches a credential. It needs no settings of the folder and no home folder, since kubectl runs anywhere.
    pub(super) fn fetch(&self, deadline: Deadline) -> Result<ExecCredential, Error> {
        let client = context::connect_to_any(self.server, deadline, self.flags.debug, &context::route(self.flags))?;
        match provisioning::fetch_credential(&client, self.session) {
            Err(error) if error.is_not_signed_in() => Err(Error::SessionOver {
                error,
                advice: self.advice(),
            }),
            result => Ok(result?),
        }
    }

    /// The time limit of all requests, from now on.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::new(self.flags.timeout.unwrap_or(TIMEOUT))
    }

    /// How to get the session back.
    pub(super) fn advice(&self) -> String {
        if self.is_own_ephemeral_session() {
            return "it was the session of this command or shell: start another with `tka shell` or `tka exec`"
                .to_owned();
        }
        // Without settings the default server is not known.
        let default = context::settings(&Global::default()).and_then(|settings| settings.server());
        let is_default = default.is_ok_and(|default| default == *self.server);
        let server = (!is_default).then(|| ["--server".to_owned(), self.server.to_string()]);
        let words = ["tka".to_owned(), "login".to_owned()].into_iter();
        let words = words.chain(server.into_iter().flatten());
        let words = words.chain(self.access.rule_options());
        format!("sign in with `{}`", words.collect::<Vec<_>>().join(" "))
    }

    /// Whether it is the ephemeral session of the command or shell that this runs in.
    pub(super) fn is_own_ephemeral_session(&self) -> bool {
        environment::variable("TKA_SESSION").as_deref() == Some(self.session)
    }
}
