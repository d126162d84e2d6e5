//! The server as the chart runs it: pods on the testbed's Kubernetes node, each with a node of the tailnet of its own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use serde_json::{Value, json};

use super::gateway::with_gateway;
use crate::{
    Testbed,
    cluster::{self, Chart, node},
    error::{Attempt, Error, Result},
    facts::Facts,
    files,
    layout::Layout,
    tailnet::{self, Owner},
    wait::{self, Look},
};

/// What its nodes ask to be called on the tailnet. The testbed's own node of a server beside the cluster has the short name.
const HOSTNAME: &str = "tka-pod";
/// Below 1024, as a server in earnest has it: its user must be let listen there.
const PORT: u16 = 80;
/// How long a pod may take to be on the tailnet after it is ready.
const LIMIT: Duration = Duration::from_mins(1);
/// The Secret with the key that joins pods to the tailnet.
const AUTH_KEY: &str = "tka-tailnet-auth";
/// The `ConfigMap` with the authority of the tailnet's control server.
const AUTHORITY: &str = "tka-tailnet-ca";

/// The claim of the volume with recordings.
const RECORDINGS: &str = "tka-recordings";

/// A server in pods.
#[derive(Debug, Clone)]
pub struct Pods {
    /// Their nodes' names on the tailnet.
    hosts: Vec<String>,
}

/// What pods are made of.
#[derive(Debug)]
pub(crate) struct PodOptions<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) capability: &'a str,
    /// The `ClusterRole`s that the server may bind.
    pub(crate) roles: &'a [String],
    /// The server's image, by repository and tag.
    pub(crate) image: (&'a str, &'a str),
}

impl Pods {
    /// Installs the chart, or brings what is installed up to date, and returns when a pod is ready and on the tailnet.
    pub(crate) fn ensure(testbed: &Testbed, options: &PodOptions<'_>) -> Result<Self> {
        let Testbed { layout, facts } = testbed;
        prepare_namespace(layout, options.namespace)?;
        prepare_recordings(layout, options.namespace)?;
        let chart = Chart {
            namespace: options.namespace,
            roles: options.roles,
            namespaced_roles: &[],
            guard: true,
            crds: true,
            server: Some(values(facts, options)),
            before_server: None,
        };
        chart.install(layout)?;
        let mut hosts = Vec::new();
        let look = || match hosts_of(testbed, HOSTNAME) {
            Ok(found) if found.is_empty() => Look::NotYet("no pod's node is known yet".to_owned()),
            Ok(found) => {
                hosts = found;
                Look::Done(())
            }
            Err(error) => Look::NotYet(error.to_string()),
        };
        wait::until(LIMIT, look).map_err(|why| Error::Timeout {
            what: "the server's pods to be on the tailnet".to_owned(),
            limit: LIMIT,
            why,
        })?;
        Ok(Self { hosts })
    }

    /// Those of the testbed's own release that are on the tailnet now.
    pub(crate) fn find(testbed: &Testbed) -> Result<Self> {
        Self::called(testbed, HOSTNAME)
    }

    /// Those that ask to be called `hostname` and are on the tailnet now.
    pub(crate) fn called(testbed: &Testbed, hostname: &str) -> Result<Self> {
        hosts_of(testbed, hostname).map(|hosts| Self { hosts })
    }

    /// Base URLs, one for each pod.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.hosts.iter().map(|host| format!("http://{host}:{PORT}")).collect()
    }
}

/// The names of nodes that are pods, in their order.
fn hosts_of(testbed: &Testbed, hostname: &str) -> Result<Vec<String>> {
    let server = testbed.node(tailnet::SERVER)?;
    let status = tailnet::status(server.socket())?;
    let peers = status["Peer"].as_object().into_iter().flat_map(|peers| peers.values());
    let mut hosts: Vec<_> = peers
        .filter(|peer| peer["HostName"] == hostname && peer["Online"] == true)
        .filter_map(|peer| Some(peer["DNSName"].as_str()?.trim_end_matches('.').to_owned()))
        .collect();
    hosts.sort();
    Ok(hosts)
}

/// What the chart's values must be there for: the namespace, the key and the authority.
fn prepare_namespace(layout: &Layout, namespace: &str) -> Result<()> {
    let authority = files::read_to_string(&layout.pki("tailnet-ca.pem"))?;
    let namespace_and_authority = json!([
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": namespace, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": AUTHORITY, "namespace": namespace },
            "data": { "ca.crt": authority },
        },
    ]);
    cluster::apply(
        layout,
        &json!({ "apiVersion": "v1", "kind": "List", "items": namespace_and_authority }),
    )?;
    let in_namespace = format!("--namespace={namespace}");
    let get = [
        "get",
        "secret",
        AUTH_KEY,
        &in_namespace,
        "--ignore-not-found",
        "--output=name",
    ];
    if !cluster::admin(layout, &get)?.is_empty() {
        return Ok(());
    }
    let key = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": AUTH_KEY, "namespace": namespace },
        "stringData": { "authkey": tailnet::auth_key(layout, &Owner::tag("tag:tka"))? },
    });
    cluster::apply(layout, &key)
}

/// The folder of recordings as a volume of the pods. Their user is none of this machine's, and the testbed's folder lets no other user in.
fn prepare_recordings(layout: &Layout, namespace: &str) -> Result<()> {
    let folder = layout.recordings();
    files::create_private_dir(&folder)?;
    let to_all = fs::set_permissions(&folder, Permissions::from_mode(0o777));
    to_all.attempt(|| format!("cannot let pods write to {}", folder.display()))?;
    let (capacity, modes) = (json!({ "storage": "1Gi" }), ["ReadWriteMany"]);
    let volume_and_claim = json!([
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": RECORDINGS },
            "spec": {
                "capacity": capacity,
                "accessModes": modes,
                "storageClassName": "",
                "claimRef": { "namespace": namespace, "name": RECORDINGS },
                "hostPath": { "path": folder, "type": "Directory" },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": RECORDINGS, "namespace": namespace },
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": RECORDINGS,
                "resources": { "requests": capacity },
            },
        },
    ]);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": volume_and_claim });
    cluster::apply(layout, &list)
}

fn values(facts: &Facts, options: &PodOptions<'_>) -> Value {
    let (repository, tag) = options.image;
    let (tailscale, tailscale_tag) = node::TAILSCALE;
    json!({
        "image": { "repository": repository, "tag": tag, "pullPolicy": "Never" },
        "port": PORT,
        "clusterInfo": { "apiEndpoint": cluster::api_server_url(facts) },
        "recordings": { "existingClaim": RECORDINGS },
        "config": {
            "tailscale": { "capName": options.capability },
            "operator": { "minPeriod": "1s" },
            "clusterInfo": { "labels": { "environment": "testbed" } },
            "gateway": with_gateway()["gateway"],
        },
        "tailscale": {
            "image": { "repository": tailscale, "tag": tailscale_tag, "pullPolicy": "Never" },
            "hostname": HOSTNAME,
            "authKey": { "existingSecret": { "name": AUTH_KEY } },
            // The key has the tag. headscale refuses a node that asks for one.
            "daemonExtraArgs": ["--no-logs-no-support"],
            "controlUrl": tailnet::control_url(facts),
            "caCert": { "configMap": { "name": AUTHORITY } },
            "extraEnv": [
                { "name": "TS_DISABLE_PORTMAPPER", "value": "1" },
                { "name": "TS_ASSUME_NETWORK_UP_FOR_TEST", "value": "1" },
            ],
        },
    })
}
