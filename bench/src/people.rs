//! Callers that are made up: which address each device has, and what a tailscaled would say of it. By value.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

/// The name that the server's node has.
pub const HOST: &str = "tka.tailnet.test";

/// How many addresses have the same second byte, and the same third.
const SECOND: u32 = 62_500;
const THIRD: u32 = 250;
/// The second byte of the first device: none has an address below, where the machine's own programs are.
const LOOPBACK: u8 = 1;
const TAILNET: u8 = 64;

/// Devices of a tailnet that is made up, each with an address on loopback that its programs call from.
#[derive(Clone, Copy, Debug)]
pub struct People {
    /// How many devices there are.
    pub devices: u32,
    /// How many of them one user has.
    pub devices_per_user: u32,
}

// === impl People ===

impl People {
    /// From where programs of a device call.
    #[must_use]
    pub fn loopback(device: u32) -> IpAddr {
        address(127, LOOPBACK, device)
    }

    /// Where it is on the tailnet.
    #[must_use]
    pub fn on_tailnet(device: u32) -> IpAddr {
        address(100, TAILNET, device)
    }

    /// The device that has an address, of either kind.
    #[must_use]
    pub fn device(&self, address: IpAddr) -> Option<u32> {
        let IpAddr::V4(address) = address else { return None };
        let [first, second, third, fourth] = address.octets();
        let base = match first {
            127 => LOOPBACK,
            100 => TAILNET,
            _ => return None,
        };
        let device = u32::from(second.checked_sub(base)?) * SECOND
            + u32::from(third) * THIRD
            + u32::from(fourth.checked_sub(1)?);
        (device < self.devices).then_some(device)
    }

    /// What WhoIs answers of a device that has `rules` through `capability` (`apitype.WhoIsResponse`, without what TKA does not read).
    #[must_use]
    pub fn whois(&self, device: u32, capability: &str, rules: &[Value]) -> Value {
        let user = device / self.devices_per_user.max(1);
        json!({
            "Node": {
                "ID": 1000 + u64::from(device),
                "StableID": stable_id(device),
                "Name": format!("laptop-{device}.tailnet.test."),
                "User": 1 + u64::from(user),
                "Key": format!("nodekey:{device:064x}"),
                "KeyExpiry": "0001-01-01T00:00:00Z",
                "Addresses": [format!("{}/32", Self::on_tailnet(device))],
                "AllowedIPs": [format!("{}/32", Self::on_tailnet(device))],
                "Hostinfo": { "OS": "linux", "Hostname": format!("laptop-{device}") },
                "Created": "2026-01-01T00:00:00Z",
                "MachineAuthorized": true,
                "ComputedName": format!("laptop-{device}"),
            },
            "UserProfile": {
                "ID": 1 + u64::from(user),
                "LoginName": format!("user-{user}@example.com"),
                "DisplayName": format!("User {user}"),
            },
            "CapMap": { capability: rules },
        })
    }

    /// What the status holds of a device (`ipnstate.PeerStatus`). It has the size of a real one.
    #[must_use]
    pub fn peer(&self, device: u32) -> Value {
        let user = device / self.devices_per_user.max(1);
        let address = Self::on_tailnet(device);
        json!({
            "ID": stable_id(device),
            "PublicKey": format!("nodekey:{device:064x}"),
            "HostName": format!("laptop-{device}"),
            "DNSName": format!("laptop-{device}.tailnet.test."),
            "OS": "linux",
            "UserID": 1 + u64::from(user),
            "TailscaleIPs": [address],
            "AllowedIPs": [format!("{address}/32")],
            "Addrs": ["192.0.2.10:41641", "198.51.100.20:41641"],
            "CurAddr": "192.0.2.10:41641",
            "Relay": "testbed",
            "RxBytes": 123_456,
            "TxBytes": 654_321,
            "Created": "2026-01-01T00:00:00Z",
            "LastWrite": "2026-01-01T00:00:00Z",
            "LastSeen": "2026-01-01T00:00:00Z",
            "LastHandshake": "2026-01-01T00:00:00Z",
            "Online": true,
            "ExitNode": false,
            "ExitNodeOption": false,
            "Active": true,
            "PeerAPIURL": [format!("http://{address}:41641")],
            "InNetworkMap": true,
            "InMagicSock": true,
            "InEngine": true,
        })
    }

    /// What tailscaled says of the server's node, with its peers where they are asked for (`ipnstate.Status`).
    #[must_use]
    pub fn status(&self, with_peers: bool) -> Value {
        let peers = (0..self.devices).filter(|_| with_peers);
        let peers: serde_json::Map<String, Value> = peers
            .map(|device| (format!("nodekey:{device:064x}"), self.peer(device)))
            .collect();
        json!({
            "Version": "1.102.0",
            "TUN": false,
            "BackendState": "Running",
            "TailscaleIPs": ["100.127.0.1"],
            "Self": {
                "ID": "nserver", "HostName": "tka", "DNSName": format!("{HOST}."), "TailscaleIPs": ["100.127.0.1"],
                "Tags": ["tag:tka"], "Online": true,
            },
            "CurrentTailnet": { "Name": "tailnet.test", "MagicDNSSuffix": "tailnet.test", "MagicDNSEnabled": true },
            "CertDomains": null,
            "Health": null,
            "Peer": peers,
        })
    }
}

fn stable_id(device: u32) -> String {
    format!("nlaptop{device}")
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each is below 256 for as many devices as a machine can call from"
)]
fn address(first: u8, base: u8, device: u32) -> IpAddr {
    let second = base.saturating_add((device / SECOND) as u8);
    let (third, fourth) = (device % SECOND / THIRD, device % THIRD + 1);
    Ipv4Addr::new(first, second, third as u8, fourth as u8).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_addresses_of_its_own() {
        let people = People {
            devices: 200_000,
            devices_per_user: 5,
        };
        for device in [0, 1, 249, 250, 62_499, 62_500, 199_999] {
            for address in [People::loopback(device), People::on_tailnet(device)] {
                assert_eq!(people.device(address), Some(device), "{address}");
            }
        }
        for stranger in ["127.0.0.1", "192.0.2.1", "::1", "127.1.0.0", "127.9.0.1"] {
            assert_eq!(people.device(stranger.parse().unwrap()), None, "{stranger}");
        }
    }

    #[test]
    fn devices_of_one_user_have_the_same_user() {
        let people = People {
            devices: 10,
            devices_per_user: 5,
        };
        let user = |device| people.whois(device, "example.com/cap/tka", &[])["UserProfile"]["LoginName"].clone();
        assert_eq!(user(0), user(4));
        assert_ne!(user(4), user(5));
    }

    #[test]
    fn peers_are_told_when_they_are_asked_for() {
        let people = People {
            devices: 3,
            devices_per_user: 1,
        };
        assert_eq!(people.status(true)["Peer"].as_object().unwrap().len(), 3);
        assert!(people.status(false)["Peer"].as_object().unwrap().is_empty());
    }
}
