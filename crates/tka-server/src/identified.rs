//! Who is calling, as tailscaled knows them.

use std::net::IpAddr;

use axum::http::StatusCode;
use jiff::Timestamp;
use tka_core::{Caller, Device, Identity, Refusal};
use tka_tailnet::WhoIs;
use tokio::time::Instant;

use crate::answer::Failure;

/// Who is calling, and what the tailnet policy says of them, unread.
#[derive(Clone, Debug)]
pub struct Identified {
    /// Who.
    pub caller: Caller,
    /// The values of the capability, as JSON.
    pub values: Vec<String>,
    /// The values of the capability that gives oversight, as JSON.
    pub oversight: Vec<String>,
    /// The addresses of their device on the tailnet.
    pub addresses: Vec<IpAddr>,
    /// Whether the key of their device has expired. Such a caller gets no further.
    pub expired: bool,
    /// When tailscaled was asked.
    pub asked_at: Instant,
}

// === impl Identified ===

impl Identified {
    /// Who `whois`, which was asked for at `asked_at`, is about at `now`, and the values that the capability `cap_name` has for them.
    pub(crate) fn new(whois: WhoIs, cap_name: &str, now: Timestamp, asked_at: Instant) -> Result<Self, Failure> {
        let values_of = |cap_name: &str| {
            let values = whois.capability(cap_name).iter();
            values.map(|value| value.get().to_owned()).collect()
        };
        let (values, oversight) = (
            values_of(cap_name),
            values_of(&tka_core::oversight::capability(cap_name)),
        );
        let addresses = whois.node.addresses.clone();
        let expired = whois.node.is_expired(now);
        Ok(Self {
            caller: caller(whois)?,
            values,
            oversight,
            addresses,
            expired,
            asked_at,
        })
    }

    /// tailscaled answers also for a device whose key has ended: that is not identified any more.
    pub(crate) fn unless_expired(self) -> Result<Self, Refusal> {
        if self.expired {
            let device = self.caller.device.name;
            return Err(Refusal::DeviceExpired { device });
        }
        Ok(self)
    }
}

fn caller(whois: WhoIs) -> Result<Caller, Failure> {
    let tagged = whois.node.is_tagged();
    let (node, user) = (whois.node, whois.user_profile);
    if !tagged && user.login_name.is_empty() {
        let advice = &["ask an administrator to look at the tailscaled beside the server"];
        return Err(Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "tailscaled knows the connection and not whose it is",
            advice,
        ));
    }
    let identity = if tagged {
        Identity::machine(node.tags)
    } else {
        Identity::user(user.id.0, user.login_name)
    };
    let device = Device::new(node.stable_id.as_str(), node.name.trim_end_matches('.'));
    Ok(Caller { identity, device })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn whois(stable_id: &str, login_name: &str, tags: &[&str]) -> WhoIs {
        serde_json::from_value(json!({
            "Node": {"ID": 1, "StableID": stable_id, "Name": "laptop.tailnet.test.", "Addresses": ["100.64.0.1/32"],
                     "Key": "nodekey:1", "Tags": tags, "User": 7},
            "UserProfile": {"ID": 7, "LoginName": login_name, "DisplayName": ""},
            "CapMap": {}
        }))
        .unwrap()
    }

    #[test]
    fn user_is_known_by_id_login_name_and_device() {
        let caller = caller(whois("n1", "alice@example.com", &[])).unwrap();
        assert_eq!(caller.identity, Identity::user(7, "alice@example.com"));
        assert_eq!(caller.device, Device::new("n1", "laptop.tailnet.test"));
    }

    #[test]
    fn tagged_node_has_no_user() {
        let caller = caller(whois("n1", "tagged-devices", &["tag:ci"])).unwrap();
        assert_eq!(caller.identity, Identity::machine(["tag:ci"]));
    }

    #[test]
    fn device_whose_key_has_ended_is_refused() {
        let at = |now: &str| {
            let mut whois = whois("n1", "alice@example.com", &[]);
            whois.node.key_expiry = Some("2026-01-01T00:00:00Z".parse().unwrap());
            let identified = Identified::new(whois, "cap", now.parse().unwrap(), Instant::now()).unwrap();
            identified.unless_expired().map(drop)
        };
        assert_eq!(at("2025-12-31T23:59:59Z"), Ok(()));
        let device = "laptop.tailnet.test".into();
        assert_eq!(at("2026-01-01T00:00:00Z"), Err(Refusal::DeviceExpired { device }));
    }

    #[test]
    fn connection_without_a_login_name_is_refused() {
        assert_eq!(caller(whois("n1", "", &[])).unwrap_err().status, 500);
    }
}
