use super::{Block, Isa, ROW, ROWS, permuted};
use crate::fill::Fill;

/// Plain words, for processors without AVX2.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

type State = [[u64; ROW]; ROWS];

impl Isa for Portable {
    const LANES: usize = 1;
    type Vector = u64;
    type State = State;

    fn run(self, fill: Fill<'_, Self>) {
        fill.all();
    }

    #[inline(always)]
    fn load(self, block: &Block) -> State {
        let mut state = [[0; ROW]; ROWS];
        state.as_flattened_mut().copy_from_slice(block.0.as_flattened());
        state
    }

    #[inline(always)]
    fn store(self, block: &mut Block, state: &State) {
        block.0.as_flattened_mut().copy_from_slice(state.as_flattened());
    }

    #[inline(always)]
    fn xor(self, a: &mut State, b: &State) {
        for row in 0..ROWS {
            for column in 0..ROW {
                a[row][column] ^= b[row][column];
            }
        }
    }

    #[inline(always)]
    fn columns(self, state: &mut State) {
        for pair in (0..ROW).step_by(2) {
            let mut column = [0; ROW];
            for row in 0..ROWS {
                column[2 * row] = state[row][pair];
                column[2 * row + 1] = state[row][pair + 1];
            }
            column = permuted(self, column);
            for row in 0..ROWS {
                state[row][pair] = column[2 * row];
                state[row][pair + 1] = column[2 * row + 1];
            }
        }
    }

    #[inline(always)]
    fn add(self, a: u64, b: u64) -> u64 {
        const LOW: u64 = 0xffff_ffff;
        a.wrapping_add(b).wrapping_add(((a & LOW) * (b & LOW)).wrapping_mul(2))
    }

    #[inline(always)]
    fn turn<const BITS: i32>(self, a: u64, b: u64) -> u64 {
        (a ^ b).rotate_right(BITS.unsigned_abs())
    }
}
