use super::{Block, Isa, ROW, ROWS};
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
        let words = block.0.as_flattened();
        std::array::from_fn(|row| std::array::from_fn(|column| words[row * ROW + column]))
    }

    #[inline(always)]
    fn store(self, block: &mut Block, state: State) {
        block.0.as_flattened_mut().copy_from_slice(state.as_flattened());
    }

    #[inline(always)]
    fn xor(self, a: State, b: State) -> State {
        std::array::from_fn(|row| std::array::from_fn(|column| a[row][column] ^ b[row][column]))
    }

    #[inline(always)]
    fn transpose(self, state: &mut State) {
        for row in 0..ROWS {
            for pair in 0..row {
                for word in 0..2 {
                    let kept = state[row][2 * pair + word];
                    state[row][2 * pair + word] = state[pair][2 * row + word];
                    state[pair][2 * row + word] = kept;
                }
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
