use std::arch::x86_64::__m256i;

use pulp::x86::V3;

use super::{Block, Isa, ROW, rows};
use crate::fill::Fill;

/// Four words a vector.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(V3);

type State = [[__m256i; ROW]; 2];

impl Avx2 {
    /// If the processor has it.
    pub fn detect() -> Option<Self> {
        V3::try_new().map(Self)
    }

    // Swaps rows with pairs of columns: words 2i and 2i + 1 of row r with words 2r and 2r + 1 of row i.
    #[inline(always)]
    fn transpose(self, state: &mut State) {
        let before = *state;
        for rows in 0..2 {
            for pairs in 0..2 {
                for word in 0..2 {
                    let first = 8 * pairs + word;
                    let turned = self.turned([
                        before[rows][first],
                        before[rows][first + 2],
                        before[rows][first + 4],
                        before[rows][first + 6],
                    ]);
                    for row in 0..4 {
                        state[pairs][2 * (4 * rows + row) + word] = turned[row];
                    }
                }
            }
        }
    }

    // Four words of four vectors, rows for columns.
    #[inline(always)]
    fn turned(self, [a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        let simd = self.0.avx2;
        let (low_ab, high_ab) = (simd._mm256_unpacklo_epi64(a, b), simd._mm256_unpackhi_epi64(a, b));
        let (low_cd, high_cd) = (simd._mm256_unpacklo_epi64(c, d), simd._mm256_unpackhi_epi64(c, d));
        [
            simd._mm256_permute2x128_si256::<0x20>(low_ab, low_cd),
            simd._mm256_permute2x128_si256::<0x20>(high_ab, high_cd),
            simd._mm256_permute2x128_si256::<0x31>(low_ab, low_cd),
            simd._mm256_permute2x128_si256::<0x31>(high_ab, high_cd),
        ]
    }

    // Bytes of each word rotated to the right.
    #[inline(always)]
    fn bytes<const BYTES: usize>(self, a: __m256i) -> __m256i {
        let from = const { rotation(BYTES) };
        self.0.avx2._mm256_shuffle_epi8(a, pulp::cast!(from))
    }
}

// From which byte of its 16 each byte comes when words are rotated to the right.
const fn rotation(bytes: usize) -> [u8; 32] {
    let (mut from, mut at) = ([0; 32], 0);
    while at < 32 {
        #[expect(clippy::cast_possible_truncation, reason = "less than 16")]
        let byte = (at % 16 / 8 * 8 + (at + bytes) % 8) as u8;
        from[at] = byte;
        at += 1;
    }
    from
}

/// [`Fill`] as pulp takes it: what it inlines is compiled with the processor's features.
struct Call<'a>(Fill<'a, Avx2>);

impl pulp::NullaryFnOnce for Call<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.all();
    }
}

impl Isa for Avx2 {
    const LANES: usize = 4;
    type Vector = __m256i;
    type State = State;

    fn run(self, fill: Fill<'_, Self>) {
        self.0.vectorize(Call(fill));
    }

    #[inline(always)]
    fn load(self, block: &Block) -> State {
        let (vectors, _) = block.0.as_flattened().as_chunks::<4>();
        let mut state = [[pulp::cast!([0_u64; 4]); ROW]; 2];
        for group in 0..2 {
            for column in 0..ROW {
                state[group][column] = pulp::cast!(vectors[group * ROW + column]);
            }
        }
        state
    }

    #[inline(always)]
    fn store(self, block: &mut Block, state: &State) {
        let (vectors, _) = block.0.as_flattened_mut().as_chunks_mut::<4>();
        for group in 0..2 {
            for column in 0..ROW {
                vectors[group * ROW + column] = pulp::cast!(state[group][column]);
            }
        }
    }

    #[inline(always)]
    fn xor(self, a: &mut State, b: &State) {
        for group in 0..2 {
            for column in 0..ROW {
                a[group][column] = self.0.avx2._mm256_xor_si256(a[group][column], b[group][column]);
            }
        }
    }

    #[inline(always)]
    fn columns(self, state: &mut State) {
        self.transpose(state);
        rows(self, state);
        self.transpose(state);
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        let simd = self.0.avx2;
        let product = simd._mm256_mul_epu32(a, b);
        simd._mm256_add_epi64(simd._mm256_add_epi64(a, b), simd._mm256_add_epi64(product, product))
    }

    #[inline(always)]
    fn turn<const BITS: i32>(self, a: __m256i, b: __m256i) -> __m256i {
        let simd = self.0.avx2;
        let mixed = simd._mm256_xor_si256(a, b);
        match BITS {
            32 => simd._mm256_shuffle_epi32::<0b10_11_00_01>(mixed),
            24 => self.bytes::<3>(mixed),
            16 => self.bytes::<2>(mixed),
            // By 63 to the right is by one to the left.
            _ => {
                simd._mm256_or_si256(simd._mm256_srli_epi64::<63>(mixed), simd._mm256_add_epi64(mixed, mixed))
            }
        }
    }
}
