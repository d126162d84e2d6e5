//! What the program is told.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// What `init` is told: a file in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The name of the host, inside.
    pub(crate) hostname: String,
    /// The address of the node, inside. Pods reach the API server there.
    pub(crate) address: Ipv4Addr,
    /// The folder of what takes the place of `/var/lib`, `/var/log` and some of `/proc/sys`.
    pub(crate) data: PathBuf,
    /// The control group that all pods are below, without a slash.
    pub(crate) cgroup: String,
    /// Is written once all is laid out.
    pub(crate) ready: PathBuf,
}

/// What `forward` is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Forward {
    /// Where it listens.
    pub(crate) listen: Endpoint,
    /// Where it connects to.
    pub(crate) connect: Endpoint,
}

/// An address in a network namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// A file such as `/proc/1/ns/net`. None: the host's.
    pub(crate) namespace: Option<PathBuf>,
    pub(crate) address: SocketAddr,
}
