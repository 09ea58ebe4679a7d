//! The peer's address, the trusted networks with commas between, and `X-Forwarded-For` headers: each on a line of its own.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use chassis::{Network, fuzzing::caller};
use libfuzzer_sys::fuzz_target;

/// A longer chain is cut.
const LONGEST_CHAIN: usize = 20;

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let [peer, trusted, chain @ ..] = &lines[..] else { return };
    let (Some(peer), Some(trusted)) = (text(peer), text(trusted)) else { return };
    let Ok(peer) = peer.parse::<IpAddr>() else { return };
    let peer = SocketAddr::new(peer, 443);
    let trusted: Vec<Network> = trusted.split(',').filter_map(|network| network.parse().ok()).collect();
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(address));

    let Some(found) = caller(peer, chain, &trusted) else { return };
    if !is_proxy(peer.ip()) {
        assert_eq!(found, peer, "a stranger is believed nothing");
        return;
    }
    // Somebody whom a trusted proxy named, and behind whom everybody was trusted.
    let values: Option<Vec<&str>> = chain.iter().map(|value| text(value)).collect();
    let Some(values) = values else { return };
    let hops = values.iter().rev().flat_map(|value| value.rsplit(',')).take(LONGEST_CHAIN);
    let mut expected = peer;
    for address in hops.map_while(|hop| hop.trim().parse().ok()) {
        expected = SocketAddr::new(address, 0);
        if !is_proxy(address) {
            break;
        }
    }
    assert_eq!(found, expected);
});

/// What is no visible ASCII is no address either.
fn text(bytes: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    std::str::from_utf8(bytes).ok().filter(|_| bytes.iter().all(is_visible))
}
