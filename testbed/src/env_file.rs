//! The `env` file: where everything is, for a shell to source and for other tools to read.

use std::path::Path;

use crate::{Testbed, cluster, error::Result, files, server::Seen, shell::quote};

/// Writes it. `url` is the server's on the tailnet.
pub(crate) fn write(testbed: &Testbed, url: &str, server: &Seen) -> Result<()> {
    files::write(&testbed.layout.env_file(), render(&variables(testbed, url, server)?))
}

fn variables(testbed: &Testbed, url: &str, server: &Seen) -> Result<Vec<(String, String)>> {
    let Testbed { layout, facts } = testbed;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut variables: Vec<_> = [
        ("BIN", path(&layout.bin())),
        ("KUBECONFIG", path(&layout.kubeconfig())),
        ("NAMESPACE", facts.namespace.clone()),
        ("APISERVER", cluster::api_server_url(facts)),
        ("CA", path(&layout.cluster_ca())),
        ("AUDIT", path(&layout.audit_log())),
        ("URL", url.to_owned()),
        ("GATEWAY_URL", format!("{url}/k8s")),
        ("POLICY", path(&layout.policy())),
        ("LOGS", path(&layout.logs())),
        ("RECORDINGS", path(&layout.recordings())),
        ("HEALTH_URL", server.health_url.clone()),
        ("SERVER_PID", server.pid.map(|pid| pid.to_string()).unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if facts.kubernetes_node {
        variables.push(("RELEASE".to_owned(), cluster::Chart::RELEASE.to_owned()));
        variables.push(("NODE_EXEC".to_owned(), path(&layout.node_exec())));
        variables.push(("IMAGE_SHELL".to_owned(), cluster::node::SHELL.to_owned()));
    }
    for node in testbed.nodes()? {
        let name = node.hostname().to_ascii_uppercase().replace('-', "_");
        variables.push((format!("PROXY_{name}"), node.proxy()));
        variables.push((format!("SOCKET_{name}"), path(node.socket())));
    }
    Ok(variables)
}

fn render(variables: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| format!("export TKA_TESTBED_{name}={}\n", quote(value));
    variables.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_exports_a_name_and_a_value() {
        let variables = [("URL", "http://tka.tailnet.test:1"), ("BIN", "/a b/bin")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = "export TKA_TESTBED_URL=http://tka.tailnet.test:1\nexport TKA_TESTBED_BIN='/a b/bin'\n";
        assert_eq!(render(&variables), expected);
    }
}
