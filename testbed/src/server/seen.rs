//! What the host sees of a server, be it a process of its own or one in a pod.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use serde_json::json;

use crate::{
    Testbed,
    cluster::{self, Chart, node},
    error::{Error, Result},
    http, wait,
};

/// The Service by which the first pod's health is asked, whatever its present address is.
const SERVICE: &str = "tka-testbed-health";
/// The chart's port of health.
const PORT: u16 = 8080;
/// How long kube-proxy may take to know the Service.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a server's health is asked, and which process it is.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) health_url: String,
    pub(crate) pid: Option<u32>,
}

// === impl Seen ===

impl Seen {
    /// Of the first pod of the testbed's own release. Its process has another number once its container was restarted.
    pub(crate) fn in_pod(testbed: &Testbed) -> Result<Self> {
        let Testbed { layout, facts } = testbed;
        let pod = format!("{}-0", Chart::RELEASE);
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": SERVICE, "namespace": facts.namespace },
            "spec": {
                // Health is asked above all of a pod that is not ready.
                "publishNotReadyAddresses": true,
                "selector": { "statefulset.kubernetes.io/pod-name": pod },
                "ports": [{ "port": PORT }],
            },
        });
        cluster::apply(layout, &service)?;
        let in_namespace = format!("--namespace={}", facts.namespace);
        let get = |kind: &str, name: &str, path: &str| {
            let output = format!("--output=jsonpath={{{path}}}");
            cluster::admin(layout, &["get", kind, name, &in_namespace, &output])
        };
        let address = get("service", SERVICE, ".spec.clusterIP")?;
        let address: Ipv4Addr = address.parse().map_err(|_| {
            Error::Name(format!(
                "the Service {SERVICE} has the address {address:?}, which is none"
            ))
        })?;
        node::forward_health(layout, facts, (address, PORT).into())?;
        let seen = SocketAddr::from((Ipv4Addr::LOCALHOST, facts.ports.health));
        wait::until(LIMIT, || http::look(seen, "/livez")).map_err(|why| Error::Timeout {
            what: "the health of the server's pod".to_owned(),
            limit: LIMIT,
            why,
        })?;
        let uid = get("pod", &pod, ".metadata.uid")?;
        Ok(Self {
            health_url: format!("http://{seen}"),
            pid: pid_in(&uid),
        })
    }
}

/// The number, on the host, of the server's process in the pod of that UID.
fn pid_in(uid: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, entry.path()))
    });
    let is_it = |folder: &Path| {
        let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
        serves_in(uid, &read("cgroup"), &read("cmdline"))
    };
    let mut found = processes.filter(|(_, folder)| is_it(folder)).map(|(pid, _)| pid);
    found.next()
}

/// Whether a process with these control groups and this command line is the server in the pod of that UID. Probes run the same program.
fn serves_in(uid: &str, cgroup: &[u8], cmdline: &[u8]) -> bool {
    let mut words = cmdline.split(|byte| *byte == 0);
    let is_server = words.next().is_some_and(|program| program.ends_with(b"/tka-server"));
    is_server && words.next() == Some(b"serve") && String::from_utf8_lossy(cgroup).contains(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_of_a_pod_is_told_from_probes_and_from_other_pods() {
        let group = b"4:cpu,cpuacct:/testbed/kubepods/burstable/pod1f0c/container\n";
        let serve = b"/usr/bin/tka-server\0serve\0--config=/etc/tka/config.yaml\0";
        assert!(serves_in("1f0c", group, serve));
        assert!(!serves_in("2f0c", group, serve));
        assert!(!serves_in("1f0c", group, b"/usr/bin/tka-server\0ready\0"));
        assert!(!serves_in("1f0c", group, b"/usr/bin/tailscaled\0serve\0"));
        assert!(!serves_in("1f0c", group, b""));
    }
}
