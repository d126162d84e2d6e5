//! Who may approve a sign-in, so that its caller knows whom to ask. It is a courtesy: who decides is checked by the decision itself.
//!
//! Only WhoIs says what the policy gives a device. So the server asks about the devices of the tailnet, and remembers for a minute who has oversight.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tka_core::{Caller, Oversight, RuleKey, may_decide};
use tka_operator::{ApprovalRequest, WaitingSignIn};
use tka_tailnet::{Peer, Status};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::verify::ANY_PORT;
use crate::App;
use crate::identify;
use crate::overseer::oversight;

/// For how long it is remembered who has oversight.
const REMEMBERED: Duration = Duration::from_mins(1);
/// How long finding out may keep an answer waiting. What takes longer is left out of it.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// How many devices are asked about, those that are online first.
const MOST_DEVICES: usize = 512;
/// How many of them at a time: tailscaled has others to answer.
const AT_ONCE: usize = 8;
/// How many names an answer has.
const MOST_NAMES: usize = 10;

/// Those with oversight of approvals, as the tailnet had them a moment ago.
#[derive(Debug, Default)]
pub struct ApproverDirectory(Mutex<Option<Snapshot>>);

#[derive(Clone, Debug)]
struct Snapshot {
    taken: Instant,
    approvers: Arc<[(Caller, Oversight)]>,
}

// === impl ApproverDirectory ===

impl ApproverDirectory {
    /// The names of those who may approve `waiting`, in their order, ten at the most. None where that cannot be told just now.
    pub async fn names(&self, app: &App, waiting: &WaitingSignIn) -> Option<Vec<String>> {
        let approvers = timeout(TIME_LIMIT, self.approvers(app)).await.ok()??;
        Some(names(&approvers, &waiting.caller, &waiting.rule, &waiting.request))
    }

    /// Where many ask at once, one finds out for all.
    async fn approvers(&self, app: &App) -> Option<Arc<[(Caller, Oversight)]>> {
        let mut kept = self.0.lock().await;
        if let Some(snapshot) = kept.as_ref().filter(|kept| kept.taken.elapsed() < REMEMBERED) {
            return Some(Arc::clone(&snapshot.approvers));
        }
        let taken = Instant::now();
        let status = app.tailnet.status_with_peers().await;
        let status = status
            .inspect_err(|error| tracing::debug!(%error, "approvers not listed"))
            .ok()?;
        let devices = devices(&status);
        let asked = stream::iter(devices).map(|address| approver(app, address));
        let found: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        let approvers: Arc<[_]> = found.into_iter().flatten().collect();
        *kept = Some(Snapshot {
            taken,
            approvers: Arc::clone(&approvers),
        });
        Some(approvers)
    }
}

/// Whose the device is that has `address`, where they may approve anything.
async fn approver(app: &App, address: SocketAddr) -> Option<(Caller, Oversight)> {
    let whois = app.tailnet.whois(address).await.ok()?;
    let identified = identify::identified(app, whois).ok()?;
    let oversight = oversight(&identified);
    let may_approve = !identified.expired && !oversight.approve.is_empty();
    may_approve.then_some((identified.caller, oversight))
}

/// By value: where WhoIs finds the devices of the tailnet, those that are online first.
fn devices(status: &Status) -> Vec<SocketAddr> {
    let mut peers: Vec<&Peer> = status.peers.iter().filter(|peer| !peer.expired).collect();
    peers.sort_by_key(|peer| !peer.online);
    let addresses = peers.into_iter().filter_map(|peer| peer.tailscale_ips.first());
    addresses
        .map(|address| SocketAddr::new(*address, ANY_PORT))
        .take(MOST_DEVICES)
        .collect()
}

