//! What every command works with: settings, the terminal, the server and its kubeconfig file.

mod replicas;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ureq::tls::{Certificate, PemItem, parse_pem};

pub(crate) use replicas::Replica;

use crate::api::client::{self, Client, Connection};
use crate::api::clock::{Skew, TOLERATED_SKEW};
use crate::api::deadline::Deadline;
use crate::config::flags::Global;
use crate::config::{self, Config, ConfigError, Route};
use crate::discovery;
use crate::error::Error;
use crate::kubeconfig::env_variable::{self, ShellSyntax, UnexportablePath};
use crate::kubeconfig::merge::MergeTarget;
use crate::kubeconfig::session_cache::{self, SessionCache};
use crate::kubeconfig::shell_integration;
use crate::kubeconfig::store::{FolderLock, KubeconfigStore, StoreError};
use crate::net::proxy;
use crate::net::server::{HTTPS_PORT, Scheme, Server};
use crate::sys::environment::{home, variable};
use crate::sys::files::regular;
use crate::terminal::messages;
use crate::terminal::ui::{self, Ui};

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
        let ctx = Self::without_notice(flags)?;
        note_ignored_keys(&ctx.config);
        Ok(ctx)
    }

    /// The context of a later step. The first step has already shown the notice about ignored keys.
    pub(crate) fn without_notice(flags: &Global) -> Result<Self, Error> {
        let config = settings(flags)?;
        let server = server_of(flags, &config)?;
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

    /// Saves the session cache. A command does not fail if that fails, and says so.
    pub(crate) fn save_session_cache(&self, lock: &FolderLock, cache: &SessionCache) {
        let Some(store) = &self.store else { return };
        if let Err(error) = cache.save(lock, store) {
            let path = store.session_cache();
            let text = format!(
                "cannot write {}: {error}; the prompt and `tka status` may not show the session",
                path.display()
            );
            self.ui.notify(&messages::warning(&text, &self.ui.palette));
        }
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

    /// Warns when the clocks of this machine and the server disagree. `until` is an end time that the server gave.
    pub(crate) fn warn_clock_skew(&self, skew: Skew, until: Option<Timestamp>) {
        let is_over = until.is_some_and(|until| Timestamp::now().duration_since(until) > TOLERATED_SKEW);
        let unknown =
            || is_over.then(|| "the session has ended by this machine's clock, but not by the server's".to_owned());
        if let Some(found) = skew.describe().or_else(unknown) {
            let text = format!("{found}: set the clock, and turn on time synchronisation (timedatectl set-ntp true)");
            self.ui.notify(&messages::warning(&text, &self.ui.palette));
        }
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

    /// Prints the kubeconfig: a line for a shell to evaluate, or with `--no-eval` the path. It prints nothing if kubectl already reads the
    /// user's kubeconfig that the context was `merged` into.
    ///
    /// `--quiet` wins. The original's shell functions add it to every command, `-e` included, and evaluate the output.
    pub(crate) fn export_kubeconfig(&self, merged: Option<&MergeTarget>) -> Result<(), Error> {
        match self.variable_value(merged)? {
            Some(list) => self.export_list(&list, self.usage_hint(merged)),
            None if self.prints_path() => Ok(ui::print(self.kubeconfig_text(merged)?)?),
            None => Ok(()),
        }
    }

    /// Checks whether [`Self::export_kubeconfig`] can succeed. `merged` is the user's own kubeconfig.
    pub(crate) fn check_export(&self, merged: Option<&MergeTarget>) -> Result<(), Error> {
        // The session cache stores the path as text.
        self.kubeconfig_text(merged)?;
        if self.variable_value(merged)?.is_some()
            && let Some(file) = shell_integration::file()
        {
            shell_integration::check(&file)?;
        }
        Ok(())
    }

    /// The value that a shell is to set KUBECONFIG to.
    fn variable_value(&self, merged: Option<&MergeTarget>) -> Result<Option<String>, Error> {
        if self.prints_path() {
            // A path that is not text cannot be printed.
            return self.kubeconfig_text(merged).map(|_| None);
        }
        Ok(match merged {
            None => Some(env_variable::join([self.store()?.path()])?),
            Some(target) => target.list.as_ref().map(env_variable::join).transpose()?,
        })
    }

    /// The path of the kubeconfig, as text.
    fn kubeconfig_text<'a>(&'a self, merged: Option<&'a MergeTarget>) -> Result<&'a str, Error> {
        let path = match merged {
            Some(target) => &target.path,
            None => self.store()?.path(),
        };
        let not_unicode = || UnexportablePath::NotUnicode { path: path.to_owned() };
        Ok(path.to_str().ok_or_else(not_unicode)?)
    }

    fn prints_path(&self) -> bool {
        self.config.no_eval && !self.config.quiet
    }

    /// How to make kubectl in this shell use the kubeconfig.
    fn usage_hint(&self, merged: Option<&MergeTarget>) -> &'static str {
        if merged.is_some() {
            "to use it in this shell, run the line below, or sign in with: eval \"$(tka login --merge)\""
        } else if self.store.as_ref().is_some_and(|store| variable_has(store.path())) {
            "kubectl in this shell uses it already"
        } else {
            "to use it in this shell, run the line below, or sign in with: eval \"$(tka login)\""
        }
    }

    /// Has the calling shell set KUBECONFIG, or prints the line that does it. `usage` explains that line.
    fn export_list(&self, list: &str, usage: &str) -> Result<(), Error> {
        let on_terminal = io::stdout().is_terminal();
        let file = shell_integration::file();
        let note = if file.is_some() {
            "kubectl in this shell uses it now"
        } else {
            usage
        };
        if let Some(file) = &file {
            shell_integration::set(file, Some(list))?;
        }
        if on_terminal {
            self.ui.notify(&messages::note(note, &self.ui.palette));
        }
        // Without a terminal the line is printed in any case. The shell that evaluates it may not be the one with the shell function.
        if on_terminal && file.is_some() {
            return Ok(());
        }
        Ok(ui::print(&ShellSyntax::detect(&variable, cfg!(windows)).export(list))?)
    }

    /// Unsets KUBECONFIG after a sign-out if it names the removed kubeconfig. Without the shell function, a note asks the user to do it.
    pub(crate) fn unset_removed_kubeconfig(&self) {
        let Some(path) = self.store.as_ref().map(KubeconfigStore::path) else {
            return;
        };
        if !variable_has(path) || path.exists() {
            return;
        }
        let left = variable_without(path);
        let is_set =
            shell_integration::file().is_some_and(|file| shell_integration::set(&file, left.as_deref()).is_ok());
        if !is_set {
            let text = "KUBECONFIG still names the removed file: unset KUBECONFIG";
            self.ui.notify(&messages::note(text, &self.ui.palette));
        }
    }
}

/// A connection to `server` by that route. The environment names the certificate authorities.
pub(crate) fn connect(server: &Server, deadline: Deadline, debug: bool, route: Route) -> Result<Client, Error> {
    let route = way_to(server, deadline.limit(), debug, route)?;
    Ok(Client::new(route, deadline))
}

/// The same, to the server or its replicas as far as this device knows them.
pub(crate) fn connect_to_any(server: &Server, deadline: Deadline, debug: bool, route: &Route) -> Result<Client, Error> {
    let store = KubeconfigStore::new(home().as_deref(), server).ok();
    let client = connect(server, deadline, debug, route.clone())?;
    Ok(replicas::known_to(client, store.as_ref(), route, debug))
}

/// The way to `server`, for connecting within `limit`.
fn way_to(server: &Server, limit: Duration, debug: bool, route: Route) -> Result<client::Route, Error> {
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
        _ => server_of(flags, &settings(flags)?),
    }
}

