//! containerd, runc and the network of pods.

use std::{os::unix::fs::symlink, path::Path};

use serde_json::json;

use super::{
    place::{ADDRESS, CONTAINERD, PAUSE, PODS, PROGRAM, data, write},
    sandbox::{Entering, Sandbox},
};
use crate::{
    daemon,
    error::{Attempt, Result},
    facts::Facts,
    files,
    layout::Layout,
    processes::Processes,
    sandbox::CNI_TYPE,
    wait::Look,
};

/// Starts containerd unless it runs, and returns when it answers.
pub(super) fn ensure(layout: &Layout, facts: &Facts, running: &Processes, sandbox: &Sandbox) -> Result<()> {
    let daemon = || {
        write_pod_network(layout, facts)?;
        let config = data(layout).join("containerd.toml");
        files::write(&config, configuration(layout))?;
        let program = layout.node_bin().join("containerd");
        Ok(sandbox
            .daemon(layout, "containerd", &program, Entering::Everything)
            .arg("--config")
            .arg(config))
    };
    daemon::ensure_aloud(layout, running, "containerd", daemon, || {
        match sandbox.run(&layout.node_bin().join("ctr")).args(["version"]).output() {
            Ok(output) if output.status.success() => Look::Done(()),
            Ok(output) => Look::NotYet(output.stderr),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
}

fn write_pod_network(layout: &Layout, facts: &Facts) -> Result<()> {
    let plugin = layout.node_bin().join(CNI_TYPE);
    files::remove(&plugin)?;
    symlink(layout.node_bin().join(PROGRAM), &plugin).attempt(|| format!("cannot link {}", plugin.display()))?;
    files::create_private_dir(&data(layout).join("cni"))?;
    write(
        layout,
        "cni/10-pods.conflist",
        &json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "pods0",
                    "isGateway": true,
                    "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/run/cni",
                        "ranges": [[{ "subnet": PODS }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": CNI_TYPE, "to": ADDRESS, "ports": [facts.ports.headscale] },
            ],
        }),
    )
    .map(|_| ())
}

/// containerd's own format has no JSON.
fn configuration(layout: &Layout) -> String {
    let (bin, cni) = (layout.node_bin(), data(layout).join("cni"));
    let quoted = |path: &Path| json!(path.to_string_lossy()).to_string();
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{CONTAINERD}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
  # Or no container starts without CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  # A pod that listens on a low port says so itself: not every cluster's runtime allows it to all.
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = {runc}
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{bin}]
    conf_dir = {cni}

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
"#,
        pause = PAUSE,
        runc = quoted(&bin.join("runc")),
        bin = quoted(&bin),
        cni = quoted(&cni),
    )
}
