//! [`Network`]: addresses that begin alike.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, ours_bits) = bits(self.first);
        let (theirs, theirs_bits) = bits(address);
        let differing = u32::min(ours_bits, 128) - self.prefix_bits;
        // All 128 bits cannot be shifted away.
        let same = |a: u128, b: u128| a.checked_shr(differing) == b.checked_shr(differing);
        ours_bits == theirs_bits && same(ours, theirs)
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Network, &'static str> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let first: IpAddr =
            address.parse().map_err(|_| "write an address, as in \"10.0.0.0/8\"")?;
        let (_, bits_max) = bits(first);
        let prefix_bits = match prefix {
            None => bits_max,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max)
                .ok_or("write how many bits addresses have in common behind the /")?,
        };
        Ok(Network { first, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

/// An address as a number, and how many bits it has. An IPv4 address within IPv6 is an IPv4 address.
fn bits(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::a00:1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("2001:db8::/32", "2001:db8::", "192.0.2.7"),
            ("0.0.0.0/0", "192.0.2.7", "2001:db8::1"),
            ("::/0", "2001:db8::1", "192.0.2.7"),
        ] {
            let it: Network = network.parse().expect("a network");
            assert!(it.contains(inside.parse().expect("an address")), "{network} {inside}");
            assert!(!it.contains(outside.parse().expect("an address")), "{network} {outside}");
        }
        for none in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "db-1"] {
            assert!(none.parse::<Network>().is_err(), "{none}");
        }
    }
}
