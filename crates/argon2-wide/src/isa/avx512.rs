use std::arch::x86_64::__m512i;

use pulp::x86::V4;

use super::{Block, Isa, ROW};
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

    // Eight words of eight vectors, rows for columns.
    #[inline(always)]
    fn turned(self, rows: [__m512i; 8]) -> [__m512i; 8] {
        let simd = self.0.avx512f;
        let low = |a, b| simd._mm512_unpacklo_epi64(a, b);
        let high = |a, b| simd._mm512_unpackhi_epi64(a, b);
        let even = |a, b| simd._mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
        let odd = |a, b| simd._mm512_shuffle_i64x2::<0b11_01_11_01>(a, b);
        let [a, b, c, d, e, f, g, h] = rows;
        let four = |ab, cd, ef, gh| {
            let (even_abcd, odd_abcd) = (even(ab, cd), odd(ab, cd));
            let (even_efgh, odd_efgh) = (even(ef, gh), odd(ef, gh));
            [
                even(even_abcd, even_efgh),
                even(odd_abcd, odd_efgh),
                odd(even_abcd, even_efgh),
                odd(odd_abcd, odd_efgh),
            ]
        };
        let [of_0, of_2, of_4, of_6] = four(low(a, b), low(c, d), low(e, f), low(g, h));
        let [of_1, of_3, of_5, of_7] = four(high(a, b), high(c, d), high(e, f), high(g, h));
        [of_0, of_1, of_2, of_3, of_4, of_5, of_6, of_7]
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
        [std::array::from_fn(|column| pulp::cast!(block.0[column]))]
    }

    #[inline(always)]
    fn store(self, block: &mut Block, [state]: State) {
        for column in 0..ROW {
            block.0[column] = pulp::cast!(state[column]);
        }
    }

    #[inline(always)]
    fn xor(self, [a]: State, [b]: State) -> State {
        [std::array::from_fn(|column| self.0.avx512f._mm512_xor_si512(a[column], b[column]))]
    }

    #[inline(always)]
    fn transpose(self, [state]: &mut State) {
        for word in 0..2 {
            let turned = self.turned(std::array::from_fn(|pair| state[2 * pair + word]));
            for pair in 0..8 {
                state[2 * pair + word] = turned[pair];
            }
        }
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
