//! Joining nodes to the tailnet, and taking them off it.

use std::{path::Path, thread, time::Duration};

use serde_json::Value;

use super::record::{Node, Owner, Record, SERVER, find, part, record_file};
use crate::{
    command::Run,
    daemon::{self, Daemon},
    error::{Error, Result},
    facts::Facts,
    files,
    layout::{Layout, MAX_SOCKET_NAME},
    ports,
    processes::Processes,
    progress::step,
    tailnet::{
        headscale::{DOMAIN, auth_key, control_url},
        local_api, policy,
    },
    wait::{self, Look},
};

/// How long a node may take to join, and the others to hear of it.
const LIMIT: Duration = Duration::from_mins(1);

/// [`ensure`] for many at once.
pub(crate) fn ensure_all(
    layout: &Layout,
    facts: &Facts,
    running: &Processes,
    nodes: &[(&str, Owner)],
) -> Result<Vec<Node>> {
    thread::scope(|scope| {
        let join = |(hostname, owner): &(&str, Owner)| ensure(layout, facts, running, hostname, owner);
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(move || join(node))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
            .collect()
    })
}

pub(crate) fn panicked() -> Error {
    Error::Name("a thread of the testbed panicked; its message is above".to_owned())
}

/// Sees that a node runs and is on the tailnet.
pub(crate) fn ensure(
    layout: &Layout,
    facts: &Facts,
    running: &Processes,
    hostname: &str,
    owner: &Owner,
) -> Result<Node> {
    let mut node = Node::new(facts, record(layout, hostname, owner)?);
    let runs = running.has(&part(hostname));
    let work = || {
        daemon::ensure(
            layout,
            running,
            &part(hostname),
            || Ok(daemon(layout, &node)),
            || match state(&node.socket) {
                Ok(_) => Look::Done(()),
                Err(error) => Look::NotYet(error.to_string()),
            },
        )?;
        if settled_state(&node.socket)? != "Running" {
            join(layout, facts, &node)?;
        }
        wait_for_addresses(&node)
    };
    let done = format!("node {hostname} is on the tailnet");
    node.record.addresses = if runs { work() } else { step(&done, work) }?;
    files::write_json(&record_file(layout, hostname), &node.record)?;
    Ok(node)
}

/// Waits until the server's node knows another and the other way round.
pub(crate) fn wait_acquainted(layout: &Layout, facts: &Facts, node: &Node) -> Result<()> {
    let server = find(layout, facts, SERVER)?;
    let look = || {
        let address = node.addresses().first().map_or("", String::as_str);
        match (local_api::whois(server.socket(), address), knows_server(&node.socket)) {
            (Ok(whois), Ok(true)) if policy::covers(&whois) => Look::Done(()),
            (Err(error), _) | (_, Err(error)) => Look::NotYet(error.to_string()),
            _ => Look::NotYet("one of them has not heard of the other".to_owned()),
        }
    };
    wait_for(node, "be acquainted with the server's node", look)
}

fn record(layout: &Layout, hostname: &str, owner: &Owner) -> Result<Record> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if hostname.is_empty() || hostname.len() > MAX_SOCKET_NAME || !hostname.bytes().all(letters) {
        let allowed = format!("1 to {MAX_SOCKET_NAME} lower-case letters, digits and hyphens");
        return Err(Error::Name(format!(
            "a node cannot be called {hostname:?}: its name is {allowed}"
        )));
    }
    let file = record_file(layout, hostname);
    match files::read_json::<Record>(&file)? {
        Some(record) if record.owner == *owner => Ok(record),
        Some(_) => Err(Error::Name(format!(
            "the tailnet has a node {hostname} of another owner"
        ))),
        None => {
            files::create_private_dir(&layout.node(hostname))?;
            let [proxy, socks] = ports::take(layout)?;
            let (hostname, owner) = (hostname.to_owned(), owner.clone());
            let record = Record {
                hostname,
                owner,
                proxy,
                socks,
                addresses: Vec::new(),
            };
            files::write_json(&file, &record)?;
            Ok(record)
        }
    }
}

