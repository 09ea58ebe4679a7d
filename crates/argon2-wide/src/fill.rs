//! The memory-hard part: every block from the one before it and one far away (RFC 9106, 3.1 and 3.4).

use crate::{
    isa::{Block, Isa, compress},
    shape::{SLICES, Segment, Shape},
};

/// Addresses that one block holds.
const ADDRESSES: usize = 128;

/// All passes over a memory whose first two blocks a lane are there.
pub struct Fill<'a, I> {
    pub isa: I,
    pub shape: Shape,
    pub blocks: &'a mut [Block],
}

impl<I: Isa> Fill<'_, I> {
    // Everything below is inlined into one function, which is compiled for the instructions of `I`.
    #[inline(always)]
    pub fn all(self) {
        let Self { isa, shape, blocks } = self;
        for pass in 0..shape.passes {
            for slice in 0..SLICES {
                for lane in 0..shape.lanes {
                    segment(isa, shape, blocks, Segment { pass, slice, lane });
                }
            }
        }
    }
}

#[inline(always)]
fn segment<I: Isa>(isa: I, shape: Shape, blocks: &mut [Block], at: Segment) {
    let mut addresses = (at.pass == 0 && at.slice < SLICES / 2).then(|| Addresses::new::<I>(shape, at));
    let first = if at.pass == 0 && at.slice == 0 { 2 } else { 0 };
    let base = at.lane * shape.lane_length + at.slice * shape.segment_length;
    let mut previous =
        if at.slice == 0 && first == 0 { base + shape.lane_length - 1 } else { base + first - 1 };
    let mut state = isa.load(&blocks[previous]);
    for index in first..shape.segment_length {
        let word = match &mut addresses {
            Some(addresses) => addresses.word(isa, index),
            // Word 0 lies at 0 in every order.
            None => blocks[previous].first(),
        };
        isa.xor(&mut state, &isa.load(&blocks[shape.reference(at, index, word)]));
        compress(isa, &mut state);
        let current = &mut blocks[base + index];
        if at.pass > 0 {
            isa.xor(&mut state, &isa.load(current));
        }
        isa.store(current, &state);
        previous = base + index;
    }
}

/// The words that choose blocks where the password must not: in the first half of the first pass (RFC 9106, 3.4.1.2).
struct Addresses {
    input: Block,
    words: Block,
    counter: u64,
    valid: usize,
}

impl Addresses {
    #[inline(always)]
    fn new<I: Isa>(shape: Shape, at: Segment) -> Self {
        let mut input = Block::ZERO;
        let values = [
            u64::from(at.pass),
            at.lane as u64,
            at.slice as u64,
            shape.blocks() as u64,
            shape.passes.into(),
            2,
        ];
        for (word, value) in values.into_iter().enumerate() {
            input.set::<I>(word, value);
        }
        Self { input, words: Block::ZERO, counter: 0, valid: usize::MAX }
    }

    #[inline(always)]
    fn word<I: Isa>(&mut self, isa: I, index: usize) -> u64 {
        if self.valid != index / ADDRESSES {
            self.valid = index / ADDRESSES;
            self.counter += 1;
            self.input.set::<I>(6, self.counter);
            let mut state = isa.load(&self.input);
            compress(isa, &mut state);
            compress(isa, &mut state);
            isa.store(&mut self.words, &state);
        }
        self.words.get::<I>(index % ADDRESSES)
    }
}
