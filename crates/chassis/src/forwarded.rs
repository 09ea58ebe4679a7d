use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::HeaderMap;

/// Addresses that a chain of proxies may have; a longer one is cut.
const LONGEST_CHAIN: usize = 20;

/// A network of proxies whose word on the caller's address is taken: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address that is mapped into IPv6 counts as itself.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((own, own_length), (other, other_length)) = (bits(self.address), bits(address.to_canonical()));
        let mask = if self.prefix == 0 { 0 } else { u128::MAX << (128 - u32::from(self.prefix)) };
        own_length == other_length && own & mask == other & mask
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "must be an IP address or a network such as 10.0.0.0/8";
        let (address, prefix) =
            text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| RULE)?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(length), |prefix| prefix.parse().map_err(|_| RULE))?;
        if prefix > length { Err(RULE) } else { Ok(Self { address, prefix }) }
    }
}

/// Whom a request comes from: the peer, or, when that is a trusted proxy, the nearest address of `X-Forwarded-For` that is
/// none. What stands further left was written by that caller, who may write anything.
pub(crate) fn caller(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> SocketAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_proxy(peer.ip()) {
        return peer;
    }
    let mut nearest = peer;
    // One that is no text is no address: it ends the chain, or what stands left of it would be believed.
    let values: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or_default()).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')).take(LONGEST_CHAIN) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = SocketAddr::new(address, 0);
        if !is_proxy(address) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, chain: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in chain {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        caller(SocketAddr::new(peer.parse().unwrap(), 443), &headers, &trusted).ip().to_string()
    }

    #[test]
    fn a_stranger_is_believed_nothing() {
        assert_eq!(asked("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
    }

    #[test]
    fn behind_proxies_the_nearest_stranger_is_the_caller() {
        assert_eq!(asked("10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(asked("::ffff:10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            asked("fd00::1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"]),
            "198.51.100.1",
            "1.1.1.1 is hearsay"
        );
        assert_eq!(asked("10.1.2.3", &["1.1.1.1", "198.51.100.1, 10.0.0.1"]), "198.51.100.1");
    }

    #[test]
    fn garbage_in_the_chain_ends_it() {
        assert_eq!(asked("10.1.2.3", &["<script>"]), "10.1.2.3");
        assert_eq!(asked("10.1.2.3", &["198.51.100.1, unknown, 10.0.0.1"]), "10.0.0.1");
        assert_eq!(asked("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(asked("10.1.2.3", &["198.51.100.1", "\u{e9}, 10.0.0.1"]), "10.1.2.3");
        assert_eq!(asked("10.1.2.3", &[&"10.0.0.1,".repeat(10_000)]), "10.1.2.3");
    }

    #[test]
    fn a_network_has_a_form() {
        let network: Network = "192.0.2.128/25".parse().unwrap();
        assert!(network.contains("192.0.2.200".parse().unwrap()));
        assert!(!network.contains("192.0.2.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "localhost", "::/129", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
