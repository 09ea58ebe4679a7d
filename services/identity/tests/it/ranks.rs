//! Whether two samples can be told apart: Mann and Whitney's rank test, with the normal approximation and ties.

/// How far the ranks of two samples lie apart, in standard deviations of what chance does. Both need 20 values and more.
pub fn distance(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|value| (*value, true)).chain(other.iter().map(|value| (*value, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut ties, mut from) = (0.0, 0.0, 0);
    while from < all.len() {
        let to = from + all[from..].iter().take_while(|(value, _)| *value == all[from].0).count();
        // The mean of the ranks that equal values share.
        let rank = (from + to + 1) as f64 / 2.0;
        ranks += rank * all[from..to].iter().filter(|(_, is_one)| *is_one).count() as f64;
        let tied = (to - from) as f64;
        ties += tied.powi(3) - tied;
        from = to;
    }
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    (u - n * m / 2.0) / variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::distance;

    // Splitmix64, for values that are the same in each run.
    fn values(seed: u64, shift: f64) -> Vec<f64> {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
        };
        (0..2_000).map(|_| uniform() + uniform() + shift).collect()
    }

    #[test]
    fn samples_of_one_kind_are_near_and_shifted_ones_are_far() {
        for seed in 1..20 {
            let apart = distance(&values(seed, 0.0), &values(seed + 100, 0.0));
            assert!(apart.abs() < 3.9, "{seed}: {apart}");
        }
        assert!(distance(&values(1, 0.2), &values(2, 0.0)) > 6.0);
        assert!(distance(&values(1, 0.0), &values(2, 0.2)) < -6.0);
    }

    #[test]
    fn it_agrees_with_an_example_by_hand() {
        // U = 2.5 of 9: ranks 1, 2.5 and 4 against 2.5, 5 and 6; variance 9 / 12 * (7 - 6 / 30) = 5.1.
        let apart = distance(&[1.0, 2.0, 3.0], &[2.0, 4.0, 5.0]);
        assert!((apart - (1.5 - 4.5) / 5.1_f64.sqrt()).abs() < 1e-12, "{apart}");
    }
}
