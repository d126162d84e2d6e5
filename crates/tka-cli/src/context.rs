//! What every command works with: settings, the terminal, the server and its kubeconfig file.

mod replicas;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::tls::{Certificate, PemItem, parse_pem};

pub(crate) use replicas::Replica;

use crate::api::client::{self, Client, Connection};
use crate::api::deadline::Deadline;
use crate::config::flags::Global;
use crate::config::{self, Config, ConfigError, RouteSettings};
use crate::discovery;
use crate::error::Error;
use crate::kubeconfig::session_cache::{self, SessionCache};
use crate::kubeconfig::store::{KubeconfigStore, StoreError};
use crate::net::proxy;
use crate::net::server::{HTTPS_PORT, Scheme, Server};
use crate::sys::environment::{home, variable};
use crate::terminal::ui::Ui;

/// The context of one command: settings, terminal, server and time limit.
#[derive(Debug)]
pub(crate) struct CommandContext {
    pub(crate) config: Config,
    pub(crate) ui: Ui,
    /// None without a home folder. Not all commands need one.
    store: Option<KubeconfigStore>,
    server: Server,
    /// The time limit of all requests together. It starts with the first request.
    deadline: Mutex<Option<Deadline>>,
}

// === impl CommandContext ===

impl CommandContext {
    pub(crate) fn new(flags: &Global) -> Result<Self, Error> {
        check_typed_server(flags)?;
        let config = settings(flags)?;
        let server = config.server()?;
        let store = KubeconfigStore::new(home().as_deref(), &server).ok();
        let ui = Ui::new(config.theme.palette(), config.quiet, config.debug);
        match &config.file {
            Some(path) => ui.debug(&format!("settings from {}", path.display())),
            None => ui.debug("no configuration file"),
        }
        Ok(Self {
            config,
            ui,
            store,
            server,
            deadline: Mutex::new(None),
        })
    }

    /// The same context with a time limit that already runs.
    pub(crate) fn with_deadline(self, deadline: Deadline) -> Self {
        Self {
            deadline: Mutex::new(Some(deadline)),
            ..self
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Where the kubeconfig of the server is kept. This needs a home folder.
    pub(crate) fn store(&self) -> Result<&KubeconfigStore, StoreError> {
        self.store.as_ref().ok_or(StoreError::NoHome)
    }

    /// The kubeconfig of the server, if it is there.
    pub(crate) fn kubeconfig(&self) -> Option<&Path> {
        let store = self.store.as_ref().filter(|store| store.has_file());
        store.map(KubeconfigStore::path)
    }

    /// The cached sessions of this device at the server.
    pub(crate) fn session_cache(&self) -> SessionCache {
        SessionCache::load(self.store.as_ref(), &self.server)
    }

    /// The cached sessions at all servers.
    pub(crate) fn all_session_caches(&self) -> Vec<SessionCache> {
        let folder = self.store.as_ref().map(KubeconfigStore::folder);
        folder.map(session_cache::load_all).unwrap_or_default()
    }

    /// A connection to the server or its replicas. All connections of a command share one time limit, which starts with the first.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let client = self.client_for(&self.server, self.config.timeout)?;
        Ok(replicas::known_to(
            client,
            self.store.as_ref(),
            &self.config.route(),
            self.config.debug,
        ))
    }

    /// A connection to just this server.
    pub(crate) fn client_without_replicas(&self) -> Result<Client, Error> {
        self.client_for(&self.server, self.config.timeout)
    }

    /// The same with a time limit of its own, for what begins late: a person may look at recordings for hours.
    pub(crate) fn client_with_own_limit(&self) -> Result<Client, Error> {
        let deadline = Deadline::new(self.config.timeout);
        connect(&self.server, deadline, self.config.debug, self.config.route())
    }

    /// All replicas of the server that this device knows, the server that the user named first.
    pub(crate) fn all_replicas(&self) -> Vec<Replica> {
        replicas::all(&self.server, self.store.as_ref())
    }

    /// Asks the user. The time limit does not run while they answer.
    pub(crate) fn prompt(&self, question: &str) -> Option<String> {
        let started = Instant::now();
        let answer = self.ui.prompt(question);
        let mut deadline = self.lock_deadline();
        *deadline = deadline.map(|deadline| deadline.extended_by(started.elapsed()));
        answer
    }

    fn lock_deadline(&self) -> MutexGuard<'_, Option<Deadline>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to another server, for `limit` at most.
    pub(crate) fn client_for(&self, server: &Server, limit: Duration) -> Result<Client, Error> {
        let deadline = *self
            .lock_deadline()
            .get_or_insert_with(|| Deadline::new(self.config.timeout));
        connect(
            server,
            deadline.capped_at(limit),
            self.config.debug,
            self.config.route(),
        )
    }

    /// Connections for [`discovery`]. Its limit counts for all of them together, from now on.
    pub(crate) fn discovery_clients(&self) -> impl Fn(&Server) -> Result<Client, String> + Sync + '_ {
        let limit = Deadline::new(discovery::LIMIT);
        move |server| {
            let client = self.client_for(server, limit.remaining(Instant::now()));
            client.map_err(|error| error.why().into_iter().next().unwrap_or_else(|| error.to_string()))
        }
    }

