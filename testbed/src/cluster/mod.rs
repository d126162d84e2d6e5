//! The Kubernetes control plane: etcd, API server, controller-manager. There is no kubelet and so no pod ever runs.

mod chart;
mod client;
mod kubeconfig;

use std::net::{Ipv4Addr, SocketAddr};

pub(crate) use self::{
    chart::Chart,
    client::{admin, api_server_url, kubectl},
    kubeconfig::write_server as write_server_kubeconfig,
};
use crate::{
    daemon::{self, Daemon},
    error::Result,
    facts::Facts,
    files, http,
    layout::Layout,
    processes::Processes,
    wait::Look,
};

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

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

/// Starts whatever of the control plane is not running, and returns when it works.
pub(crate) fn ensure(layout: &Layout, facts: &Facts, running: &Processes) -> Result<()> {
    kubeconfig::write_administrator(layout, facts)?;
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
        || api_server(layout, facts),
        || api_server_works(layout),
    )?;
    // Last, because it ends at once if it finds no API server.
    let controller_manager = || controller_manager(layout, facts);
    daemon::ensure_aloud(layout, running, CONTROLLER_MANAGER, controller_manager, || {
        controllers_work(layout)
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

fn api_server(layout: &Layout, facts: &Facts) -> Result<Daemon> {
    let audit_policy = layout.data("audit-policy.yaml");
    files::write(&audit_policy, AUDIT_POLICY)?;
    Ok(Daemon::new(layout, API_SERVER, API_SERVER).flags([
        ("etcd-servers", plain_url(facts.ports.etcd).into()),
        ("bind-address", "127.0.0.1".into()),
        ("secure-port", facts.ports.api_server.to_string().into()),
        ("tls-cert-file", layout.pki("apiserver.pem").into()),
        ("tls-private-key-file", layout.pki("apiserver.key").into()),
        ("client-ca-file", layout.cluster_ca().into()),
        ("authorization-mode", "RBAC".into()),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-key-file", layout.pki("service-accounts.pub").into()),
        (
            "service-account-signing-key-file",
            layout.pki("service-accounts.key").into(),
        ),
        ("service-cluster-ip-range", "10.0.0.0/24".into()),
        // No pod will ever reach it, so it need not say where it is, nor look for a network to find out.
        ("advertise-address", "127.0.0.1".into()),
        ("endpoint-reconciler-type", "none".into()),
        ("audit-policy-file", audit_policy.into()),
        ("audit-log-path", layout.audit_log().into()),
        ("profiling", "false".into()),
    ]))
}

fn controller_manager(layout: &Layout, facts: &Facts) -> Result<Daemon> {
    let kubeconfig = kubeconfig::write_controller_manager(layout, facts)?;
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
