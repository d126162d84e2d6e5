//! The Kubernetes control plane: etcd, API server, controller-manager. Pods run where there is a [node].

mod chart;
mod client;
mod kubeconfig;
pub(crate) mod node;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

pub use self::chart::chart_dir;
use self::node::{Entering, Sandbox};
pub(crate) use self::{
    chart::{Chart, run_helm},
    client::{admin, api_server_url, apply, kubectl},
    kubeconfig::write_server as write_server_kubeconfig,
};
use crate::{
    daemon::{self, Daemon},
    error::Result,
    facts::Facts,
    files, http,
    layout::Layout,
    pki,
    processes::Processes,
    wait::Look,
};

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// In the order in which they must go: an API server without its etcd waits for it.
pub(crate) const STOP_ORDER: [&str; 3] = [CONTROLLER_MANAGER, API_SERVER, ETCD];

/// What the API server records: who did what with which credential, and no bodies, since those may hold tokens.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// Starts whatever of the cluster is not running, and returns when it works. `images` are archives of what its pods will run.
pub(crate) fn ensure(layout: &Layout, facts: &Facts, running: &Processes, images: &[PathBuf]) -> Result<()> {
    kubeconfig::write_administrator(layout, facts)?;
    if !facts.kubernetes_node {
        return control_plane(layout, facts, running, None);
    }
    let sandbox = sandbox(layout, facts)?;
    let running = Processes::find(layout)?;
    control_plane(layout, facts, &running, Some(&sandbox))?;
    bind_components(layout)?;
    daemon::ensure_aloud(
        layout,
        &running,
        SCHEDULER,
        || scheduler(layout, facts),
        || api_server_works(layout),
    )?;
    node::ensure(layout, facts, &running, &sandbox, images)
}

/// The sandbox and the ways to it. What belonged to one that has ended is ended first.
fn sandbox(layout: &Layout, facts: &Facts) -> Result<Sandbox> {
    let mut running = Processes::find(layout)?;
    if !running.has(node::SANDBOX) {
        running.kill(&node::PARTS)?;
        running = Processes::find(layout)?;
    }
    let sandbox = Sandbox::ensure(layout, facts, &running)?;
    node::ensure_network(layout, &running, &sandbox, &facts.ports)?;
    Ok(sandbox)
}

fn control_plane(layout: &Layout, facts: &Facts, running: &Processes, sandbox: Option<&Sandbox>) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, facts.ports.etcd));
    daemon::ensure_aloud(
        layout,
        running,
        ETCD,
        || etcd(layout, facts),
        || http::look(address, "/health"),
    )?;
    daemon::ensure_aloud(
        layout,
        running,
        API_SERVER,
        || api_server(layout, facts, sandbox),
        || api_server_works(layout),
    )?;
    // Last, because it ends at once if it finds no API server.
    let controller_manager = || controller_manager(layout, facts);
    daemon::ensure_aloud(layout, running, CONTROLLER_MANAGER, controller_manager, || {
        controllers_work(layout)
    })
}

/// What those who set clusters up bind: the API server may use the kubelet's API, and the node's programs may read what they need.
fn bind_components(layout: &Layout) -> Result<()> {
    let binding = |(name, role, user): (&str, &str, &str)| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        })
    };
    let bindings = [
        ("testbed-kubelet-api", "system:kubelet-api-admin", pki::KUBELET_CLIENT),
        ("testbed-kube-proxy", "system:node-proxier", "system:kube-proxy"),
        ("testbed-kube-router", NETWORK_READER, "testbed-kube-router"),
        ("testbed-coredns", NETWORK_READER, "testbed-coredns"),
    ];
    let mut items = vec![network_reader()];
    items.extend(bindings.map(binding));
    apply(layout, &json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

/// The role of kube-router and CoreDNS.
const NETWORK_READER: &str = "testbed-network-reader";

/// What kube-router reads for network policies, and CoreDNS some of it for names
/// (<https://github.com/cloudnativelabs/kube-router/blob/master/daemonset/kubeadm-kuberouter.yaml>).
fn network_reader() -> Value {
    let rule = |group: &str, resources: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"] });
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": NETWORK_READER },
        "rules": [
            rule("", &["namespaces", "pods", "services", "nodes", "endpoints"]),
            rule("networking.k8s.io", &["networkpolicies"]),
            rule("discovery.k8s.io", &["endpointslices"]),
        ],
    })
}

fn etcd(layout: &Layout, facts: &Facts) -> Result<Daemon> {
    let data = layout.data(ETCD);
    files::create_private_dir(&data)?;
    let (client, peer) = (plain_url(facts.ports.etcd), plain_url(facts.ports.etcd_peer));
    Ok(Daemon::new(layout, ETCD, ETCD).arg("--unsafe-no-fsync").flags([
        ("name", "testbed".into()),
        ("data-dir", data.into()),
        ("listen-client-urls", (&client).into()),
        ("advertise-client-urls", client.into()),
        ("listen-peer-urls", (&peer).into()),
        ("initial-advertise-peer-urls", (&peer).into()),
        ("initial-cluster", format!("testbed={peer}").into()),
        ("log-level", "warn".into()),
    ]))
}

