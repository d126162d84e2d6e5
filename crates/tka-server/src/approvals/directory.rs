//! Who may approve a sign-in, so that its caller can ask them. It is a courtesy: who decides is checked by the decision itself.
//!
//! Only WhoIs says what the policy gives a device. So the server asks about the devices of the tailnet, and remembers for a minute who has oversight.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tka_core::{Caller, Identity, Oversight, RuleKey, may_decide};
use tka_operator::{ApprovalRequest, WaitingSignIn};
use tka_tailnet::{LocalApi, Peer, Status};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::verify::ANY_PORT;
use crate::App;
use crate::identified::Identified;

/// For how long it is remembered who has oversight, and that it could not be found out.
const REMEMBERED: Duration = Duration::from_mins(1);
/// How long an answer waits for what is being found out. Without it the answer has what was found before, or no names.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many devices are asked about, those that are online first.
const MOST_DEVICES: usize = 512;
/// How many of them at a time: tailscaled has others to answer.
const AT_ONCE: usize = 8;
/// How many names an answer has.
const MOST_NAMES: usize = 10;

/// Those with oversight of approvals, as the tailnet had them a moment ago. One task at a time finds out for all who ask.
#[derive(Debug, Default)]
pub struct ApproverDirectory(Mutex<Option<Round>>);

/// What is found out, and when that began.
#[derive(Debug)]
struct Round {
    begun: Instant,
    found: watch::Receiver<Option<Arc<Approvers>>>,
}

/// Those with oversight of approvals.
#[derive(Debug, Default)]
pub struct Approvers {
    people: Vec<(Caller, Oversight)>,
    /// Whether all devices of people were asked about, and each answered.
    is_complete: bool,
}

// === impl ApproverDirectory ===

impl ApproverDirectory {
    /// Those who may approve sign-ins, as they were a moment ago. None where that is not known just now.
    pub async fn known(&self, app: &App) -> Option<Arc<Approvers>> {
        let mut found = self.round(app);
        let known = timeout(PATIENCE, found.wait_for(Option::is_some)).await;
        known.ok()?.ok()?.clone()
    }

    /// What is found out already, or from now on. What was found before counts until there is more.
    fn round(&self, app: &App) -> watch::Receiver<Option<Arc<Approvers>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(round) = kept.as_ref().filter(|round| round.begun.elapsed() < REMEMBERED) {
            return round.found.clone();
        }
        let before = kept.as_ref().and_then(|round| round.found.borrow().clone());
        let (tell, found) = watch::channel(before);
        let (tailnet, rules, now) = (app.tailnet.clone(), app.cap_name.clone(), (app.clock)());
        tokio::spawn(async move {
            let approvers = Approvers::find(&tailnet, &rules, now).await;
            tell.send_replace(Some(Arc::new(approvers)));
        });
        *kept = Some(Round {
            begun: Instant::now(),
            found: found.clone(),
        });
        found
    }
}

// === impl Approvers ===

impl Approvers {
    /// Asks tailscaled about the devices of people. Where it does not say which there are, none are known.
    async fn find(tailnet: &LocalApi, rules: &str, now: Timestamp) -> Self {
        let status = match tailnet.status_with_peers().await {
            Ok(status) => status,
            Err(error) => {
                tracing::debug!(%error, "approvers not listed");
                return Self::default();
            }
        };
        let (devices, is_cut) = devices(&status);
        let asked = stream::iter(devices).map(|address| approver(tailnet, rules, now, address));
        let found: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        Self {
            is_complete: !is_cut && found.iter().all(Result::is_ok),
            people: found.into_iter().filter_map(|found| found.ok().flatten()).collect(),
        }
    }

    /// The names of those who may still approve `waiting`, in their order, ten at the most. None where it is not known that there are none, and where a
    /// machine asks: what it is told is in some log.
    #[must_use]
    pub fn names(&self, waiting: &WaitingSignIn) -> Option<Vec<String>> {
        if matches!(waiting.caller.identity, Identity::Machine { .. }) {
            return None;
        }
        let names = names(&self.people, &waiting.caller, &waiting.rule, &waiting.request);
        (self.is_complete || !names.is_empty()).then_some(names)
    }
}

/// Whose the device is that has `address`, where they may approve anything.
async fn approver(
    tailnet: &LocalApi,
    rules: &str,
    now: Timestamp,
    address: SocketAddr,
) -> Result<Option<(Caller, Oversight)>, ()> {
    let whois = match tailnet.whois(address).await {
        Ok(whois) => whois,
        // It has left since.
        Err(tka_tailnet::Error::NotFound { .. }) => return Ok(None),
        Err(_) => return Err(()),
    };
    let identified = Identified::new(whois, rules, now, Instant::now()).map_err(drop)?;
    let values = identified.oversight.iter().map(String::as_str);
    // A value that cannot be read is told where its holder makes use of it.
    let (oversight, _) = Oversight::parse(&identified.caller.identity, values);
    let may_approve = !identified.expired && !oversight.approve.is_empty();
    Ok(may_approve.then_some((identified.caller, oversight)))
}

/// By value: where WhoIs finds the devices of people, those that are online first, and whether there are more.
fn devices(status: &Status) -> (Vec<SocketAddr>, bool) {
    let is_persons = |peer: &&Peer| !peer.expired && peer.tags.is_empty();
    let mut peers: Vec<&Peer> = status.peers.iter().filter(is_persons).collect();
    peers.sort_by_key(|peer| !peer.online);
    let addresses = peers.iter().filter_map(|peer| peer.tailscale_ips.first());
    let devices = addresses.map(|address| SocketAddr::new(*address, ANY_PORT));
    (devices.take(MOST_DEVICES).collect(), peers.len() > MOST_DEVICES)
}

/// By value: who of `approvers` may still decide about the `request` of `caller` for the rule of that `key`.
fn names(approvers: &[(Caller, Oversight)], caller: &Caller, key: &RuleKey, request: &ApprovalRequest) -> Vec<String> {
    let may =
        |(approver, oversight): &&(Caller, Oversight)| may_decide(approver, oversight, caller, key, false).is_ok();
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
        // No person can ask a machine.
        let (key, counts_machines) = asked(r#"{"machines": true}"#);
        assert_eq!(names(&all, &bob, &key, &counts_machines).len(), 2);
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
        let mut server = peer(902, true, false);
        server["Tags"] = json!(["tag:server"]);
        peers.insert("server".into(), server);
        let status = json!({"Version": "1", "TUN": false, "BackendState": "Running", "Peer": peers});
        let (found, is_cut) = devices(&serde_json::from_value(status).unwrap());
        assert_eq!((found.len(), is_cut), (MOST_DEVICES, true));
        assert_eq!(found[0].to_string(), "100.64.3.150:1");
    }
}