    /// A connection that retries failed requests. It has a time limit of its own.
    pub(crate) fn retrying_client(&self, limit: Duration) -> Result<Client, Error> {
        let client = connect(
            &self.server,
            Deadline::new(limit),
            self.config.debug,
            self.config.route(),
        )?;
        let client = replicas::known_to(client, self.store.as_ref(), &self.config.route(), self.config.debug);
        Ok(client.with_retries())
    }
}

/// A connection to `server` by that route. The environment names the certificate authorities.
pub(crate) fn connect(server: &Server, deadline: Deadline, debug: bool, route: RouteSettings) -> Result<Client, Error> {
    let route = way_to(server, deadline.limit(), debug, route)?;
    Ok(Client::new(route, deadline))
}

/// The same, to the server or its replicas as far as this device knows them.
pub(crate) fn connect_to_any(
    server: &Server,
    deadline: Deadline,
    debug: bool,
    route: &RouteSettings,
) -> Result<Client, Error> {
    let store = KubeconfigStore::new(home().as_deref(), server).ok();
    let client = connect(server, deadline, debug, route.clone())?;
    Ok(replicas::known_to(client, store.as_ref(), route, debug))
}

/// The way to `server`, for connecting within `limit`.
fn way_to(server: &Server, limit: Duration, debug: bool, route: RouteSettings) -> Result<client::Route, Error> {
    let needs_tls = server.scheme() == Scheme::Https;
    Ok(client::Route::new(Connection {
        proxy: proxy::for_server(server, route.proxy.as_deref(), &variable)?,
        socket: route.socket,
        authorities: if needs_tls { certificate_authorities()? } else { None },
        server: server.clone(),
        limit,
        debug,
    }))
}

/// The server that `flags` or the settings name. A URL needs no settings.
pub(crate) fn server(flags: &Global) -> Result<Server, Error> {
    match &flags.server {
        Some(url) if url.contains("://") => typed_server(url, flags.port.unwrap_or(HTTPS_PORT)),
        _ => {
            check_typed_server(flags)?;
            Ok(settings(flags)?.server()?)
        }
    }
}

/// Checks the server on the command line before the settings, which may be wrong too.
fn check_typed_server(flags: &Global) -> Result<(), Error> {
    let port = flags.port.unwrap_or(HTTPS_PORT);
    match &flags.server {
        Some(typed) => typed_server(typed, port).map(drop),
        None => Ok(()),
    }
}

fn typed_server(typed: &str, port: u16) -> Result<Server, Error> {
    Server::new(typed, port, None).map_err(|error| Error::TypedServer(error.into()))
}

/// The settings of this machine. `flags` override them.
pub(crate) fn settings(flags: &Global) -> Result<Config, ConfigError> {
    Config::load(flags, home().as_deref(), &variable)
}

/// The route to servers, for commands that need no other settings.
pub(crate) fn route(flags: &Global) -> RouteSettings {
    config::route(flags, home().as_deref(), &variable)
}

/// The certificate authorities in the file that `SSL_CERT_FILE` names. They replace the built-in ones, as in the original.
fn certificate_authorities() -> Result<Option<Vec<Certificate<'static>>>, Error> {
    let Some(path) = variable("SSL_CERT_FILE")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
    else {
        return Ok(None);
    };
    let failed = |problem: String| Error::Authorities {
        path: path.clone(),
        problem,
    };
    if !path.is_absolute() {
        // kubectl calls this program in any folder. A file there must not decide which servers to trust.
        return Err(failed(
            "the path is relative, and would name another file in each folder".into(),
        ));
    }
    // A person may name a pipe.
    let pem = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| failed(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        Err(failed("it contains no certificate".into()))
    } else {
        Ok(Some(certificates))
    }
}