/// By value: who of `approvers` may still decide about the `request` of `caller` for the rule of that `key`.
fn names(approvers: &[(Caller, Oversight)], caller: &Caller, key: &RuleKey, request: &ApprovalRequest) -> Vec<String> {
    let may = |(approver, oversight): &&(Caller, Oversight)| {
        may_decide(approver, oversight, caller, key, request.machines).is_ok()
    };
    let voted: BTreeSet<_> = request.approvals.iter().map(|vote| vote.key.as_str()).collect();
    // A person with two devices is one.
    let people: BTreeMap<_, _> = approvers
        .iter()
        .filter(may)
        .map(|(caller, _)| (caller.user_key().as_str().to_owned(), caller.username().to_owned()))
        .filter(|(key, _)| !voted.contains(key.as_str()))
        .collect();
    let names: BTreeSet<_> = people.into_values().collect();
    names.into_iter().take(MOST_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;
    use tka_core::{Device, Identity, Rule};
    use tka_operator::{ApprovalDecision, Vote};

    fn person(id: i64, name: &str, device: &str) -> Caller {
        Caller {
            identity: Identity::user(id, format!("{name}@example.com")),
            device: Device::new(device, device),
        }
    }

    fn machine(device: &str) -> Caller {
        Caller {
            identity: Identity::machine(["tag:bot"]),
            device: Device::new(device, device),
        }
    }

    fn approves(caller: &Caller, what: &str) -> (Caller, Oversight) {
        let value = json!({"approve": [what]}).to_string();
        (caller.clone(), Oversight::parse(&caller.identity, [value.as_str()]).0)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A rule of the name `oncall`, and a request for it.
    fn asked(approval: &str) -> (RuleKey, ApprovalRequest) {
        let rule = format!(r#"{{"role": "edit", "period": "1h", "name": "oncall", "approval": {approval}}}"#);
        let rule = Rule::parse(&rule).unwrap();
        let approval = rule.approval.clone().unwrap();
        let request = ApprovalRequest::new("r".into(), "d".into(), &approval, rule.period, None, at(100));
        (rule.key(), request)
    }

    #[test]
    fn those_are_named_who_may_still_decide() {
        let (alice, bob, carol) = (person(1, "alice", "a"), person(2, "bob", "b"), person(3, "carol", "c"));
        let all = [
            approves(&carol, "oncall"),
            approves(&alice, "oncall"),
            approves(&person(1, "alice", "a2"), "oncall"),
            approves(&bob, "oncall"),
            approves(&person(4, "dora", "d"), "deploy"),
            approves(&machine("bot"), "oncall"),
        ];
        let (key, request) = asked(r#"{"count": 2}"#);
        assert_eq!(
            names(&all, &bob, &key, &request),
            ["alice@example.com", "carol@example.com"]
        );
        let vote = Vote::new(&alice, None, at(110));
        let voted = request.decided(ApprovalDecision::Approve, vote, at(110)).unwrap();
        assert_eq!(names(&all, &bob, &key, &voted), ["carol@example.com"]);
        let (key, counts_machines) = asked(r#"{"machines": true}"#);
        assert_eq!(names(&all, &bob, &key, &counts_machines).len(), 3);
        assert_eq!(names(&[], &bob, &key, &request), [""; 0]);
    }

    #[test]
    fn few_are_named_of_many() {
        let all: Vec<_> = (0..99)
            .map(|id| approves(&person(id, &format!("u{id:02}"), &format!("d{id}")), "oncall"))
            .collect();
        let (key, request) = asked(r#"{"count": 1}"#);
        let named = names(&all, &person(500, "bob", "b"), &key, &request);
        assert_eq!((named.len(), named[9].as_str()), (MOST_NAMES, "u09@example.com"));
    }

    #[test]
    fn devices_that_are_online_are_asked_about_first() {
        let peer = |id: usize, online: bool, expired: bool| {
            let (name, address) = (format!("n{id}"), format!("100.64.{}.{}", id / 250, id % 250));
            json!({"ID": name, "DNSName": "", "TailscaleIPs": [address], "UserID": 7, "Online": online, "Expired": expired})
        };
        let mut peers: serde_json::Map<_, _> = (0..600).map(|id| (format!("k{id}"), peer(id, false, false))).collect();
        peers.insert("on".into(), peer(900, true, false));
        peers.insert("gone".into(), peer(901, true, true));
        let status = json!({"Version": "1", "TUN": false, "BackendState": "Running", "Peer": peers});
        let found = devices(&serde_json::from_value(status).unwrap());
        assert_eq!(
            (found.len(), found[0].to_string()),
            (MOST_DEVICES, "100.64.3.150:1".to_owned())
        );
    }
}
