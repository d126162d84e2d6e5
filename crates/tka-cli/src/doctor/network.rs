//! Checks between this device and the server.

use std::time::Duration;

use jiff::SignedDuration;
use tka_api::http::{ClusterInfo, ErrorResponse, RuleList};

use super::check::{Check, Finding, LIMIT};
use super::dependencies::{Findings, resolve};
use super::gateway;
use crate::api::client::probe::Probe;
use crate::api::client::{Client, ClientError, ClientErrorKind, Operation, api_server};
use crate::api::clock::Skew;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::net::proxy;
use crate::net::server::Server;
use crate::net::tailscale::{self, Status, TailscaleError};
use crate::sys::environment;

pub(super) fn checks(ctx: &CommandContext) -> Vec<Check> {
    let limit = LIMIT.min(ctx.config.timeout);
    let status = tailscale::status(ctx.config.socket.as_deref(), limit);
    let mut found = vec![("tailscale", tailscale(&status))];
    if !is_off(&status) {
        found.extend(server_checks(ctx, status.as_ref().ok(), limit));
    }
    resolve(found)
}

/// Whether tailscaled reports that this device is not on the tailnet.
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
            "this device waits for approval to join its tailnet",
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

/// The checks that need the server. A response proves all checks before it.
fn server_checks(ctx: &CommandContext, status: Option<&Status>, limit: Duration) -> Findings {
    // The check is of this server, not of another replica.
    let client = match ctx.client_without_replicas() {
        Ok(client) => client,
        Err(error) => {
            return vec![
                ("name", Finding::ok("not checked: the settings are wrong")),
                ("server", settings_failure(&error)),
            ];
        }
    };
    let probe = client.probe();
    // A missing tailscaled explains a missing response.
    if status.is_none() && probe.rules.as_ref().is_err_and(ClientError::has_no_response) {
        return vec![];
    }
    let mut found = vec![
        ("name", name(&client, &probe, status, &ctx.config.tag)),
        ("server", server(&client, &probe, status)),
    ];
    if probe.is_tka_server() {
        found.extend([("version", version(&probe)), ("clock", clock(probe.clock_ahead))]);
    }
    if probe.is_compatible() {
        found.extend([
            ("identity", identity(&probe, status)),
            ("rule", rule(&probe)),
            ("role", role(&probe)),
        ]);
        let info = client.cluster_info();
        let gateway = gateway::gateway(ctx, &client, &info);
        let api_server = gateway::explained(api_server(&info, limit), &gateway, &info);
        found.extend([("api-server", api_server), ("gateway", gateway)]);
    }
    found
}

fn settings_failure(error: &Error) -> Finding {
    Finding::failed(error.exit(), error.to_string(), error.advice())
}

fn name(client: &Client, probe: &Probe, status: Option<&Status>, tag: &str) -> Finding {
    let host = client.server().host();
    let node = status.and_then(|status| status.node(host));
    let address = node.and_then(tailscale::Node::address);
    let kind = probe.rules.as_ref().err().map(|error| &*error.kind);
    match (kind, address) {
        (Some(ClientErrorKind::UnknownHost), Some(address)) => Finding::failed(
            Exit::Unreachable,
            format!("{host} is {address} on the tailnet, but this machine does not resolve the name"),
            vec![
                "turn on MagicDNS on this device: `tailscale set --accept-dns`".to_owned(),
                format!("or use its address: `--server {address}`"),
            ],
        ),
        (Some(ClientErrorKind::UnknownHost | ClientErrorKind::ProxyRefused { .. }), None) => Finding::failed(
            Exit::Unreachable,
            format!("this device sees no node named {host} on the tailnet"),
            vec![
                suggest_server(status, tag),
                "or ask an administrator of the tailnet to let you reach it".to_owned(),
            ],
        ),
        (_, Some(address)) => Finding::ok(format!("{host} is {address} on the tailnet")),
        (_, None) => Finding::ok(format!("{host} resolves")),
    }
}

/// Suggests other servers.
fn suggest_server(status: Option<&Status>, tag: &str) -> String {
    let peers = status.into_iter().flat_map(Status::peers);
    let tagged = peers.filter(|node| node.has_tag(tag));
    let names: Vec<_> = tagged.map(tailscale::Node::name).collect();
    match names.as_slice() {
        [] => "choose another with --server; `tka clusters` shows those that this device finds".to_owned(),
        _ => format!(
            "choose another with --server: nodes with {tag} are {}",
            names.join(", ")
        ),
    }
}

