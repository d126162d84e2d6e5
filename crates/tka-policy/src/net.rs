//! Addresses of a tailnet, and ranges of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses from one to another, both included, of one family.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// Where the addresses of a tailnet's nodes are: <https://tailscale.com/kb/1015/100.x-addresses>, and
/// <https://tailscale.com/kb/1033/ip-and-dns-addresses> for IPv6.
const NODES: [Range; 2] = [
    Range {
        first: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)),
        last: IpAddr::V4(Ipv4Addr::new(100, 127, 255, 255)),
    },
    Range {
        first: IpAddr::V6(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0)),
        last: IpAddr::V6(Ipv6Addr::new(
            0xfd7a, 0x115c, 0xa1e0, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
        )),
    },
];

// === impl Range ===

impl Range {
    /// Reads an address, a prefix such as `10.0.0.0/8`, or two addresses with a dash between. The host bits of a prefix are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((address, bits)) = text.split_once('/') {
            return Self::prefix(address.parse().ok()?, bits);
        }
        if let Some((first, last)) = text.split_once('-') {
            let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last });
        }
        let first = text.parse().ok()?;
        Some(Self { first, last: first })
    }

    fn prefix(address: IpAddr, bits: &str) -> Option<Self> {
        // As Go has it: no sign, no leading zero.
        if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) || bits.len() > 1 && bits.starts_with('0')
        {
            return None;
        }
        let bits: u32 = bits.parse().ok()?;
        match address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
                let first = address.to_bits() & !rest;
                (bits <= 32).then(|| Self {
                    first: Ipv4Addr::from_bits(first).into(),
                    last: Ipv4Addr::from_bits(first | rest).into(),
                })
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
                let first = address.to_bits() & !rest;
                (bits <= 128).then(|| Self {
                    first: Ipv6Addr::from_bits(first).into(),
                    last: Ipv6Addr::from_bits(first | rest).into(),
                })
            }
        }
    }

    /// Its address, if it is but one.
    #[must_use]
    pub fn only(&self) -> Option<IpAddr> {
        (self.first == self.last).then_some(self.first)
    }

    /// Whether it holds that address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    /// Whether it holds all addresses of its family.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => first.to_bits() == 0 && last.to_bits() == u32::MAX,
            (IpAddr::V6(first), IpAddr::V6(last)) => first.to_bits() == 0 && last.to_bits() == u128::MAX,
            _ => false,
        }
    }

    /// Whether a node of a tailnet may have one of these addresses.
    #[must_use]
    pub fn has_nodes(&self) -> bool {
        NODES.iter().any(|nodes| self.overlaps(nodes))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4() && self.first <= other.last && other.first <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::parse(text).unwrap()
    }

    #[test]
    fn addresses_prefixes_and_ranges_are_read() {
        let holds = |text: &str, address: &str| range(text).contains(address.parse().unwrap());
        assert!(holds("100.64.0.1", "100.64.0.1") && !holds("100.64.0.1", "100.64.0.2"));
        assert!(holds("100.64.7.1/16", "100.64.255.255") && !holds("100.64.7.1/16", "100.65.0.0"));
        assert!(holds("10.0.0.1-10.0.0.3", "10.0.0.3") && !holds("10.0.0.1-10.0.0.3", "10.0.0.4"));
        assert!(holds("fd7a::/16", "fd7a:1::1") && !holds("::/0", "1.2.3.4"));
        for wrong in [
            "",
            "1.2.3",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/08",
            "::1-1.2.3.4",
            "2.0.0.0-1.0.0.0",
            "host",
        ] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nodes_have_addresses_of_two_prefixes() {
        for (text, has) in [
            ("100.100.0.0/16", true),
            ("0.0.0.0/0", true),
            ("10.0.0.0/8", false),
            ("fd7a:115c:a1e0::5", true),
            ("fd00::/16", false),
        ] {
            assert_eq!(range(text).has_nodes(), has, "{text}");
        }
        assert!(range("::/0").is_everything() && !range("0.0.0.0/1").is_everything());
    }
}
