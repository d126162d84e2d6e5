#![doc = include_str!("../README.md")]

mod bring_up;
mod cgroups;
mod cluster;
mod command;
mod daemon;
mod env_file;
mod error;
mod facts;
mod files;
mod history;
mod http;
mod layout;
pub mod oci;
mod own_programs;
mod pki;
mod ports;
mod processes;
mod programs;
mod progress;
pub mod sandbox;
mod server;
mod shell;
mod tailnet;
mod wait;

use std::path::{Path, PathBuf};

use serde_json::Value;
use sysinfo::Signal;

pub use self::{
    bring_up::{NodeOptions, Options, down, prepare},
    cluster::chart_dir,
    command::Output,
    error::{Error, Result},
    history::{BEFORE_SERVER, unpack_commit},
    own_programs::{OwnPrograms, build, build_own_programs, build_sandbox_program, cargo},
    programs::{KUBERNETES_VERSION, Part, cache_dir, check_kubernetes_version, peer, program},
    server::{Pods, Server, ServerOptions, with_gateway, with_recordings},
    shell::quote_path,
    tailnet::{Node, Owner},
};
use self::{command::Run, facts::Facts, layout::Layout, processes::Processes};

/// The capability that carries the rules of the server that [`Testbed::up`] starts.
pub const CAPABILITY: &str = "specht-labs.de/cap/tka";

/// A testbed that is up. A handle only: dropping it leaves everything running, and there may be many of one testbed.
#[derive(Debug, Clone)]
pub struct Testbed {
    layout: Layout,
    facts: Facts,
}

impl Testbed {
    /// Brings a testbed up: starts what is not running, leaves alone what is, and returns when all of it works.
    pub fn up(options: &Options) -> Result<Self> {
        bring_up::up(options)
    }

    /// The testbed in a folder, as it is.
    pub fn open(dir: &Path) -> Result<Self> {
        let layout = Layout::of(dir)?;
        let facts = Facts::read(&layout)?;
        Ok(Self { layout, facts })
    }

