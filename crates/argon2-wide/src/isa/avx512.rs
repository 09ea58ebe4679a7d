use std::arch::x86_64::__m512i;

use pulp::x86::V4;

use super::{Block, Isa, ROW, rows};
use crate::fill::Fill;

/// Eight words a vector: a block fills half of the registers and stays there.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(V4);

type State = [[__m512i; ROW]; 1];

impl Avx512 {
    /// If the processor has it.
    pub fn detect() -> Option<Self> {
        V4::try_new().map(Self)
    }

    // Swaps rows with pairs of columns: words 2i and 2i + 1 of row r with words 2r and 2r + 1 of row i.
    #[inline(always)]
    fn transpose(self, [state]: &mut State) {
        for word in 0..2 {
            let mut rows = [state[word]; 8];
            for pair in 0..8 {
                rows[pair] = state[2 * pair + word];
            }
            let rows = self.turned(rows);
            for pair in 0..8 {
                state[2 * pair + word] = rows[pair];
            }
        }
    }

    // Eight words of eight vectors, rows for columns.
    #[inline(always)]
    fn turned(self, [a, b, c, d, e, f, g, h]: [__m512i; 8]) -> [__m512i; 8] {
        let simd = self.0.avx512f;
        let [of_0, of_2, of_4, of_6] = self.lanes_turned([
            simd._mm512_unpacklo_epi64(a, b),
            simd._mm512_unpacklo_epi64(c, d),
            simd._mm512_unpacklo_epi64(e, f),
            simd._mm512_unpacklo_epi64(g, h),
        ]);
        let [of_1, of_3, of_5, of_7] = self.lanes_turned([
            simd._mm512_unpackhi_epi64(a, b),
            simd._mm512_unpackhi_epi64(c, d),
            simd._mm512_unpackhi_epi64(e, f),
            simd._mm512_unpackhi_epi64(g, h),
        ]);
        [of_0, of_1, of_2, of_3, of_4, of_5, of_6, of_7]
    }

    // The same of four pairs of words.
    #[inline(always)]
    fn lanes_turned(self, [a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        let (even_ab, odd_ab) = (self.even(a, b), self.odd(a, b));
        let (even_cd, odd_cd) = (self.even(c, d), self.odd(c, d));
        [
            self.even(even_ab, even_cd),
            self.even(odd_ab, odd_cd),
            self.odd(even_ab, even_cd),
            self.odd(odd_ab, odd_cd),
        ]
    }

    #[inline(always)]
    fn even(self, a: __m512i, b: __m512i) -> __m512i {
        self.0.avx512f._mm512_shuffle_i64x2::<0b10_00_10_00>(a, b)
    }

    #[inline(always)]
    fn odd(self, a: __m512i, b: __m512i) -> __m512i {
        self.0.avx512f._mm512_shuffle_i64x2::<0b11_01_11_01>(a, b)
    }
}

/// [`Fill`] as pulp takes it: what it inlines is compiled with the processor's features.
struct Call<'a>(Fill<'a, Avx512>);

impl pulp::NullaryFnOnce for Call<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.all();
    }
}

impl Isa for Avx512 {
    const LANES: usize = 8;
    type Vector = __m512i;
    type State = State;

    fn run(self, fill: Fill<'_, Self>) {
        self.0.vectorize(Call(fill));
    }

    #[inline(always)]
    fn load(self, block: &Block) -> State {
        let mut state = [[pulp::cast!([0_u64; 8]); ROW]];
        for column in 0..ROW {
            state[0][column] = pulp::cast!(block.0[column]);
        }
        state
    }

    #[inline(always)]
    fn store(self, block: &mut Block, [state]: &State) {
        for column in 0..ROW {
            block.0[column] = pulp::cast!(state[column]);
        }
    }

    #[inline(always)]
    fn xor(self, a: &mut State, b: &State) {
        for column in 0..ROW {
            a[0][column] = self.0.avx512f._mm512_xor_si512(a[0][column], b[0][column]);
        }
    }

    #[inline(always)]
    fn columns(self, state: &mut State) {
        self.transpose(state);
        rows(self, state);
        self.transpose(state);
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        let simd = self.0.avx512f;
        let product = simd._mm512_mul_epu32(a, b);
        simd._mm512_add_epi64(simd._mm512_add_epi64(a, b), simd._mm512_add_epi64(product, product))
    }

    #[inline(always)]
    fn turn<const BITS: i32>(self, a: __m512i, b: __m512i) -> __m512i {
        let simd = self.0.avx512f;
        simd._mm512_ror_epi64::<BITS>(simd._mm512_xor_si512(a, b))
    }
}
