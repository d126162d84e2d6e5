//! TKA servers: the one that `up` starts, and further ones that tests start beside it.

mod config;
mod gateway;
mod pods;
mod seen;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::gateway::{with_gateway, with_recordings};
pub(crate) use self::pods::PodOptions;
pub use self::pods::Pods;
pub(crate) use self::seen::Seen;
use crate::{
    Testbed, cluster,
    cluster::Chart,
    daemon::{self, Daemon},
    error::{Error, Result},
    files, http, ports,
    processes::Processes,
    tailnet,
};

/// The server that `up` starts.
pub(crate) const MAIN: &str = "tka";

/// The port on which a server speaks HTTPS.
const HTTPS: u16 = 443;

/// How long a server may take to finish what it is doing.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A server to be started beside the testbed's own, on the same node but with its own port, namespace and capability. Whatever
/// happens to it, no other server notices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerOptions {
    /// Its name in the testbed: lower-case letters, digits and hyphens.
    pub name: String,
    /// The namespace of its sessions, which is created.
    pub namespace: String,
    /// The capability that carries its rules.
    pub capability: String,
    /// The node through which it is reached.
    pub node: String,
    /// The `ClusterRole`s that it may bind.
    pub roles: Vec<String>,
    /// Those that it may bind in certain namespaces only, as the chart's `namespacedRoles` has it. The namespaces must be there.
    #[serde(default)]
    pub namespaced_roles: Vec<Value>,
    /// Whether the API server refuses to everybody else what only the server should do. Takes a few seconds to come into
    /// force. Off for tests that write sessions by hand.
    #[serde(default = "guarded")]
    pub guard: bool,
    /// Where it reaches the API server, if that is not the API server itself: the URL of something in between.
    #[serde(default)]
    pub api_server: Option<String>,
    /// The chart that it is installed from, if that is one of before the chart had a server. It takes `roles`, `guard` and `crds`.
    #[serde(default)]
    pub chart: Option<PathBuf>,
    /// The program that runs, if that is not the one built from this checkout.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Settings beside, or instead of, those that the testbed gives it: merged into its configuration, key by key.
    pub config: Value,
}

/// A server.
#[derive(Debug)]
pub struct Server {
    testbed: Testbed,
    record: Record,
    /// Whether it ends with this handle.
    ends_with_handle: bool,
}

/// What is kept of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    options: ServerOptions,
    port: u16,
    health_port: u16,
}

// === impl ServerOptions ===

impl ServerOptions {
    /// A server whose namespace and capability are named after it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: name.to_owned(),
            capability: format!("{}/cap/{name}", tailnet::DOMAIN),
            node: tailnet::SERVER.to_owned(),
            roles: ["cluster-admin", "edit", "view"].map(str::to_owned).to_vec(),
            namespaced_roles: Vec::new(),
            guard: guarded(),
            api_server: None,
            chart: None,
            program: None,
            config: json!({}),
        }
    }
}

// === impl Server ===

impl Server {
    /// Its base URL on the tailnet.
    #[must_use]
    pub fn url(&self) -> String {
        let (host, port) = (self.host(), self.port());
        if port == HTTPS {
            format!("https://{host}")
        } else if self.record.options.config["tls"].is_object() {
            format!("https://{host}:{port}")
        } else {
            format!("http://{host}:{port}")
        }
    }

    /// Its port on the tailnet: its own, unless its options say another.
    #[must_use]
    pub fn port(&self) -> u16 {
        let chosen = self.record.options.config["tailscale"]["port"].as_u64();
        chosen.and_then(|port| port.try_into().ok()).unwrap_or(self.record.port)
    }

    /// The base URL of its health listener, on this machine.
    #[must_use]
    pub fn health_url(&self) -> String {
        format!("http://{}", self.health_address())
    }

    /// What the host sees of it.
    pub(crate) fn seen(&self) -> Result<Seen> {
        let (health_url, pid) = (self.health_url(), self.pid()?);
        Ok(Seen { health_url, pid })
    }