fn api_server(layout: &Layout, facts: &Facts, sandbox: Option<&Sandbox>) -> Result<Daemon> {
    let audit_policy = layout.data("audit-policy.yaml");
    files::write(&audit_policy, AUDIT_POLICY)?;
    let program = layout.program(API_SERVER);
    let daemon = match sandbox {
        None => alone(Daemon::of(layout, API_SERVER, &program)),
        Some(sandbox) => beside_node(layout, sandbox.daemon(layout, API_SERVER, &program, Entering::Network)),
    };
    Ok(daemon.flags([
        ("etcd-servers", plain_url(facts.ports.etcd).into()),
        ("secure-port", facts.ports.api_server.to_string().into()),
        ("tls-cert-file", layout.pki("apiserver.pem").into()),
        ("tls-private-key-file", layout.pki("apiserver.key").into()),
        ("client-ca-file", layout.cluster_ca().into()),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-key-file", layout.pki("service-accounts.pub").into()),
        (
            "service-account-signing-key-file",
            layout.pki("service-accounts.key").into(),
        ),
        ("service-cluster-ip-range", node::SERVICES.into()),
        ("audit-policy-file", audit_policy.into()),
        ("audit-log-path", layout.audit_log().into()),
        ("profiling", "false".into()),
    ]))
}

/// Of a cluster without a node.
fn alone(daemon: Daemon) -> Daemon {
    daemon.flags([
        ("bind-address", "127.0.0.1".into()),
        ("authorization-mode", "RBAC".into()),
        // No pod will ever reach it, so it need not say where it is, nor look for a network to find out.
        ("advertise-address", "127.0.0.1".into()),
        ("endpoint-reconciler-type", "none".into()),
    ])
}

/// In the network of the node: pods find it by the Service `kubernetes`, and it finds kubelet and pods.
fn beside_node(layout: &Layout, daemon: Daemon) -> Daemon {
    daemon.flags([
        ("bind-address", "0.0.0.0".into()),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-admission-plugins", "NodeRestriction".into()),
        ("advertise-address", node::ADDRESS.to_string().into()),
        ("kubelet-client-certificate", layout.pki("kubelet-client.pem").into()),
        ("kubelet-client-key", layout.pki("kubelet-client.key").into()),
        ("kubelet-certificate-authority", layout.cluster_ca().into()),
        ("kubelet-preferred-address-types", "InternalIP".into()),
    ])
}

fn scheduler(layout: &Layout, facts: &Facts) -> Result<Daemon> {
    let kubeconfig = kubeconfig::write_component(layout, facts, "scheduler")?;
    let program: &Path = &layout.node_bin().join(SCHEDULER);
    Ok(Daemon::of(layout, SCHEDULER, program).flags([
        ("kubeconfig", (&kubeconfig).into()),
        ("authorization-kubeconfig", kubeconfig.into()),
        ("authentication-skip-lookup", "true".into()),
        ("bind-address", "127.0.0.1".into()),
        ("secure-port", facts.ports.scheduler.to_string().into()),
        ("leader-elect", "false".into()),
        ("profiling", "false".into()),
    ]))
}

fn controller_manager(layout: &Layout, facts: &Facts) -> Result<Daemon> {
    let kubeconfig = kubeconfig::write_component(layout, facts, "controller-manager")?;
    Ok(Daemon::new(layout, CONTROLLER_MANAGER, CONTROLLER_MANAGER).flags([
        ("kubeconfig", (&kubeconfig).into()),
        ("authorization-kubeconfig", kubeconfig.into()),
        // There is no front proxy whose certificate it could look up.
        ("authentication-skip-lookup", "true".into()),
        // Its default is meant to spare an API server that others use too.
        ("kube-api-qps", "500".into()),
        ("kube-api-burst", "1000".into()),
        // Or it creates one in /usr.
        ("flex-volume-plugin-dir", layout.data("volume-plugins").into()),
        ("bind-address", "127.0.0.1".into()),
        ("secure-port", facts.ports.controller_manager.to_string().into()),
        ("use-service-account-credentials", "true".into()),
        (
            "service-account-private-key-file",
            layout.pki("service-accounts.key").into(),
        ),
        ("root-ca-file", layout.cluster_ca().into()),
        ("leader-elect", "false".into()),
        ("profiling", "false".into()),
    ]))
}

fn api_server_works(layout: &Layout) -> Look<()> {
    look(admin(layout, &["get", "--raw", "/readyz"]).map(|_| ()))
}

/// Whether the controllers' work shows: a namespace has its account, and `view` the rules that are gathered into it.
fn controllers_work(layout: &Layout) -> Look<()> {
    let account = || {
        admin(
            layout,
            &[
                "get",
                "serviceaccount",
                "default",
                "--namespace=default",
                "--output=name",
            ],
        )
    };
    let rules = || {
        admin(
            layout,
            &["get", "clusterrole", "view", "--output=jsonpath={.rules[*].verbs}"],
        )
    };
    match account().and_then(|_| rules()) {
        Ok(rules) if rules.trim().is_empty() => Look::NotYet("the ClusterRole view has no rules yet".to_owned()),
        result => look(result.map(|_| ())),
    }
}

fn look(result: Result<()>) -> Look<()> {
    match result {
        Ok(()) => Look::Done(()),
        Err(error) => Look::NotYet(error.to_string()),
    }
}

fn plain_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