fn server(client: &Client, probe: &Probe, status: Option<&Status>) -> Finding {
    let answers = Finding::ok(format!("{} answers", client.server()));
    let Err(error) = &probe.rules else { return answers };
    match &*error.kind {
        ClientErrorKind::Rejected { status, .. } if !is_busy(*status) => answers,
        // A server of this project with an unexpected response has another version.
        ClientErrorKind::NotTka { .. } | ClientErrorKind::Unsupported if probe.version.is_some() => answers,
        _ => {
            let node = status.and_then(|status| status.node(client.server().host()));
            let found = summary(error);
            match node.filter(|node| !node.online) {
                Some(node) => Finding::failed(
                    error.exit(),
                    format!("{found}: {} is not connected to the tailnet", node.name()),
                    vec!["ask its administrator to look at its tailscaled".to_owned()],
                ),
                None => Finding::failed(error.exit(), found, error.advice()),
            }
        }
    }
}

/// The error and its causes on one line.
pub(super) fn summary(error: &ClientError) -> String {
    let why = error.why();
    let words = std::iter::once(error.what()).chain(why);
    words.collect::<Vec<_>>().join(": ")
}

fn version(probe: &Probe) -> Finding {
    let this_version = env!("CARGO_PKG_VERSION");
    let fits = match (&probe.rules, &probe.version) {
        (Err(error), _) => matches!(&*error.kind, ClientErrorKind::Rejected { .. }),
        (Ok(rules), Some(_)) => rules.is_some(),
        (Ok(_), None) => true,
    };
    match &probe.version {
        Some(version) if fits => Finding::ok(format!("the server has version {version}, and tka has {this_version}")),
        Some(version) => Finding::failed(
            Exit::Unsupported,
            format!("the server has version {version} and does not support tka {this_version}"),
            vec![format!("install tka {version}")],
        ),
        None if matches!(probe.rules, Ok(None)) => {
            Finding::ok("this is the original TKA server: it has one session per user, and no choice of rules")
        }
        None => Finding::ok("the server reports no version, but supports this version of tka"),
    }
}

/// Whether the server responds without doing its work (RFC 6585, 4; RFC 9110, 15.6).
fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 502..=504)
}

/// The server's rejection, if there is one.
fn rejection(probe: &Probe) -> Option<(u16, &ClientError, &ErrorResponse)> {
    let error = probe.rules.as_ref().err()?;
    match &*error.kind {
        ClientErrorKind::Rejected { status, error: body } => Some((*status, error, body)),
        _ => None,
    }
}

fn identity(probe: &Probe, status: Option<&Status>) -> Finding {
    let Some((code, error, body)) = rejection(probe) else {
        return Finding::ok("the server identified you");
    };
    // These rejections concern the caller: unknown, a tagged node, or from outside of the tailnet. Only the message distinguishes them from
    // rejections by rules.
    let says = |word: &str| body.message.to_lowercase().contains(word);
    let is_tagged = says("tagged") || status.is_some_and(Status::is_tagged);
    if code >= 500 || code == 400 && is_tagged || code == 403 && says("funnel") {
        return Finding::failed(error.exit(), summary(error), error.advice());
    }
    Finding::ok("the server identified you")
}

fn rule(probe: &Probe) -> Finding {
    match (&probe.rules, rejection(probe)) {
        (_, Some((_, error, _))) | (Err(error), None) => Finding::failed(error.exit(), summary(error), error.advice()),
        (Ok(Some(rules)), _) if rules.items.iter().any(|rule| rule.default) => Finding::ok(list_rules(rules)),
        (Ok(Some(rules)), _) => Finding::ok(format!(
            "{}; several share the highest priority: choose with `tka login --rule` or `--role`",
            list_rules(rules)
        )),
        (Ok(None), _) => Finding::ok("a rule reaches you"),
    }
}

