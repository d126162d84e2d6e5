//! A Kubernetes node: containerd, kubelet, kube-proxy and kube-router in a sandbox of namespaces, beside the testbed's control plane.
//! Pods run. It needs root, and takes nothing of the host but processor, memory and the testbed's own folder.
//!
//! The API server runs in the sandbox's network, so that it reaches pods as in any cluster. From the host it is found where it is
//! in a testbed without a node, through a forwarder.

mod images;
mod network;
mod place;
mod requirements;
mod runtime;
mod sandbox;
mod workers;

use std::path::PathBuf;

pub(crate) use self::{
    images::{SHELL, TAILSCALE},
    network::{ensure as ensure_network, forward_health},
    place::{ADDRESS, PROGRAM, SANDBOX, SERVICES},
    requirements::check as check_requirements,
    sandbox::{Entering, Sandbox, remove_groups},
};
use crate::{error::Result, facts::Facts, layout::Layout, processes::Processes};

/// Everything that ends with the sandbox or is of no use without it.
pub(crate) const PARTS: [&str; 12] = [
    SANDBOX,
    "forward-api-server",
    "forward-etcd",
    "forward-headscale",
    "forward-health",
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
