//! The hash of a password, which identity and Keycloak compute at one cost.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use argon2_wide::{Backend, Cost, Input, Memory};

use crate::provider::PASSWORD;

/// What identity uses, which is looked at before anything is compared.
pub const COST: Cost = Cost { memory: 19_456, passes: 2, lanes: 1 };
pub const SALT: &[u8] = b"sixteen bytes...";
const LENGTH: Duration = Duration::from_secs(3);

/// The tag of the one password.
pub fn tag(memory: &mut Memory) -> Result<[u8; 32]> {
    let input = Input { password: PASSWORD.as_bytes(), salt: SALT, secret: &[], associated_data: &[] };
    let mut tag = [0; 32];
    Backend::widest().argon2id(input, COST, memory, &mut tag)?;
    Ok(tag)
}

/// Hashes a second when every processor does nothing else: no server can check more passwords.
pub fn ceiling() -> Result<f64> {
    let cores = thread::available_parallelism()?.get();
    let threads: Vec<_> = (0..cores).map(|_| thread::spawn(rate)).collect();
    let mut sum = 0.0;
    for thread in threads {
        sum += thread.join().map_err(|_| anyhow!("a hash panicked"))??;
    }
    Ok(sum)
}

fn rate() -> Result<f64> {
    let (mut memory, mut done) = (Memory::new(), 0.0);
    let begin = Instant::now();
    while begin.elapsed() < LENGTH {
        tag(&mut memory)?;
        done += 1.0;
    }
    Ok(done / begin.elapsed().as_secs_f64())
}
