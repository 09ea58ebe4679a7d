use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, bail};

/// Below the ports that the kernel gives to outgoing connections: one of those could take a port before its process does,
/// and again while a process that was killed there has no successor yet.
const PORTS: std::ops::Range<u16> = 20_000..25_000;

/// Ports of the loopback that are free now, for processes of their own. This process gives each of them once, until it has
/// given all.
///
/// # Errors
/// There are not so many.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let all = u32::from(PORTS.end - PORTS.start);
    let mut free = Vec::new();
    for _ in 0..all {
        if free.len() == count {
            return Ok(free);
        }
        // Test programs that run side by side begin apart.
        let place =
            (std::process::id().wrapping_mul(61)).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % all;
        let port = PORTS.start + u16::try_from(place)?;
        if TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            free.push(port);
        }
    }
    bail!("no {count} free ports in {PORTS:?}")
}
