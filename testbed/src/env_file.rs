//! The `env` file: where everything is, for a shell to source and for other tools to read.

use std::path::Path;

use crate::{Testbed, cluster, error::Result, files, server::Server, shell::quote};

/// Writes it.
pub(crate) fn write(testbed: &Testbed, server: &Server) -> Result<()> {
    files::write(&testbed.layout.env_file(), render(&variables(testbed, server)?))
}

fn variables(testbed: &Testbed, server: &Server) -> Result<Vec<(String, String)>> {
    let Testbed { layout, facts } = testbed;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut variables: Vec<_> = [
        ("BIN", path(&layout.bin())),
        ("KUBECONFIG", path(&layout.kubeconfig())),
        ("NAMESPACE", facts.namespace.clone()),
        ("APISERVER", cluster::api_server_url(facts)),
        ("CA", path(&layout.cluster_ca())),
        ("AUDIT", path(&layout.audit_log())),
        ("URL", server.url()),
        ("HEALTH_URL", server.health_url()),
        (
            "SERVER_PID",
            server.pid()?.map(|pid| pid.to_string()).unwrap_or_default(),
        ),
        ("POLICY", path(&layout.policy())),
        ("LOGS", path(&layout.logs())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
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
