//! A credential from the server, and what to do when the session is over.

use tka_api::exec::ExecCredential;

use crate::api::access::Access;
use crate::api::deadline::Deadline;
use crate::config::TIMEOUT;
use crate::config::flags::Global;
use crate::context;
use crate::error::Error;
use crate::net::server::Server;
use crate::session::provisioning;
use crate::sys::environment;

/// The session whose credential kubectl asks for, as its kubeconfig says it.
#[derive(Debug)]
pub(crate) struct PluginRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) session: &'a str,
    /// What was asked for when it was signed in to.
    pub(crate) access: &'a Access,
    /// Whether it is kubectl that asks, or another program that reads kubeconfigs, and not a person.
    pub(crate) by_program: bool,
    /// Whether kubectl says that somebody sits before it.
    pub(crate) interactive: bool,
    pub(crate) flags: &'a Global,
}

// === impl Asked ===

impl PluginRequest<'_> {
    /// A credential from the server. All that is needed is known: kubectl runs in whatever folder, with whatever settings there, and in
    /// containers without a home.
    pub(super) fn fetch(&self, deadline: Deadline) -> Result<ExecCredential, Error> {
        let client = context::connect(self.server, deadline, self.flags.debug, context::route(self.flags))?;
        match provisioning::fetch_credential(&client, self.session) {
            Err(error) if error.is_not_signed_in() => Err(Error::SessionOver {
                error,
                advice: self.advice(),
            }),
            answer => Ok(answer?),
        }
    }

    /// For all requests together, from now on.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::new(self.flags.timeout.unwrap_or(TIMEOUT))
    }

    /// How to get it back.
    pub(super) fn advice(&self) -> String {
        if self.is_own_ephemeral_session() {
            return "it was for what runs here: begin anew with `tka shell` or `tka exec`".to_owned();
        }
        // Without settings nobody knows where `tka login` leads.
        let usual = context::settings(&Global::default()).and_then(|settings| settings.server());
        let is_usual = usual.is_ok_and(|usual| usual == *self.server);
        let server = (!is_usual).then(|| ["--server".to_owned(), self.server.to_string()]);
        let words = ["tka".to_owned(), "login".to_owned()].into_iter();
        let words = words
            .chain(server.into_iter().flatten())
            .chain(self.access.rule_options());
        format!("sign in with `{}`", words.collect::<Vec<_>>().join(" "))
    }

    /// Whether it is the session of the command or shell that this runs in, which ends with that.
    pub(super) fn is_own_ephemeral_session(&self) -> bool {
        environment::variable("TKA_SESSION").as_deref() == Some(self.session)
    }
}