fn server_of(flags: &Global, config: &Config) -> Result<Server, Error> {
    if let Some(typed) = &flags.server {
        // Checked before the settings, which may be wrong too.
        typed_server(typed, config.port)?;
    }
    Ok(config.server()?)
}

fn typed_server(typed: &str, port: u16) -> Result<Server, Error> {
    Server::new(typed, port, None).map_err(|error| Error::TypedServer(error.into()))
}

/// The settings of this machine. `flags` override them.
pub(crate) fn settings(flags: &Global) -> Result<Config, ConfigError> {
    Config::load(flags, home().as_deref(), &variable)
}

/// The route to servers, for commands that need no other settings.
pub(crate) fn route(flags: &Global) -> Route {
    config::route(flags, home().as_deref(), &variable)
}

/// Shows which keys of the working directory's file are ignored. `--quiet` does not hide this: the user may expect another server, and the
/// original's shell functions always add that flag.
pub(crate) fn note_ignored_keys(config: &Config) {
    if let Some(text) = config.ignored_keys_note() {
        ui::write_stderr(&messages::note(&text, &config.theme.palette()));
    }
}

/// Whether the KUBECONFIG list of this environment contains `path`.
fn variable_has(path: &Path) -> bool {
    env_variable::paths().iter().any(|one| one == path)
}

/// The KUBECONFIG list of this environment without `path`. None if nothing is left.
fn variable_without(path: &Path) -> Option<String> {
    let others = env_variable::paths().into_iter();
    let others = others.filter(|one| one != path && !one.as_os_str().is_empty());
    env_variable::join(others).ok().filter(|list| !list.is_empty())
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
    let pem = regular::read(&path).map_err(|error| failed(error.to_string()))?;
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
