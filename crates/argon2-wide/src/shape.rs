use crate::Error;

/// Slices of a lane; blocks of a slice refer to no other lane's blocks of the same slice (RFC 9106, 3.4).
pub const SLICES: usize = 4;
/// 4 GiB, in KiB: more than any server gives to one password.
const MOST_MEMORY: u32 = 4 << 20;

/// How much a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// m, in KiB: at least 8 a lane, at most 4 GiB.
    pub memory: u32,
    /// t, at least 1.
    pub passes: u32,
    /// p, 1 to 2^24 - 1. They are computed one after the other: parallel logins fill the cores already.
    pub lanes: u32,
}

/// Where blocks lie.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub lanes: usize,
    pub lane_length: usize,
    pub segment_length: usize,
    pub passes: u32,
}

/// The segment that is being filled.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub pass: u32,
    pub slice: usize,
    pub lane: usize,
}

impl Shape {
    pub fn new(cost: Cost) -> Result<Self, Error> {
        let Cost { memory, passes, lanes } = cost;
        if passes == 0 || !(1..1 << 24).contains(&lanes) || memory < 8 * lanes || memory > MOST_MEMORY {
            return Err(Error::Cost);
        }
        let lanes = lanes as usize;
        let segment_length = memory as usize / (SLICES * lanes);
        Ok(Self { lanes, lane_length: SLICES * segment_length, segment_length, passes })
    }

    pub fn blocks(self) -> usize {
        self.lanes * self.lane_length
    }

    /// The block that goes into the block at `index` of a segment beside the one before it, chosen by a pseudo-random word
    /// (RFC 9106, 3.4.2). It is never the block before, nor the block itself.
    #[inline(always)]
    pub fn reference(self, segment: Segment, index: usize, word: u64) -> usize {
        let Segment { pass, slice, lane } = segment;
        let first = pass == 0 && slice == 0;
        let reference_lane = if first || self.lanes == 1 { lane } else { (word >> 32) as usize % self.lanes };
        let finished = if pass == 0 { slice } else { SLICES - 1 } * self.segment_length;
        let area =
            if reference_lane == lane { finished + index - 1 } else { finished - usize::from(index == 0) };
        let low = word & 0xffff_ffff;
        let x = (low * low) >> 32;
        // Less than the area.
        let back = ((area as u64 * x) >> 32) as usize;
        let start = if pass == 0 || slice == SLICES - 1 { 0 } else { (slice + 1) * self.segment_length };
        let mut place = start + area - 1 - back;
        if place >= self.lane_length {
            place -= self.lane_length;
        }
        reference_lane * self.lane_length + place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_outside_the_bounds_are_refused() {
        let cost = |memory, passes, lanes| Shape::new(Cost { memory, passes, lanes }).err();
        assert_eq!(cost(8, 1, 1), None);
        assert_eq!(cost(7, 1, 1), Some(Error::Cost));
        assert_eq!(cost(31, 1, 4), Some(Error::Cost));
        assert_eq!(cost(32, 0, 4), Some(Error::Cost));
        assert_eq!(cost(32, 1, 0), Some(Error::Cost));
        assert_eq!(cost(u32::MAX, 1, u32::MAX), Some(Error::Cost));
        assert_eq!(cost(u32::MAX, 1, 1), Some(Error::Cost));
    }

    #[test]
    fn the_first_words_choose_blocks_that_exist() {
        let shape = Shape::new(Cost { memory: 16, passes: 2, lanes: 1 }).unwrap();
        let first = Segment { pass: 0, slice: 0, lane: 0 };
        for word in [0, u64::MAX, 1 << 63, 0x8000_0000] {
            assert_eq!(shape.reference(first, 2, word), 0);
        }
        let later = Segment { pass: 1, slice: 0, lane: 0 };
        for word in [0, u64::MAX] {
            assert!((4..15).contains(&shape.reference(later, 0, word)));
        }
    }
}
