//! The ways between the host's loopback and the sandbox's network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    place::{ADDRESS, PROGRAM},
    sandbox::Sandbox,
};
use crate::{
    daemon::{self, Daemon},
    error::{Attempt, Result},
    facts::{Facts, Ports},
    layout::Layout,
    processes::Processes,
    sandbox::{Endpoint, Forward},
    wait::Look,
};

/// Leads `127.0.0.1:port` of the host to the same in the sandbox.
fn forward_to_sandbox(layout: &Layout, running: &Processes, sandbox: &Sandbox, name: &str, port: u16) -> Result<()> {
    let host = endpoint(None, Ipv4Addr::LOCALHOST, port);
    let inside = endpoint(Some(sandbox), Ipv4Addr::LOCALHOST, port);
    start(layout, running, name, host, inside)
}

/// Leads an address of the sandbox, at `port`, to `127.0.0.1:port` of the host.
fn forward_to_host(
    layout: &Layout,
    running: &Processes,
    sandbox: &Sandbox,
    name: &str,
    port: u16,
    from: Ipv4Addr,
) -> Result<()> {
    let host = endpoint(None, Ipv4Addr::LOCALHOST, port);
    start(layout, running, name, endpoint(Some(sandbox), from, port), host)
}

/// The API server as the host finds it, etcd as the API server finds it, and the control server as pods find it.
pub(crate) fn ensure(layout: &Layout, running: &Processes, sandbox: &Sandbox, ports: &Ports) -> Result<()> {
    forward_to_sandbox(layout, running, sandbox, "forward-api-server", ports.api_server)?;
    forward_to_host(
        layout,
        running,
        sandbox,
        "forward-etcd",
        ports.etcd,
        Ipv4Addr::LOCALHOST,
    )?;
    forward_to_host(layout, running, sandbox, "forward-headscale", ports.headscale, ADDRESS)
}

/// Leads a port of the host's loopback to an address of the cluster at which the server's health is asked.
pub(crate) fn forward_health(layout: &Layout, facts: &Facts, address: SocketAddr) -> Result<()> {
    let running = Processes::find(layout)?;
    let sandbox = Sandbox::ensure(layout, facts, &running)?;
    let inside = Endpoint {
        namespace: Some(sandbox.network()),
        address,
    };
    let host = endpoint(None, Ipv4Addr::LOCALHOST, facts.ports.health);
    start(layout, &running, "forward-health", host, inside)
}

fn endpoint(sandbox: Option<&Sandbox>, address: Ipv4Addr, port: u16) -> Endpoint {
    Endpoint {
        namespace: sandbox.map(Sandbox::network),
        address: SocketAddr::new(IpAddr::V4(address), port),
    }
}

fn start(layout: &Layout, running: &Processes, part: &str, listen: Endpoint, connect: Endpoint) -> Result<()> {
    let told = serde_json::to_string(&Forward { listen, connect });
    let told = told
        .map_err(std::io::Error::other)
        .attempt(|| format!("cannot describe {part}"))?;
    let daemon = || {
        Ok(Daemon::of(layout, part, &layout.node_bin().join(PROGRAM))
            .arg("forward")
            .arg(told))
    };
    // It listens before anything is asked of it, or ends: what is behind it is waited for elsewhere.
    daemon::ensure(layout, running, part, daemon, || Look::Done(()))
}
