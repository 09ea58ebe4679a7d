//! The compression function G (RFC 9106, 3.5), over vectors of any width.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::fill::Fill;

pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512};

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
///
/// All of it must be inlined into [`Isa::run`]: a closure, and what takes one, is a function of its own that is compiled
/// without these instructions, and hands vectors over by memory. So there are loops in the place of `map` and `from_fn`.
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
    fn store(self, block: &mut Block, state: &Self::State);
    /// Takes the words of `b` into those of `a`.
    fn xor(self, a: &mut Self::State, b: &Self::State);
    /// P over the columns, which are pairs of words of each row.
    fn columns(self, state: &mut Self::State);
    /// a + b + 2 * low half of a * low half of b.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a ^ b, rotated to the right by 32, 24, 16 or 63 bits.
    fn turn<const BITS: i32>(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
}

/// G of two blocks whose words are taken together: P over all rows, then over all columns.
#[inline(always)]
pub fn compress<I: Isa>(isa: I, state: &mut I::State) {
    let before = *state;
    rows(isa, state);
    isa.columns(state);
    isa.xor(state, &before);
}

#[inline(always)]
fn rows<I: Isa>(isa: I, state: &mut I::State) {
    for row in state.as_mut() {
        *row = permuted(isa, *row);
    }
}

// P, with a vector in the place of each word.
#[inline(always)]
fn permuted<I: Isa>(isa: I, mut v: [I::Vector; ROW]) -> [I::Vector; ROW] {
    // Written out: only constant indices keep the vectors in registers.
    quarter::<I, 0, 4, 8, 12>(isa, &mut v);
    quarter::<I, 1, 5, 9, 13>(isa, &mut v);
    quarter::<I, 2, 6, 10, 14>(isa, &mut v);
    quarter::<I, 3, 7, 11, 15>(isa, &mut v);
    quarter::<I, 0, 5, 10, 15>(isa, &mut v);
    quarter::<I, 1, 6, 11, 12>(isa, &mut v);
    quarter::<I, 2, 7, 8, 13>(isa, &mut v);
    quarter::<I, 3, 4, 9, 14>(isa, &mut v);
    v
}

// GB (RFC 9106, 3.6).
#[inline(always)]
fn quarter<I: Isa, const A: usize, const B: usize, const C: usize, const D: usize>(
    isa: I,
    v: &mut [I::Vector; ROW],
) {
    v[A] = isa.add(v[A], v[B]);
    v[D] = isa.turn::<32>(v[D], v[A]);
    v[C] = isa.add(v[C], v[D]);
    v[B] = isa.turn::<24>(v[B], v[C]);
    v[A] = isa.add(v[A], v[B]);
    v[D] = isa.turn::<16>(v[D], v[A]);
    v[C] = isa.add(v[C], v[D]);
    v[B] = isa.turn::<63>(v[B], v[C]);
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
