use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// Waits between tries: doubling, with full jitter, so that many who failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    last: Duration,
}

impl Backoff {
    /// From about `first` up to `last`.
    #[must_use]
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self { next: first, last }
    }

    /// The next wait: between half of the present bound and the bound.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and reads as what it is")]
    pub fn next(&mut self) -> Duration {
        let bound = self.next.min(self.last);
        self.next = (bound * 2).min(self.last);
        bound / 2 + (bound / 2).mul_f64(fraction())
    }
}

/// A random number of 0 to 1.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness a wait is as long as it may be.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return 1.0;
    }
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_last_one() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for bound in [100, 200, 350, 350] {
            let wait = backoff.next();
            assert!(
                wait >= Duration::from_millis(bound / 2) && wait <= Duration::from_millis(bound),
                "{wait:?}"
            );
        }
    }
}