fn daemon(layout: &Layout, node: &Node) -> Daemon {
    Daemon::new(layout, &part(node.hostname()), "tailscaled")
        .env("SSL_CERT_FILE", layout.pki("tailnet-ca.pem"))
        // Or it writes into the system's folder.
        .env("TS_LOGS_DIR", layout.node(node.hostname()))
        // Loopback is all the network it needs: not a router, and no way out.
        .env("TS_DISABLE_PORTMAPPER", "1")
        .env("TS_ASSUME_NETWORK_UP_FOR_TEST", "1")
        .flags([
            ("tun", "userspace-networking".into()),
            ("statedir", layout.node(node.hostname()).into()),
            ("socket", node.socket().into()),
            ("socks5-server", format!("127.0.0.1:{}", node.record.socks).into()),
            ("outbound-http-proxy-listen", node.proxy_address().to_string().into()),
            ("port", "0".into()),
        ])
        .arg("--no-logs-no-support")
}

fn join(layout: &Layout, facts: &Facts, node: &Node) -> Result<()> {
    let key_file = layout.node(node.hostname()).join("auth-key");
    files::write_private(&key_file, auth_key(layout, node.owner())?)?;
    let result = Run::new(&layout.program("tailscale"))
        .args([format!("--socket={}", node.socket().display())])
        .args(["up", "--timeout=60s"])
        .args([format!("--login-server={}", control_url(facts))])
        // From a file: a command line can be read by everyone on the machine.
        .args([
            format!("--auth-key=file:{}", key_file.display()),
            format!("--hostname={}", node.hostname()),
        ])
        .output()?
        .success();
    files::remove(&key_file)?;
    result.map(|_| ())
}

fn state(socket: &Path) -> Result<String> {
    let status = local_api::status(socket)?;
    Ok(status["BackendState"].as_str().unwrap_or_default().to_owned())
}

/// The state it stays in unless something is done: a tailscaled that starts again joins by itself.
fn settled_state(socket: &Path) -> Result<String> {
    let look = || match state(socket) {
        Ok(state) if matches!(&*state, "Running" | "NeedsLogin" | "Stopped") => Look::Done(Ok(state)),
        Ok(state) => Look::NotYet(state),
        Err(error) => Look::Done(Err(error)),
    };
    let what = || format!("the state of tailscaled on {} to settle", socket.display());
    wait::until(LIMIT, look).map_err(|why| Error::Timeout {
        what: what(),
        limit: LIMIT,
        why,
    })?
}

fn wait_for_addresses(node: &Node) -> Result<Vec<String>> {
    let look = || match local_api::status(&node.socket) {
        Ok(status) => match addresses(&status) {
            Some(addresses) => Look::Done(addresses),
            None => Look::NotYet("it has no address yet".to_owned()),
        },
        Err(error) => Look::NotYet(error.to_string()),
    };
    wait_for(node, "be given addresses", look)
}

fn wait_for<T>(node: &Node, what: &str, look: impl FnMut() -> Look<T>) -> Result<T> {
    let what = format!("node {} to {what}", node.hostname());
    wait::until(LIMIT, look).map_err(|why| Error::Timeout {
        what,
        limit: LIMIT,
        why,
    })
}

fn addresses(status: &Value) -> Option<Vec<String>> {
    let listed = status["Self"]["TailscaleIPs"].as_array()?;
    let addresses: Vec<_> = listed
        .iter()
        .filter_map(|address| Some(address.as_str()?.to_owned()))
        .collect();
    (!addresses.is_empty()).then_some(addresses)
}

fn knows_server(socket: &Path) -> Result<bool> {
    let status = local_api::status(socket)?;
    let name = format!("{SERVER}.{DOMAIN}.");
    let mut peers = status["Peer"].as_object().into_iter().flat_map(|peers| peers.values());
    Ok(peers.any(|peer| peer["DNSName"] == name.as_str()))
}
