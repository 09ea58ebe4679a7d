//! BLAKE2b around the memory: the seed from all inputs, and the hash of any length (RFC 9106, 3.2 and 3.3).

use blake2::{
    Blake2b512, Blake2bVarCore,
    digest::{
        Digest,
        block_api::{UpdateCore, VariableOutputCore},
        block_buffer::LazyBuffer,
    },
};
use zeroize::Zeroizing;

use crate::{Cost, Error, Input, SHORTEST_OUTPUT, SHORTEST_SALT, isa::BLOCK_BYTES};

const HALF: usize = 32;
const WHOLE: usize = 64;
const ARGON2ID: u32 = 2;
const VERSION: u32 = 0x13;

/// H0: stands for all inputs and costs.
pub struct Seed(Zeroizing<[u8; WHOLE]>);

pub fn seed(input: Input<'_>, cost: Cost, output: usize) -> Result<Seed, Error> {
    if input.salt.len() < SHORTEST_SALT || output < SHORTEST_OUTPUT {
        return Err(Error::Length);
    }
    let mut hasher = Blake2b512::new();
    for number in [cost.lanes, length(output)?, cost.memory, cost.passes, VERSION, ARGON2ID] {
        hasher.update(number.to_le_bytes());
    }
    for part in [input.password, input.salt, input.secret, input.associated_data] {
        hasher.update(length(part.len())?.to_le_bytes());
        hasher.update(part);
    }
    let mut seed = Zeroizing::new([0; WHOLE]);
    seed.copy_from_slice(&hasher.finalize());
    Ok(Seed(seed))
}

impl Seed {
    /// Block 0 or 1 of a lane.
    pub fn first_block(&self, index: u32, lane: u32) -> Result<[u8; BLOCK_BYTES], Error> {
        let mut block = [0; BLOCK_BYTES];
        long(&[&self.0[..], &index.to_le_bytes(), &lane.to_le_bytes()], &mut block)?;
        Ok(block)
    }
}

/// H'. Fills the output.
pub fn long(parts: &[&[u8]], output: &mut [u8]) -> Result<(), Error> {
    let prefix = length(output.len())?.to_le_bytes();
    if output.len() <= WHOLE {
        return short(&prefix, parts, output);
    }
    let mut hasher = Blake2b512::new();
    hasher.update(prefix);
    for part in parts {
        hasher.update(part);
    }
    let mut link = hasher.finalize();
    let mut rest = output;
    while rest.len() > WHOLE {
        let (half, after) = rest.split_at_mut(HALF);
        half.copy_from_slice(&link[..HALF]);
        rest = after;
        if rest.len() > WHOLE {
            link = Blake2b512::digest(link);
        }
    }
    short(&link, &[], rest)
}

// BLAKE2b with an output of 1 to 64 bytes.
fn short(first: &[u8], parts: &[&[u8]], output: &mut [u8]) -> Result<(), Error> {
    let mut core = Blake2bVarCore::new(output.len()).map_err(|_| Error::Length)?;
    let mut buffer = LazyBuffer::default();
    for part in [first].iter().chain(parts) {
        buffer.digest_blocks(part, |blocks| core.update_blocks(blocks));
    }
    let mut whole = Default::default();
    core.finalize_variable_core(&mut buffer, &mut whole);
    output.copy_from_slice(whole.get(..output.len()).ok_or(Error::Length)?);
    Ok(())
}

fn length(bytes: usize) -> Result<u32, Error> {
    u32::try_from(bytes).map_err(|_| Error::Length)
}
