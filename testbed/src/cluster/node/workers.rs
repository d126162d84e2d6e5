//! kubelet, kube-proxy and kube-router.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    place::{ADDRESS, CONTAINERD, NAME, PODS, SERVICES, data, write},
    requirements::busybox,
    sandbox::{Entering, Sandbox, group},
};
use crate::{
    cluster::{client::admin, kubeconfig::write_component},
    daemon,
    error::Result,
    facts::Facts,
    files,
    layout::Layout,
    processes::Processes,
    wait::Look,
};

/// Names of Services end in it.
const DOMAIN: &str = "cluster.local";

/// Starts whatever does not run, and returns when the node takes pods.
pub(super) fn ensure(layout: &Layout, facts: &Facts, running: &Processes, sandbox: &Sandbox) -> Result<()> {
    kubelet(layout, facts, running, sandbox)?;
    kube_proxy(layout, facts, running, sandbox)?;
    coredns(layout, facts, running, sandbox)?;
    kube_router(layout, facts, running, sandbox)
}

fn kubelet(layout: &Layout, facts: &Facts, running: &Processes, sandbox: &Sandbox) -> Result<()> {
    let daemon = || {
        let config = write(layout, "kubelet.json", &kubelet_configuration(layout, facts))?;
        let kubeconfig = write_component(layout, facts, "kubelet")?;
        let program = layout.node_bin().join("kubelet");
        Ok(sandbox
            .daemon(layout, "kubelet", &program, Entering::Everything)
            .flags([
                ("config", config.into()),
                ("kubeconfig", kubeconfig.into()),
                ("hostname-override", NAME.into()),
                ("node-ip", ADDRESS.to_string().into()),
                ("root-dir", "/var/lib/kubelet".into()),
            ]))
    };
    daemon::ensure_aloud(layout, running, "kubelet", daemon, || {
        let jsonpath = r#"--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        // The condition may be that of a kubelet that has ended.
        let health = format!("/api/v1/nodes/{NAME}/proxy/healthz");
        match admin(layout, &["get", "--raw", &health]).and_then(|_| admin(layout, &["get", "node", NAME, jsonpath])) {
            Ok(ready) if ready == "True" => Look::Done(()),
            Ok(ready) => Look::NotYet(format!("the node's condition Ready is {ready:?}")),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
}

fn kubelet_configuration(layout: &Layout, facts: &Facts) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": layout.cluster_ca() },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": layout.pki("kubelet-server.pem"),
        "tlsPrivateKeyFile": layout.pki("kubelet-server.key"),
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", group(facts)),
        // Version 1 is still what some machines have.
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDomain": DOMAIN,
        "clusterDNS": [ADDRESS],
        // Others need CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        "maxOpenFiles": 20_000,
        // The disk is the developer's, and full as it may be.
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "shutdownGracePeriod": "0s",
    })
}

fn kube_proxy(layout: &Layout, facts: &Facts, running: &Processes, sandbox: &Sandbox) -> Result<()> {
    let daemon = || {
        let config = write(
            layout,
            "kube-proxy.json",
            &json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "bindAddress": ADDRESS,
                "clusterCIDR": PODS,
                "hostnameOverride": NAME,
                "clientConnection": { "kubeconfig": write_component(layout, facts, "kube-proxy")? },
                // They are the whole machine's.
                "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
            }),
        )?;
        let program = layout.node_bin().join("kube-proxy");
        Ok(sandbox
            .daemon(layout, "kube-proxy", &program, Entering::Everything)
            .flags([("config", config.into())]))
    };
    // Its table stands when it has learnt of the first Service.
    daemon::ensure_aloud(layout, running, "kube-proxy", daemon, || {
        nft(sandbox, &["list", "map", "ip", "kube-proxy", "service-ips"], "10.0.0.1")
    })
}

fn coredns(layout: &Layout, facts: &Facts, running: &Processes, sandbox: &Sandbox) -> Result<()> {
    let daemon = || {
        let config = data(layout).join("Corefile");
        let kubeconfig = write_component(layout, facts, "coredns")?;
        let text = format!(
            ".:53 {{\n  bind {ADDRESS}\n  errors\n  kubernetes {DOMAIN} in-addr.arpa {{\n    kubeconfig {}\n  }}\n}}\n",
            kubeconfig.display()
        );
        files::write(&config, text)?;
        let program = layout.node_bin().join("coredns");
        Ok(sandbox
            .daemon(layout, "coredns", &program, Entering::Everything)
            .arg("-conf")
            .arg(config))
    };
    let busybox = busybox()?;
    let (name, address) = (format!("kubernetes.default.svc.{DOMAIN}"), ADDRESS.to_string());
    daemon::ensure_aloud(layout, running, "coredns", daemon, || {
        match sandbox.run(&busybox).args(["nslookup", &name, &address]).output() {
            Ok(output) if output.status.success() => Look::Done(()),
            Ok(output) => Look::NotYet(output.stdout),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
}

fn kube_router(layout: &Layout, facts: &Facts, running: &Processes, sandbox: &Sandbox) -> Result<()> {
    let daemon = || {
        let program = layout.node_bin().join("kube-router");
        Ok(sandbox
            .daemon(layout, "kube-router", &program, Entering::Everything)
            .flags([
                ("kubeconfig", write_component(layout, facts, "kube-router")?.into()),
                ("hostname-override", NAME.into()),
                // Network policies and nothing else.
                ("run-firewall", "true".into()),
                ("run-router", "false".into()),
                ("run-service-proxy", "false".into()),
                ("run-loadbalancer", "false".into()),
                ("service-cluster-ip-range", SERVICES.into()),
                ("metrics-port", "0".into()),
                ("health-port", "0".into()),
            ]))
    };
    daemon::ensure_aloud(layout, running, "kube-router", daemon, || {
        match sandbox.run(Path::new("iptables-save")).output() {
            Ok(output) if output.stdout.contains("KUBE-ROUTER-FORWARD") => Look::Done(()),
            Ok(output) => Look::NotYet(format!("its chains are not there yet {}", output.stderr)),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
}

/// Whether what `nft` says holds `expected`.
fn nft(sandbox: &Sandbox, arguments: &[&str], expected: &str) -> Look<()> {
    match sandbox.run(Path::new("nft")).args(arguments).output() {
        Ok(output) if output.stdout.contains(expected) => Look::Done(()),
        Ok(output) => Look::NotYet(format!("no {expected} in its rules yet {}", output.stderr)),
        Err(error) => Look::NotYet(error.to_string()),
    }
}
