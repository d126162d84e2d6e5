//! A credential from the server, and what to do when the session is over.

use std::time::Duration;

use tka_api::exec::ExecCredential;

use crate::access::Access;
use crate::app;
use crate::args::Global;
use crate::config::TIMEOUT;
use crate::error::Error;
use crate::flow;
use crate::server::Server;

/// The session whose credential kubectl asks for, as its kubeconfig says it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) server: &'a Server,
    pub(crate) session: &'a str,
    /// What was asked for when it was signed in to.
    pub(crate) access: &'a Access,
}

/// How to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Longest time to wait.
    timeout: Duration,
    /// Whether to tell of each request.
    debug: bool,
}

// === impl Asked ===

impl Asked<'_> {
    /// A credential from the server. All that is needed is known: kubectl runs in whatever folder, with whatever settings there, and in
    /// containers without a home.
    pub(crate) fn fetch(&self, manner: Manner) -> Result<ExecCredential, Error> {
        let client = app::connect(self.server, manner.timeout, manner.debug)?;
        match flow::fetch_credential(&client, self.session) {
            Err(error) if error.is_not_signed_in() => Err(Error::SessionOver {
                error,
                advice: self.advice(),
            }),
            answer => Ok(answer?),
        }
    }

    /// How to get it back.
    fn advice(&self) -> String {
        #[cfg(unix)]
        if app::variable(crate::own::SESSION).as_deref() == Some(self.session) {
            return "it was for what runs here: begin anew with `tka shell` or `tka exec`".to_owned();
        }
        // Without settings nobody knows where `tka login` leads.
        let usual = app::settings(&Global::default()).and_then(|settings| settings.server());
        let is_usual = usual.is_ok_and(|usual| usual == *self.server);
        let server = (!is_usual).then(|| ["--server".to_owned(), self.server.to_string()]);
        let words = ["tka".to_owned(), "login".to_owned()].into_iter();
        let words = words.chain(server.into_iter().flatten()).chain(self.access.choosing());
        format!("sign in with `{}`", words.collect::<Vec<_>>().join(" "))
    }
}

// === impl Manner ===

impl From<&Global> for Manner {
    fn from(flags: &Global) -> Self {
        Self {
            timeout: flags.timeout.unwrap_or(TIMEOUT),
            debug: flags.debug,
        }
    }
}
