//! A Kubernetes node: containerd, kubelet, kube-proxy and kube-router in a sandbox of namespaces, beside the testbed's control plane.
//! Pods run. It needs root, and takes nothing of the host but processor, memory and the testbed's own folder.
//!
//! The API server runs in the sandbox's network, so that it reaches pods as in any cluster. From the host it is found where it is
//! in a testbed without a node, through a forwarder.

mod images;
mod network;
mod runtime;
mod sandbox;
mod workers;

use std::{net::Ipv4Addr, path::PathBuf};

pub(crate) use self::{
    images::{SHELL, TAILSCALE},
    network::ensure as ensure_network,
    sandbox::{Entering, Sandbox, is_root, remove_groups},
};
use crate::{error::Result, facts::Facts, files, layout::Layout, processes::Processes};

/// What it is called in the cluster.
pub(crate) const NAME: &str = "testbed";
/// Its address, which only the sandbox has.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The addresses of pods.
const PODS: &str = "10.244.0.0/24";
/// The addresses of Services.
pub(super) const SERVICES: &str = "10.0.0.0/24";

/// Everything that ends with the sandbox or is of no use without it.
pub(crate) const PARTS: [&str; 11] = [
    "kubernetes-node",
    "forward-api-server",
    "forward-etcd",
    "forward-headscale",
    "kube-apiserver",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "kube-router",
    "coredns",
];

/// Starts whatever of the node's own does not run, and returns when the node takes pods. The API server works.
/// `images` are archives of what pods will run.
pub(crate) fn ensure(
    layout: &Layout,
    facts: &Facts,
    running: &Processes,
    sandbox: &Sandbox,
    images: &[PathBuf],
) -> Result<()> {
    sandbox.write_exec(layout)?;
    runtime::ensure(layout, facts, running, sandbox)?;
    images::import(layout, sandbox, images)?;
    workers::ensure(layout, facts, running, sandbox)
}

/// The folder of all that is kept for it.
fn data(layout: &Layout) -> PathBuf {
    layout.data("kubernetes-node")
}

/// Writes a file of the node's, in JSON, which is YAML too.
fn write(layout: &Layout, name: &str, content: &serde_json::Value) -> Result<PathBuf> {
    let path = data(layout).join(name);
    files::write_json(&path, content)?;
    Ok(path)
}
