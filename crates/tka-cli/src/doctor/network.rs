//! From this device to the server and what it says: each check needs the ones before it.

use std::time::Duration;

use jiff::SignedDuration;
use tka_api::http::{ClusterInfo, RuleList};

use super::{Check, Finding, Verdict};
use crate::app::{self, App};
use crate::client::probe::Probe;
use crate::client::{Client, ClientError, Operation, Trouble, api_server};
use crate::error::Error;
use crate::exit::Exit;
use crate::proxy;
use crate::server::Server;
use crate::tailscale::{self, Status, TailscaleError};

/// How long tailscaled and the API server may take each: both are near, or will not answer at all.
const LIMIT: Duration = Duration::from_secs(5);
/// How far two clocks may be apart. Credentials are renewed a minute before their end.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(30);

/// What the checks are names of, in their order.
const NAMES: [&str; 9] = [
    "tailscale",
    "name",
    "server",
    "version",
    "identity",
    "rule",
    "role",
    "api-server",
    "clock",
];

pub(super) fn checks(app: &App) -> Vec<Check> {
    let limit = LIMIT.min(app.config.timeout);
    let status = tailscale::status(app.config.socket.as_deref(), limit);
    let findings = match tailscale(&status) {
        finding if is_off(&status) => vec![finding],
        finding => {
            let rest = from_server(app, finding.result == Verdict::Ok, status.as_ref().ok(), limit);
            [vec![finding], rest].concat()
        }
    };
    in_order(findings)
}

/// The findings under their names. Of several that failed the first is the cause; what comes after it is not known.
fn in_order(findings: Vec<Finding>) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let mut cause = None;
    let mut findings = findings.into_iter();
    for name in NAMES {
        let finding = match (findings.next(), cause) {
            (Some(finding), None) => finding,
            (Some(finding), Some(_)) if finding.result == Verdict::Ok => finding,
            (_, Some(cause)) => Finding::skipped(format!("needs `{cause}`")),
            (None, None) => Finding::skipped("not known"),
        };
        if finding.result == Verdict::Failed {
            cause = cause.or(Some(name));
        }
        checks.push(finding.named(name));
    }
    checks
}

/// Whether tailscaled says that this device is not on the tailnet.
fn is_off(status: &Result<Status, TailscaleError>) -> bool {
    status.as_ref().is_ok_and(|status| !status.is_running())
}

fn tailscale(status: &Result<Status, TailscaleError>) -> Finding {
    let status = match status {
        Ok(status) => status,
        Err(error) => return Finding::failed(Exit::Unreachable, error.to_string(), vec![error.advice()]),
    };
    let off = |found: &str, fix: &str| Finding::failed(Exit::Unreachable, found, vec![fix.to_owned()]);
    match status.backend_state.as_str() {
        _ if status.is_running() => Finding::ok(format!("this device is {}", status.own_name())),
        "NeedsLogin" => off(
            "this device is signed out of its tailnet",
            "sign in with `tailscale up`",
        ),
        "NeedsMachineAuth" => off(
            "this device waits to be let into its tailnet",
            "ask an administrator of the tailnet to approve it",
        ),
        "Stopped" => off("tailscale is stopped", "start it with `tailscale up`"),
        "InUseOtherUser" => off(
            "tailscale is in use by another user of this machine",
            "switch to that user, or let them sign out",
        ),
        other => off(
            &format!("tailscaled is not ready: {other}"),
            "wait a moment, and look at `tailscale status`",
        ),
    }
}

/// All that needs the server, from the name on. What the server answers proves what is before it.
fn from_server(app: &App, knows_tailnet: bool, status: Option<&Status>, limit: Duration) -> Vec<Finding> {
    let client = match app.client() {
        Ok(client) => client,
        Err(error) => return vec![Finding::ok("not needed yet"), settings(&error)],
    };
    let probe = client.probe();
    let name = name(&client, &probe, status, &app.config.tag);
    let server = server(&client, &probe, status);
    if server.result == Verdict::Failed {
        // Where tailscaled cannot be asked and nothing answers, the one explains the other.
        return if knows_tailnet { vec![name, server] } else { vec![] };
    }
    let mut findings = vec![
        name,
        server,
        version(&probe),
        identity(&probe),
        rule(&probe),
        role(&probe),
    ];
    findings.push(api_server(&client, limit));
    findings.push(clock(probe.ahead));
    findings
}

fn settings(error: &Error) -> Finding {
    Finding::failed(error.exit(), error.to_string(), error.advice())
}