    /// Its folder, as an absolute path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.layout.dir()
    }

    /// The folder with kubectl, tailscale, helm, … and with `tka-server` and, if it was given, `tka`.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.layout.bin()
    }

    /// The folder with each part's log, `PART.log`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.layout.logs()
    }

    /// The API server's audit log: a JSON event a line, who did what with which credential. An event is in it before
    /// its request is answered.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// The file of all these facts, for a shell to source.
    #[must_use]
    pub fn env_file(&self) -> PathBuf {
        self.layout.env_file()
    }

    /// The API server's URL.
    #[must_use]
    pub fn api_server(&self) -> String {
        cluster::api_server_url(&self.facts)
    }

    /// The certificate of the cluster's authority, as a PEM file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.layout.cluster_ca()
    }

    /// The API server's own certificate and its key, as PEM files, for whatever stands in between it and its clients on this machine.
    #[must_use]
    pub fn api_server_certificate(&self) -> (PathBuf, PathBuf) {
        (self.layout.pki("apiserver.pem"), self.layout.pki("apiserver.key"))
    }

    /// The URL of the tailnet's control server.
    #[must_use]
    pub fn control_url(&self) -> String {
        tailnet::control_url(&self.facts)
    }

    /// The certificate of the authority of the tailnet's control server, as a PEM file.
    #[must_use]
    pub fn control_ca_file(&self) -> PathBuf {
        self.layout.pki("tailnet-ca.pem")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// Runs kubectl as the administrator and returns what it printed; an error unless it succeeded.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        cluster::admin(&self.layout, args)
    }

    /// Runs kubectl with another kubeconfig, for better or worse.
    pub fn kubectl_with(&self, kubeconfig: &Path, args: &[&str]) -> Result<Output> {
        cluster::kubectl(&self.layout, kubeconfig, args, "")
    }

    /// Runs helm as the administrator, for better or worse.
    pub fn helm(&self, args: &[&str]) -> Result<Output> {
        cluster::run_helm(&self.layout, args)
    }

    /// Applies a manifest as the administrator.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        cluster::kubectl(&self.layout, &self.kubeconfig(), &["apply", "--filename=-"], manifest)?.success()
    }

    /// The node of that name, such as `ALICE`.
    pub fn node(&self, name: &str) -> Result<Node> {
        tailnet::find_node(&self.layout, &self.facts, name)
    }

    /// Every node, by name.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        tailnet::all_nodes(&self.layout, &self.facts)
    }

    /// Joins another node to the tailnet, with its user if need be, and returns when it and the server's node know each
    /// other. If there is one of that name, it is that one.
    pub fn add_node(&self, hostname: &str, owner: &Owner) -> Result<Node> {
        let running = Processes::find(&self.layout)?;
        let node = tailnet::ensure_node(&self.layout, &self.facts, &running, hostname, owner)?;
        tailnet::wait_acquainted(&self.layout, &self.facts, &node)?;
        Ok(node)
    }

    /// A key that joins nodes to the tailnet, with a tag such as `tag:tka`.
    pub fn auth_key(&self, tag: &str) -> Result<String> {
        tailnet::auth_key(&self.layout, &Owner::tag(tag))
    }

    /// Takes a node off the tailnet, as an administrator of it would, and ends its tailscaled. Returns when the server's node has
    /// heard of it.
    pub fn remove_node(&self, node: &Node) -> Result<()> {
        tailnet::remove_node(&self.layout, &self.facts, node)
    }

    /// Does to a node what an administrator of the tailnet may do, by whatever name it has there: `["expire"]`, `["rename", "other"]`,
    /// `["tag", "--tags=tag:ci"]`. Returns when the server's node has heard of it.
    pub fn change_node(&self, node: &Node, change: &[&str]) -> Result<()> {
        tailnet::change_node(&self.layout, &self.facts, node, change)
    }

    /// Runs `tailscale` on a node: `["logout"]`, `["down"]`, …
    pub fn tailscale(&self, node: &Node, args: &[&str]) -> Result<Output> {
        let socket = format!("--socket={}", node.socket().display());
        Run::new(&self.layout.program("tailscale"))
            .args([socket.as_str()])
            .args(args)
            .output()
    }

    /// The tailnet policy as people edit it: `HuJSON`. [`apply_policy`](Self::apply_policy) puts it into force.
    #[must_use]
    pub fn policy_file(&self) -> PathBuf {
        self.layout.policy()
    }

    /// Puts the policy file into force and returns when the server's node has it. A policy that is refused leaves the
    /// one before it in force.
    pub fn apply_policy(&self) -> Result<()> {
        tailnet::apply_policy(&self.layout, &self.facts)
    }

    /// Says who has which rules of one capability towards the server's node, beside what the policy file says, and
    /// returns when that is in force. `grants` is a list of `{"src": ["alice@example.com"], "rules": [{"role": …}]}`; it
    /// replaces what was said of the capability before. Tests that run side by side may each call it.
    pub fn set_grants(&self, capability: &str, grants: Value) -> Result<()> {
        tailnet::set_grants(&self.layout, &self.facts, capability, grants)
    }

    /// Returns when `node` has the grants that were set last, or later ones. Nodes hear of a policy one after the other.
    pub fn wait_policy_at(&self, node: &Node) -> Result<()> {
        tailnet::wait_policy_at(&self.layout, &self.facts, node)
    }

    /// Forgets the grants of one capability, which no server needs any more. The next policy that is put into force is without them.
    pub fn forget_grants(&self, capability: &str) -> Result<()> {
        tailnet::forget_grants(&self.layout, capability)
    }

    /// The server that [`up`](Self::up) starts.
    pub fn main_server(&self) -> Result<Server> {
        Server::open(self, server::MAIN)
    }

    /// The URL of the testbed's server on the tailnet: of its first pod where there is a Kubernetes node.
    pub fn server_url(&self) -> Result<String> {
        if !self.facts.kubernetes_node {
            return Ok(self.main_server()?.url());
        }
        Ok(self.pods()?.urls().into_iter().next().unwrap_or_default())
    }

    /// Whether there is a Kubernetes node, on which pods run.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.facts.kubernetes_node
    }

    /// The server's pods that are on the tailnet at the moment, where there is a Kubernetes node.
    pub fn pods(&self) -> Result<Pods> {
        Pods::find(self)
    }

    /// The same of another release of the chart, whose `tailscale.hostname` that is.
    pub fn pods_called(&self, hostname: &str) -> Result<Pods> {
        Pods::called(self, hostname)
    }

    /// A program that runs its arguments inside of the Kubernetes node.
    #[must_use]
    pub fn node_exec(&self) -> PathBuf {
        self.layout.node_exec()
    }

    /// Says what this process lacks to bring up a Kubernetes node, if it lacks anything.
    pub fn check_node() -> Result<()> {
        cluster::node::check_requirements()
    }

    /// Starts another server, which ends with its handle. One of that name that still runs is ended before.
    pub fn server(&self, options: ServerOptions) -> Result<Server> {
        let server = Server::create(self, options)?;
        server.kill()?;
        server.start()?;
        Ok(server)
    }

    /// Stops the server of that name and removes everything of it, if there is one.
    pub fn remove_server(&self, name: &str) -> Result<()> {
        if Server::exists(self, name) {
            Server::open(self, name)?.remove()?;
        }
        Ok(())
    }

    /// Writes the `env` file anew, as after the server's process has changed.
    pub fn write_env(&self) -> Result<()> {
        let server = self.main_server()?;
        env_file::write(self, &server.url(), &server.seen()?)
    }

    /// The process of a part that runs, such as `kube-apiserver` or `etcd`.
    pub fn pid(&self, part: &str) -> Result<Option<u32>> {
        Ok(Processes::find(&self.layout)?.pid(part))
    }

    /// Kills a part, such as `kube-apiserver` or `node-tka`. [`up`](Self::up) starts it again.
    pub fn kill(&self, part: &str) -> Result<()> {
        let running = Processes::find(&self.layout)?;
        if running.has(part) {
            running.kill(&[part])
        } else {
            Err(not_running(part))
        }
    }

    /// Stops a part where it stands, as if the machine or the network to it hung.
    pub fn pause(&self, part: &str) -> Result<()> {
        self.signal(part, Signal::Stop)
    }

    /// Lets a part go on that was [paused](Self::pause).
    pub fn resume(&self, part: &str) -> Result<()> {
        self.signal(part, Signal::Continue)
    }

    fn signal(&self, part: &str, signal: Signal) -> Result<()> {
        if Processes::find(&self.layout)?.signal(part, signal) {
            return Ok(());
        }
        Err(not_running(part))
    }
}

fn not_running(part: &str) -> Error {
    Error::Name(format!("no part {part} of the testbed is running"))
}
