//! The log of a stream in parts, ranges of sequence numbers, made ahead. Pure.

/// Parts that are there before their first entry: maintenance may rest for the time of so many.
const AHEAD: i64 = 4;

/// A part of a stream's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its first sequence number.
    pub from: i64,
    /// Behind its last one.
    pub to: i64,
    /// Whether only the newest version of each document is left in it.
    pub is_compacted: bool,
}

/// The parts to make, in order, for a stream at `seq` that has `parts`, in order, each with room for `width` entries.
/// A part ends where a multiple of the width ends. What was written beside every part stays in the default one: a part
/// over entries that are there can't be made.
#[must_use]
pub fn to_make(parts: &[Part], seq: i64, width: i64) -> Vec<Part> {
    let end_of = |seq: i64| (seq - 1).div_euclid(width) * width + width + 1;
    let end = parts.last().map_or(1, |part| part.to);
    // Entries behind the last part, or beside all parts, lie in the default one: begin with the next multiple.
    let mut from = if seq < end { end } else { end_of(seq) };
    let enough = end_of(seq.max(1)) + AHEAD * width;
    let mut made = Vec::new();
    while from < enough {
        let to = end_of(from);
        made.push(Part { from, to, is_compacted: false });
        from = to;
    }
    made
}

/// From where on a stream stays whole, when what was taken up to the entry `old_until` may go. Only parts that are old
/// from end to end are given up; what lies beside every part goes by itself.
#[must_use]
pub fn whole_from(parts: &[Part], whole_from: i64, old_until: i64) -> i64 {
    let first_kept = old_until + 1;
    let within = parts.iter().find(|part| part.from <= first_kept && first_kept < part.to);
    within.map_or(first_kept, |part| part.from).max(whole_from)
}

/// The parts of which only the newest version of each document is to be kept.
#[must_use]
pub fn to_compact(parts: &[Part], whole_from: i64) -> Vec<Part> {
    parts.iter().filter(|part| !part.is_compacted && part.to <= whole_from).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(from: i64, to: i64) -> Part {
        Part { from, to, is_compacted: false }
    }

    #[test]
    fn a_new_stream_lies_in_parts_from_its_first_entry() {
        let parts = to_make(&[], 0, 10);
        assert_eq!(parts[0], part(1, 11));
        assert_eq!(parts.len(), 5);
        assert_eq!(to_make(&parts, 9, 10), []);
        assert_eq!(to_make(&parts, 11, 10), [part(51, 61)]);
    }

    #[test]
    fn a_stream_that_has_entries_goes_on_in_parts_behind_them() {
        assert_eq!(to_make(&[], 7, 10)[0], part(11, 21));
        assert_eq!(to_make(&[], 10, 10)[0], part(11, 21));
        assert_eq!(to_make(&[], 11, 10)[0], part(21, 31));
        // Maintenance rested until the stream had run past the last part.
        assert_eq!(to_make(&[part(1, 11)], 25, 10)[0], part(31, 41));
    }

    #[test]
    fn another_width_goes_on_where_the_parts_end() {
        assert_eq!(to_make(&[part(1, 11)], 3, 100)[0], part(11, 101));
    }

    #[test]
    fn whole_parts_go_and_the_one_that_is_half_old_stays() {
        let parts = [part(11, 21), part(21, 31)];
        assert_eq!(whole_from(&parts, 1, 0), 1);
        assert_eq!(whole_from(&parts, 1, 5), 6, "beside every part");
        assert_eq!(whole_from(&parts, 1, 19), 11);
        assert_eq!(whole_from(&parts, 1, 20), 21);
        assert_eq!(whole_from(&parts, 21, 5), 21, "never back");
        assert_eq!(to_compact(&parts, 21), [part(11, 21)]);
        assert_eq!(to_compact(&[Part { is_compacted: true, ..part(11, 21) }], 21), []);
    }

    proptest! {
        #[test]
        fn parts_never_overlap_and_never_cover_what_lies_beside_them(
            steps in proptest::collection::vec((0..200_i64, 1..40_i64), 1..20)
        ) {
            let (mut parts, mut seq): (Vec<Part>, i64) = (Vec::new(), 0);
            for (entries, width) in steps {
                seq += entries;
                let written_before = seq;
                let made = to_make(&parts, seq, width);
                for part in &made {
                    prop_assert!(part.from > written_before || parts.last().is_some_and(|last| part.from == last.to));
                    prop_assert!(part.from < part.to);
                    prop_assert!(parts.last().is_none_or(|last| last.to <= part.from));
                    parts.push(*part);
                }
                prop_assert!(parts.last().unwrap().to > seq + width, "there is room");
                prop_assert!(to_make(&parts, seq, width).is_empty());
            }
        }
    }
}