fn name(client: &Client, probe: &Probe, status: Option<&Status>, tag: &str) -> Finding {
    let host = client.server().host();
    let node = status.and_then(|status| status.node(host));
    let address = node.and_then(tailscale::Node::address);
    let trouble = probe.rules.as_ref().err().map(|error| &*error.trouble);
    match (trouble, address) {
        (Some(Trouble::UnknownHost), Some(address)) => Finding::failed(
            Exit::Unreachable,
            format!("{host} is {address} on the tailnet, and this machine does not resolve it"),
            vec![
                "let tailscale resolve names: `tailscale set --accept-dns`".to_owned(),
                format!("or use its address: `--server {address}`"),
            ],
        ),
        (Some(Trouble::UnknownHost | Trouble::ProxyRefused { .. }), None) => Finding::failed(
            Exit::Unreachable,
            format!("there is no {host} that you can see on the tailnet"),
            vec![
                another(status, tag),
                "or ask whoever keeps the tailnet policy to let you reach it".to_owned(),
            ],
        ),
        (_, Some(address)) => Finding::ok(format!("{host} is {address} on the tailnet")),
        (_, None) => Finding::ok(format!("{host} is known")),
    }
}

/// Which servers there are instead.
fn another(status: Option<&Status>, tag: &str) -> String {
    let peers = status.into_iter().flat_map(Status::peers);
    let names: Vec<_> = peers
        .filter(|node| node.has_tag(tag))
        .map(tailscale::Node::name)
        .collect();
    match names.as_slice() {
        [] => "name another with --server".to_owned(),
        _ => format!("name another with --server: those with {tag} are {}", names.join(", ")),
    }
}

fn server(client: &Client, probe: &Probe, status: Option<&Status>) -> Finding {
    let answers = Finding::ok(format!("{} answers", client.server()));
    let Err(error) = &probe.rules else { return answers };
    match &*error.trouble {
        Trouble::Answered { .. } => answers,
        // One of ours that answers otherwise than expected is of another version.
        Trouble::Foreign { .. } | Trouble::Unsupported if probe.version.is_some() => answers,
        _ => {
            let node = status.and_then(|status| status.node(client.server().host()));
            let found = in_words(error);
            match node.filter(|node| !node.online) {
                Some(node) => Finding::failed(
                    error.exit(),
                    format!("{found}: {} is not connected to the tailnet", node.name()),
                    vec!["ask whoever runs it to look at its tailscaled".to_owned()],
                ),
                None => Finding::failed(error.exit(), found, error.advice()),
            }
        }
    }
}

/// What happened and why, in one line.
fn in_words(error: &ClientError) -> String {
    let why = error.why();
    let words = std::iter::once(error.what()).chain(why);
    words.collect::<Vec<_>>().join(": ")
}

fn version(probe: &Probe) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let fits = match (&probe.rules, &probe.version) {
        (Err(error), _) => matches!(&*error.trouble, Trouble::Answered { .. }),
        (Ok(rules), Some(_)) => rules.is_some(),
        (Ok(_), None) => true,
    };
    match &probe.version {
        Some(version) if fits => Finding::ok(format!("the server is of version {version}, this is {own}")),
        Some(version) => Finding::failed(
            Exit::Unsupported,
            format!("the server is of version {version} and does not understand this one, {own}"),
            vec!["install the version of tka that the server has".to_owned()],
        ),
        None if matches!(probe.rules, Ok(None)) => {
            Finding::ok("the original's server: one session a person, and no choice of rules")
        }
        None => Finding::ok("the server does not say which it is, and understands this one"),
    }
}

/// What the server answered instead of rules, and whether that is about who asks.
fn answered(probe: &Probe) -> Option<(&ClientError, bool)> {
    let error = probe.rules.as_ref().err()?;
    let Trouble::Answered { status, error: body } = &*error.trouble else {
        return None;
    };
    let message = body.message.to_lowercase();
    // Not about rules, but about who asks: a tagged node, or somebody from outside of the tailnet.
    let is_about_caller = *status >= 500 || message.contains("tagged") || message.contains("funnel");
    Some((error, is_about_caller))
}

fn identity(probe: &Probe) -> Finding {
    match answered(probe) {
        Some((error, true)) => Finding::failed(error.exit(), in_words(error), error.advice()),
        _ => Finding::ok("the server knows who you are"),
    }
}

fn rule(probe: &Probe) -> Finding {
    match (&probe.rules, answered(probe)) {
        (_, Some((error, _))) | (Err(error), None) => Finding::failed(error.exit(), in_words(error), error.advice()),
        (Ok(Some(rules)), _) if rules.items.iter().any(|rule| rule.default) => Finding::ok(reach(rules)),
        (Ok(Some(rules)), _) => Finding::ok(format!(
            "{}; several share the highest priority: choose with `tka login --rule` or `--role`",
            reach(rules)
        )),
        (Ok(None), _) => Finding::ok("a rule reaches you"),
    }
}