fn list_rules(rules: &RuleList) -> String {
    let names: Vec<_> = rules
        .items
        .iter()
        .map(|rule| rule.name.as_ref().unwrap_or(&rule.role).as_str())
        .collect();
    let reach = match names.as_slice() {
        [name] => format!("the rule {name} reaches you"),
        _ => format!("the rules {} reach you", names.join(", ")),
    };
    let unrecorded = rules.items.iter().find(|rule| rule.unrecorded);
    match unrecorded.map(|rule| rule.name.as_ref().unwrap_or(&rule.role)) {
        Some(name) => format!(
            "{reach}; {name} has `recording`, and this server keeps no recordings: its administrator sets gateway.recording.folder or gateway.recording.s3.bucket"
        ),
        None => reach,
    }
}

fn role(probe: &Probe) -> Finding {
    let rules = probe.rules.as_ref().ok().and_then(Option::as_ref);
    let Some(rules) = rules else {
        return Finding::skipped("this server checks roles only at sign-in");
    };
    let problems: Vec<_> = rules.items.iter().filter_map(|rule| rule.problem.as_deref()).collect();
    let Some(first) = problems.first() else {
        if rules.items.iter().any(|rule| rule.unchecked) {
            return Finding::skipped("the server could not check the roles in the cluster just now");
        }
        return Finding::ok("the cluster has the roles that the rules give");
    };
    let fix = vec![
        "ask an administrator of the cluster to create the ClusterRole, and to list it for TKA (`roles` or `namespacedRoles` of its Helm chart)"
            .into(),
        "or ask an administrator of the tailnet to correct the rule: a role of `namespacedRoles` needs `namespaces` in it".into(),
    ];
    Finding::failed(Exit::Policy, *first, fix)
}

fn api_server(info: &Result<ClusterInfo, ClientError>, limit: Duration) -> Finding {
    let info = match info {
        Ok(info) => info,
        // Several rules share the highest priority. The check of rules reports that.
        Err(error) if error.exit() == Exit::Policy => {
            return Finding::skipped(
                "the server gives the address only to callers with one rule of the highest priority",
            );
        }
        Err(error) => return Finding::failed(error.exit(), summary(error), error.advice()),
    };
    match connect(info, limit) {
        Ok(()) => Finding::ok(format!("{} answers", info.server_url)),
        Err(why) => Finding::failed(
            Exit::Unreachable,
            format!("the cluster's API server does not answer at {}: {why}", info.server_url),
            vec![
                "connect to its network (VPN, subnet router), or check the proxy that leads there".into(),
                "if the address is wrong, ask the server's administrator to correct its `clusterInfo`".into(),
            ],
        ),
    }
}

fn connect(info: &ClusterInfo, limit: Duration) -> Result<(), String> {
    let server =
        Server::new(&info.server_url, crate::net::server::HTTPS_PORT, None).map_err(|error| error.to_string())?;
    let proxy = proxy::for_server(&server, None, &environment::variable).map_err(|error| error.to_string())?;
    api_server::check_reachable(info, &server, proxy.as_ref(), limit).map_err(|kind| {
        let error = ClientError {
            server: Box::new(server),
            operation: Operation::ShowCluster,
            kind: Box::new(kind),
        };
        error.why().join(": ")
    })
}

fn clock(clock_ahead: Option<SignedDuration>) -> Finding {
    let Some(clock_ahead) = clock_ahead else {
        return Finding::skipped("the server reports no time");
    };
    let Some(found) = Skew::new(Some(clock_ahead)).describe() else {
        return Finding::ok("this machine's clock agrees with the server's");
    };
    let fix = "set the clock, and turn on time synchronisation (timedatectl set-ntp true)".to_owned();
    Finding::failed(Exit::Failure, found, vec![fix])
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

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
    fn rule_that_records_nothing_is_told() {
        let rule = |unrecorded: bool| {
            serde_json::json!({"role": "edit", "name": "oncall", "namespaces": [], "period": "1h0m0s", "priority": 1,
                "require_reason": false, "default": true, "recording": "best_effort", "unrecorded": unrecorded})
        };
        let rules = |unrecorded| serde_json::from_value(serde_json::json!({"items": [rule(unrecorded)]})).unwrap();
        assert_eq!(list_rules(&rules(false)), "the rule oncall reaches you");
        assert!(list_rules(&rules(true)).contains("oncall has `recording`, and this server keeps no recordings"));
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
