//! A chained CNI plugin (<https://www.cni.dev/docs/spec/>). In a pod, `127.0.0.1:PORT` leads to the same port of the node's address. From
//! there a forwarder leads to the host's loopback. The tailnet's control server has no other address than that.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::Ipv4Addr,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::network_namespace::enter;

/// Its type in a network configuration, and so the name of its program.
pub(crate) const TYPE: &str = "testbed-loopback";
/// Versions of the protocol that it speaks.
const VERSIONS: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];
/// Lets packets to loopback addresses leave through another interface.
const ROUTE_LOCALNET: &str = "/proc/sys/net/ipv4/conf/all/route_localnet";

/// What it is told on its standard input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    cni_version: String,
    /// The address of the node.
    to: Ipv4Addr,
    ports: Vec<u16>,
    #[serde(default)]
    prev_result: Value,
}

/// Does what `CNI_COMMAND` says. Errors go to the standard output, as the protocol has it.
pub(super) fn main(command: &str) -> ExitCode {
    match run(command) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            print!(
                "{}",
                json!({ "cniVersion": VERSIONS[1], "code": 100, "msg": error.to_string() })
            );
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str) -> io::Result<String> {
    match command {
        "VERSION" => Ok(json!({ "cniVersion": VERSIONS[1], "supportedVersions": VERSIONS }).to_string()),
        "ADD" => {
            let mut text = Vec::new();
            io::stdin().read_to_end(&mut text)?;
            let configuration: Configuration = serde_json::from_slice(&text)?;
            let namespace = env::var_os("CNI_NETNS").ok_or_else(|| io::Error::other("CNI_NETNS is not set"))?;
            enter(Path::new(&namespace))?;
            fs::write(ROUTE_LOCALNET, "1")?;
            nft(&rules(configuration.to, &configuration.ports))?;
            let mut result = configuration.prev_result;
            result["cniVersion"] = configuration.cni_version.into();
            Ok(result.to_string())
        }
        // What it made ends with the namespace of the pod.
        _ => Ok(String::new()),
    }
}

fn rules(to: Ipv4Addr, ports: &[u16]) -> String {
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "table ip testbed {{
  chain output {{
    type nat hook output priority -100;
    ip daddr 127.0.0.1 tcp dport {{ {ports} }} dnat to {to}
  }}
  chain postrouting {{
    type nat hook postrouting priority 100;
    ip daddr {to} tcp dport {{ {ports} }} masquerade
  }}
}}
"
    )
}

fn nft(rules: &str) -> io::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run nft (package nftables): {error}")))?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(rules.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_led_to_the_node() {
        let rules = rules(Ipv4Addr::new(10, 99, 0, 1), &[1, 2]);
        assert!(
            rules.contains("ip daddr 127.0.0.1 tcp dport { 1, 2 } dnat to 10.99.0.1"),
            "{rules}"
        );
    }

    #[test]
    fn version_is_said_without_a_configuration() {
        let said: Value = serde_json::from_str(&run("VERSION").unwrap()).unwrap();
        assert_eq!(said["supportedVersions"][1], "1.0.0");
        assert_eq!(run("DEL").unwrap(), "");
    }
}
