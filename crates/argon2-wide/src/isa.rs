//! The compression function G (RFC 9106, 3.5), over vectors of any width.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::fill::Fill;

#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512};
pub use portable::Portable;

/// A block in bytes: 8 rows of 16 words.
pub const BLOCK_BYTES: usize = 1024;
const ROWS: usize = 8;
const ROW: usize = 16;

/// A block of the memory, on lines of the cache. Rows are taken in groups as large as a vector; of a group word 0 of all
/// rows comes first, then word 1 of all, and so on.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Block([[u64; ROWS]; ROW]);

/// Instructions that work on vectors of words, one word of each of `LANES` rows.
pub trait Isa: Copy {
    /// Words of a vector: 1, 2, 4 or 8.
    const LANES: usize;
    /// A vector.
    type Vector: Copy;
    /// A block in groups of `LANES` rows; of each group the 16 vectors.
    type State: Copy + AsMut<[[Self::Vector; ROW]]>;

    /// Runs it as a function that is compiled for these instructions.
    fn run(self, fill: Fill<'_, Self>);
    fn load(self, block: &Block) -> Self::State;
    fn store(self, block: &mut Block, state: Self::State);
    fn xor(self, a: Self::State, b: Self::State) -> Self::State;
    /// Swaps rows with pairs of columns: words 2i and 2i + 1 of row r with words 2r and 2r + 1 of row i.
    fn transpose(self, state: &mut Self::State);
    /// a + b + 2 * low half of a * low half of b.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a ^ b, rotated to the right by 32, 24, 16 or 63 bits.
    fn turn<const BITS: i32>(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
}

/// P over all rows, then over all columns.
#[inline(always)]
pub fn compress<I: Isa>(isa: I, mut state: I::State) -> I::State {
    rounds(isa, &mut state);
    isa.transpose(&mut state);
    rounds(isa, &mut state);
    isa.transpose(&mut state);
    state
}

#[inline(always)]
fn rounds<I: Isa>(isa: I, state: &mut I::State) {
    for v in state.as_mut() {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter(isa, v, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter(isa, v, a, b, c, d);
        }
    }
}

// GB (RFC 9106, 3.6).
#[inline(always)]
fn quarter<I: Isa>(isa: I, v: &mut [I::Vector; ROW], a: usize, b: usize, c: usize, d: usize) {
    v[a] = isa.add(v[a], v[b]);
    v[d] = isa.turn::<32>(v[d], v[a]);
    v[c] = isa.add(v[c], v[d]);
    v[b] = isa.turn::<24>(v[b], v[c]);
    v[a] = isa.add(v[a], v[b]);
    v[d] = isa.turn::<16>(v[d], v[a]);
    v[c] = isa.add(v[c], v[d]);
    v[b] = isa.turn::<63>(v[b], v[c]);
}

impl Block {
    pub const ZERO: Self = Self([[0; ROWS]; ROW]);

    /// Word 0.
    #[inline(always)]
    pub fn first(&self) -> u64 {
        self.0[0][0]
    }

    // Where a word of RFC 9106 lies.
    #[inline(always)]
    fn place<I: Isa>(word: usize) -> (usize, usize) {
        let (row, column) = (word / ROW, word % ROW);
        let at = (row / I::LANES * ROW + column) * I::LANES + row % I::LANES;
        (at / ROWS, at % ROWS)
    }

    #[inline(always)]
    pub fn get<I: Isa>(&self, word: usize) -> u64 {
        let (line, at) = Self::place::<I>(word);
        self.0[line][at]
    }

    #[inline(always)]
    pub fn set<I: Isa>(&mut self, word: usize, value: u64) {
        let (line, at) = Self::place::<I>(word);
        self.0[line][at] = value;
    }

    /// Takes in the bytes of a block.
    pub fn write<I: Isa>(&mut self, bytes: &[u8; BLOCK_BYTES]) {
        let (words, _) = bytes.as_chunks();
        for (word, bytes) in words.iter().enumerate() {
            self.set::<I>(word, u64::from_le_bytes(*bytes));
        }
    }

    /// The bytes of the block.
    pub fn read<I: Isa>(&self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        let (words, _) = bytes.as_chunks_mut();
        for (word, bytes) in words.iter_mut().enumerate() {
            *bytes = self.get::<I>(word).to_le_bytes();
        }
        bytes
    }

    pub fn xor(&mut self, other: &Self) {
        for (word, other) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            *word ^= other;
        }
    }
}