fn reach(rules: &RuleList) -> String {
    let names: Vec<_> = rules
        .items
        .iter()
        .map(|rule| rule.name.as_ref().unwrap_or(&rule.role).as_str())
        .collect();
    match names.as_slice() {
        [name] => format!("the rule {name} reaches you"),
        _ => format!("the rules {} reach you", names.join(", ")),
    }
}

fn role(probe: &Probe) -> Finding {
    let rules = probe.rules.as_ref().ok().and_then(Option::as_ref);
    let Some(rules) = rules else {
        return Finding::skipped("this server tells it only at a sign-in");
    };
    let problems: Vec<_> = rules.items.iter().filter_map(|rule| rule.problem.as_deref()).collect();
    let Some(first) = problems.first() else {
        return Finding::ok("the cluster has what the rules give");
    };
    let fix = vec![
        "ask whoever runs the cluster to create the ClusterRole, and to list it for TKA (`roles` of its Helm chart)"
            .into(),
        "or ask whoever keeps the tailnet policy to correct the rule".into(),
    ];
    Finding::failed(Exit::Policy, *first, fix)
}

fn api_server(client: &Client, limit: Duration) -> Finding {
    let info = match client.cluster_info() {
        Ok(info) => info,
        Err(error) => return Finding::failed(error.exit(), in_words(&error), error.advice()),
    };
    match connect(&info, limit) {
        Ok(()) => Finding::ok(format!("{} answers", info.server_url)),
        Err(why) => Finding::failed(
            Exit::Unreachable,
            format!("the cluster's API server does not answer at {}: {why}", info.server_url),
            vec![
                "connect to the network that it is in (VPN, subnet router), or check the proxy that leads there".into(),
                "if the address is wrong, ask whoever runs TKA to correct its `clusterInfo`".into(),
            ],
        ),
    }
}

fn connect(info: &ClusterInfo, limit: Duration) -> Result<(), String> {
    let server = Server::new(&info.server_url, crate::server::HTTPS_PORT, None).map_err(|error| error.to_string())?;
    let proxy = proxy::for_server(&server, &app::variable).map_err(|error| error.to_string())?;
    api_server::reach(info, proxy, limit).map_err(|trouble| {
        let error = ClientError {
            server: Box::new(server),
            operation: Operation::ShowCluster,
            trouble: Box::new(trouble),
        };
        error.why().join(": ")
    })
}

fn clock(ahead: Option<SignedDuration>) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::skipped("the server does not say what time it is");
    };
    let apart = ahead.abs();
    if apart <= CLOCKS_APART {
        return Finding::ok("this machine's clock agrees with the server's");
    }
    let way = if ahead.is_positive() { "behind" } else { "ahead of" };
    Finding::failed(
        Exit::Failure,
        format!("this machine's clock is {} s {way} the server's", apart.as_secs()),
        vec!["set the clock, and let it be kept (timedatectl set-ntp true)".to_owned()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_failure_is_its_consequence() {
        let failed = Finding::failed(Exit::Unreachable, "no", vec![]);
        let checks = in_order(vec![Finding::ok("x"), failed.clone(), failed, Finding::ok("y")]);
        let results: Vec<_> = checks.iter().map(|check| check.finding.result).collect();
        let rest = [Verdict::Skipped; 5];
        assert_eq!(
            results[..4],
            [Verdict::Ok, Verdict::Failed, Verdict::Skipped, Verdict::Ok]
        );
        assert_eq!(results[4..], rest);
        assert_eq!(checks[2].finding.found, "needs `name`");
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let result = |seconds| clock(Some(SignedDuration::from_secs(seconds)));
        for seconds in [-30, 0, 30] {
            assert_eq!(result(seconds).result, Verdict::Ok);
        }
        assert!(result(31).found.contains("31 s behind"));
        assert!(result(-90).found.contains("90 s ahead of"));
        assert_eq!(clock(None).result, Verdict::Skipped);
    }

    #[test]
    fn every_state_of_tailscaled_has_its_fix() {
        for state in [
            "NeedsLogin",
            "NeedsMachineAuth",
            "Stopped",
            "InUseOtherUser",
            "Starting",
            "",
        ] {
            let status: Status = serde_json::from_value(serde_json::json!({"BackendState": state})).unwrap();
            let finding = tailscale(&Ok(status));
            assert_eq!((finding.result, finding.fix.len()), (Verdict::Failed, 1), "{state}");
        }
    }
}