    /// Where it listens for what its tailscaled hands on: a caller from there did not come over the tailnet.
    #[must_use]
    pub fn loopback_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// The namespace of its sessions.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.record.options.namespace
    }

    /// The capability that carries its rules.
    #[must_use]
    pub fn capability(&self) -> &str {
        &self.record.options.capability
    }

    /// Everything it says.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.testbed.layout.log(&self.part())
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.file("config.yaml")
    }

    /// The kubeconfig that it runs with: its own `ServiceAccount`'s.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Result<Option<u32>> {
        Ok(Processes::find(&self.testbed.layout)?.pid(&self.part()))
    }

    /// Replaces [`ServerOptions::config`]; in force from the next [`start`](Self::start).
    pub fn configure(&mut self, config: Value) -> Result<()> {
        self.record.options.config = config;
        self.save()
    }

    /// Starts it, with the state it had, and returns when it is ready. Does nothing more than that if it runs.
    pub fn start(&self) -> Result<()> {
        let layout = &self.testbed.layout;
        let daemon = || {
            self.prepare()?;
            let program = self.record.options.program.clone();
            let program = program.unwrap_or_else(|| layout.program("tka-server"));
            let daemon = Daemon::of(layout, &self.part(), &program).env("KUBECONFIG", self.kubeconfig());
            Ok(daemon.arg("serve").arg("--config").arg(self.config_file()))
        };
        let look = || http::look(self.health_address(), "/readyz");
        let running = Processes::find(layout)?;
        // Servers of tests are many: their messages would hide those of the tests.
        if self.ends_with_handle {
            daemon::ensure(layout, &running, &self.part(), daemon, look)
        } else {
            daemon::ensure_aloud(layout, &running, &self.part(), daemon, look)
        }
    }

    /// Asks it to end and sees it gone.
    pub fn stop(&self) -> Result<()> {
        Processes::find(&self.testbed.layout)?.stop(&[&self.part()], STOP_LIMIT)
    }

    /// Kills it, as a crash would.
    pub fn kill(&self) -> Result<()> {
        Processes::find(&self.testbed.layout)?.kill(&[&self.part()])
    }

    /// Stops it and removes everything of it: its grants, its release, its namespace.
    pub fn remove(self) -> Result<()> {
        let Testbed { layout, facts } = &self.testbed;
        self.stop()?;
        tailnet::set_grants(layout, facts, self.capability(), json!([]))?;
        Chart::uninstall(layout, self.namespace())?;
        ports::put_back(layout, &[self.record.port, self.record.health_port])?;
        files::remove(&layout.server(&self.record.options.name))
    }

    /// The server of that name, which is given what it needs but not started.
    pub(crate) fn create(testbed: &Testbed, options: ServerOptions) -> Result<Self> {
        let layout = &testbed.layout;
        check_name(&options.name)?;
        let ends_with_handle = options.name != MAIN;
        files::create_private_dir(&layout.server(&options.name))?;
        let record = if let Some(record) = files::read_json::<Record>(&record_file(testbed, &options.name))? {
            Record { options, ..record }
        } else {
            let [port, health_port] = ports::take(layout)?;
            Record {
                options,
                port,
                health_port,
            }
        };
        let server = Self {
            testbed: testbed.clone(),
            record,
            ends_with_handle,
        };
        server.save()?;
        let Record { options, .. } = &server.record;
        let chart = Chart {
            namespace: &options.namespace,
            roles: &options.roles,
            namespaced_roles: &options.namespaced_roles,
            guard: options.guard,
            crds: options.name == MAIN && !testbed.facts.kubernetes_node,
            server: None,
            before_server: options.chart.clone(),
        };
        chart.install(layout)?;
        Ok(server)
    }

    /// Whether there is a server of that name.
    pub(crate) fn exists(testbed: &Testbed, name: &str) -> bool {
        record_file(testbed, name).exists()
    }

    /// The server of that name, which was created before.
    pub(crate) fn open(testbed: &Testbed, name: &str) -> Result<Self> {
        let record = files::read_json(&record_file(testbed, name))?;
        let record = record.ok_or_else(|| Error::Name(format!("the testbed has no server {name}")))?;
        Ok(Self {
            testbed: testbed.clone(),
            record,
            ends_with_handle: false,
        })
    }

    pub(crate) fn part(&self) -> String {
        part(&self.record.options.name)
    }

    /// Its name on the tailnet.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}", self.record.options.node, tailnet::DOMAIN)
    }

    fn health_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.record.health_port).into()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.testbed.layout.server(&self.record.options.name).join(name)
    }

    fn save(&self) -> Result<()> {
        files::write_json(&record_file(&self.testbed, &self.record.options.name), &self.record)
    }

    /// Writes its configuration and a fresh credential.
    fn prepare(&self) -> Result<()> {
        let Testbed { layout, facts } = &self.testbed;
        files::write_json(&self.config_file(), &config::render(layout, facts, &self.record)?)?;
        let account = (self.namespace(), Chart::SERVICE_ACCOUNT);
        let url = self.record.options.api_server.clone();
        let url = url.unwrap_or_else(|| cluster::api_server_url(facts));
        cluster::write_server_kubeconfig(layout, &url, &self.kubeconfig(), account)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ends_with_handle
            && let Err(error) = self.stop()
        {
            crate::progress::say(&format!("a server could not be stopped: {error}"));
        }
    }
}

/// A server of the testbed is installed as one is in earnest.
fn guarded() -> bool {
    true
}

/// The part that a server is.
fn part(name: &str) -> String {
    if name == MAIN {
        "tka-server".to_owned()
    } else {
        format!("tka-server-{name}")
    }
}

fn record_file(testbed: &Testbed, name: &str) -> PathBuf {
    testbed.layout.server(name).join("server.json")
}

fn check_name(name: &str) -> Result<()> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !name.is_empty() && name.bytes().all(letters) {
        return Ok(());
    }
    Err(Error::Name(format!(
        "a server cannot be called {name:?}: lower-case letters, digits and hyphens only"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_file_and_a_namespace_and_must_suit_both() {
        for name in ["", "A", "a/b", "..", "a b", "ü"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("e2e-7").unwrap();
    }
}
