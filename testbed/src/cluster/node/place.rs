//! Where the node is: its name, its addresses and its files.

use std::{net::Ipv4Addr, path::PathBuf};

use crate::{error::Result, files, layout::Layout};

/// What it is called in the cluster.
pub(super) const NAME: &str = "testbed";
/// Its address, which only the sandbox has.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The addresses of pods.
pub(super) const PODS: &str = "10.244.0.0/24";
/// The addresses of Services.
pub(crate) const SERVICES: &str = "10.0.0.0/24";

/// The sandbox as a part of the testbed: `unshare`, and the program's `init` as its child.
pub(crate) const SANDBOX: &str = "kubernetes-node";
/// The program of this package that runs in and around it.
pub(crate) const PROGRAM: &str = "testbed-sandbox";
/// Where a system has programs that may be on no PATH.
pub(super) const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// containerd's socket, in the sandbox.
pub(super) const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// What holds the namespaces of a pod.
pub(super) const PAUSE: &str = "localhost/pause:testbed";

/// The folder of all that is kept for it.
pub(super) fn data(layout: &Layout) -> PathBuf {
    layout.data(SANDBOX)
}

/// Writes a file of the node's, in JSON, which is YAML too.
pub(super) fn write(layout: &Layout, name: &str, content: &serde_json::Value) -> Result<PathBuf> {
    let path = data(layout).join(name);
    files::write_json(&path, content)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki;

    #[test]
    fn certificates_are_for_the_address_that_the_node_has() {
        assert_eq!(ADDRESS.to_string(), pki::NODE_ADDRESS);
    }
}
