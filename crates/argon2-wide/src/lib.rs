//! Argon2id, version 0x13 (RFC 9106), on the widest vectors that the processor has: AVX-512, AVX2 or plain words, chosen
//! at run time. A login costs hardly anything beside its hash, so a wider hash is a wider gate.
//!
//! The memory's blocks keep their words in an order that suits the vectors: word `w` of several rows side by side. Then a
//! round needs no shuffling inside itself, and rows become columns by transposing twice a block (`isa.rs`). Only where
//! bytes come in and go out is the order of RFC 9106 seen.

mod digest;
mod fill;
#[expect(
    clippy::needless_range_loop,
    reason = "vectors stay in registers only where all of it is plain loops"
)]
mod isa;
mod shape;

use std::fmt;

use isa::{Block, Isa, Portable};
use shape::Shape;

pub use shape::Cost;

/// Shortest salt, in bytes.
pub const SHORTEST_SALT: usize = 8;
/// Shortest output, in bytes (RFC 9106, 3.1).
pub const SHORTEST_OUTPUT: usize = 4;

/// Why there is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Costs outside the bounds of RFC 9106, 3.1.
    #[error("memory, passes or lanes are out of bounds")]
    Cost,
    /// An input or the output is too short or longer than 2^32 - 1 bytes.
    #[error("an input or the output has a wrong length")]
    Length,
    /// The memory cannot be had.
    #[error("out of memory")]
    Memory,
}

/// What is hashed (RFC 9106, 3.1).
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// P.
    pub password: &'a [u8],
    /// S, [`SHORTEST_SALT`] bytes or more.
    pub salt: &'a [u8],
    /// K, the pepper; may be empty.
    pub secret: &'a [u8],
    /// X; may be empty.
    pub associated_data: &'a [u8],
}

// Neither password nor pepper belongs into a log.
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

/// The blocks of one hash at a time. They are kept from hash to hash: to get 19 MiB from the kernel anew costs a tenth of
/// the hash itself. They are not wiped: who can read them can read the passwords that come next.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// None yet; the first hash allocates.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn blocks(&mut self, count: usize) -> Result<&mut [Block], Error> {
        let more = count.saturating_sub(self.0.len());
        self.0.try_reserve_exact(more).map_err(|_| Error::Memory)?;
        if more > 0 {
            self.0.resize(count, Block::ZERO);
        }
        self.0.get_mut(..count).ok_or(Error::Memory)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} KiB)", self.0.len())
    }
}

/// Instructions that a hash is computed with; all give the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Backend(Kernel);

#[derive(Debug, Clone, Copy)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512(isa::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(isa::Avx2),
    Portable,
}

impl Backend {
    /// The widest one of this processor.
    #[must_use]
    pub fn widest() -> Self {
        Self::all().next().unwrap_or(Self(Kernel::Portable))
    }

    /// Every one that this processor can run, widest first.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [isa::Avx512::detect().map(Kernel::Avx512), isa::Avx2::detect().map(Kernel::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide = [None::<Kernel>; 0];
        wide.into_iter().flatten().chain([Kernel::Portable]).map(Self)
    }

    /// For logs and figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => "avx2",
            Kernel::Portable => "portable",
        }
    }

    /// Fills `output` with the Argon2id tag of these inputs.
    ///
    /// # Errors
    /// A cost or a length out of bounds; no memory.
    pub fn argon2id(
        self,
        input: Input<'_>,
        cost: Cost,
        memory: &mut Memory,
        output: &mut [u8],
    ) -> Result<(), Error> {
        let shape = Shape::new(cost)?;
        let seed = digest::seed(input, cost, output.len())?;
        let blocks = memory.blocks(shape.blocks())?;
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(isa) => run(isa, shape, &seed, blocks, output),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(isa) => run(isa, shape, &seed, blocks, output),
            Kernel::Portable => run(Portable, shape, &seed, blocks, output),
        }
    }
}

fn run<I: Isa>(
    isa: I,
    shape: Shape,
    seed: &digest::Seed,
    blocks: &mut [Block],
    output: &mut [u8],
) -> Result<(), Error> {
    for (lane, blocks) in (0..).zip(blocks.chunks_exact_mut(shape.lane_length)) {
        for (index, block) in (0..).zip(blocks.iter_mut().take(2)) {
            block.write::<I>(&seed.first_block(index, lane)?);
        }
    }
    isa.run(fill::Fill { isa, shape, blocks });
    let mut last = Block::ZERO;
    for blocks in blocks.chunks_exact(shape.lane_length) {
        if let Some(end) = blocks.last() {
            last.xor(end);
        }
    }
    digest::long(&[&last.read::<I>()], output)
}
