//! What `up` decided once for a testbed, so that every later run finds the same.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files,
    layout::Layout,
    ports,
};

/// The decisions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Where unix sockets are.
    pub(crate) sockets: PathBuf,
    /// The namespace of the server that `up` starts.
    pub(crate) namespace: String,
    /// The server program.
    pub(crate) server_program: PathBuf,
    /// Whether it has a Kubernetes node.
    pub(crate) kubernetes_node: bool,
    pub(crate) ports: Ports,
}

/// The ports of what every testbed has one of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api_server: u16,
    pub(crate) controller_manager: u16,
    pub(crate) scheduler: u16,
    pub(crate) headscale: u16,
    pub(crate) headscale_metrics: u16,
    pub(crate) headscale_grpc: u16,
    pub(crate) stun: u16,
    /// Where the health of a server in a pod is asked.
    pub(crate) health: u16,
}

impl Facts {
    /// Those of a testbed that is there.
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        files::read_json(&layout.facts())?.ok_or_else(|| Error::NoTestbed {
            dir: layout.dir().to_owned(),
        })
    }

    /// Those of a testbed that may be there. The server program is always the one that was asked for last.
    pub(crate) fn ensure(
        layout: &Layout,
        namespace: &str,
        server_program: &Path,
        kubernetes_node: bool,
    ) -> Result<Self> {
        let facts = match files::read_json::<Self>(&layout.facts())? {
            Some(facts) if kubernetes_node && !facts.kubernetes_node => {
                return Err(Error::Name(format!(
                    "the testbed in {} has no Kubernetes node, and cannot be given one: end it with `cargo xtask down` first",
                    layout.dir().display()
                )));
            }
            Some(facts) => Self {
                server_program: server_program.to_owned(),
                ..facts
            },
            None => Self::decide(layout, namespace, server_program, kubernetes_node)?,
        };
        // Sockets may be where the system cleans up by itself.
        files::create_private_dir(&facts.sockets)?;
        files::write_json(&layout.facts(), &facts)?;
        Ok(facts)
    }

    fn decide(layout: &Layout, namespace: &str, server_program: &Path, kubernetes_node: bool) -> Result<Self> {
        // Of an earlier testbed.
        files::remove(&layout.logs())?;
        ports::claim(layout)?;
        let [
            etcd,
            etcd_peer,
            api_server,
            controller_manager,
            scheduler,
            headscale,
            headscale_metrics,
            headscale_grpc,
            stun,
            health,
        ] = ports::take(layout)?;
        Ok(Self {
            sockets: layout.create_socket_dir()?,
            namespace: namespace.to_owned(),
            server_program: server_program.to_owned(),
            kubernetes_node,
            ports: Ports {
                etcd,
                etcd_peer,
                api_server,
                controller_manager,
                scheduler,
                headscale,
                headscale_metrics,
                headscale_grpc,
                stun,
                health,
            },
        })
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets.join(format!("{name}.sock"))
    }
}
