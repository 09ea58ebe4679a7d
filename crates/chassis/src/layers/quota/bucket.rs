use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A bucket holds as many calls as its rate gives in this time: they may come at once.
const DEPTH: u64 = 2;

/// How fast buckets fill, and how full they get.
///
/// A bucket is kept as the one moment at which it is full again (the generic cell rate algorithm, ITU-T I.371 annex A): a
/// call moves it by an interval, and is one too many when that is further away than the bucket is deep. Times count from
/// any moment that stays the same.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    interval: Duration,
    depth: Duration,
}

impl Rate {
    /// So many calls a second; none for 0, which is no limit.
    #[must_use]
    pub fn new(calls_a_second: u32) -> Option<Self> {
        // Rounded up: it lets through no more than it says.
        let interval = 1_000_000_000_u64.div_ceil(u64::from(calls_a_second).max(1));
        let depth = interval * u64::from(calls_a_second) * DEPTH;
        (calls_a_second > 0)
            .then(|| Self { interval: Duration::from_nanos(interval), depth: Duration::from_nanos(depth) })
    }

    /// Takes a call out of a bucket that is full again at `full_at`, and says when it is then; or, when none is left, how
    /// long it takes until there is one.
    fn take(self, full_at: Duration, now: Duration) -> Result<Duration, Duration> {
        let next = full_at.max(now) + self.interval;
        let wait = next.saturating_sub(now + self.depth);
        if wait.is_zero() { Ok(next) } else { Err(wait) }
    }
}

/// The buckets of many, at most so many. A full one need not be kept: who has none begins with it.
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    full_at: Mutex<HashMap<K, Duration>>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// So many at most are told apart.
    #[must_use]
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, full_at: Mutex::default() }
    }

    /// Takes a call of somebody. `now` counts from any moment that stays the same.
    ///
    /// # Errors
    /// None is left: how long it takes until there is one.
    pub fn take<Q>(&self, who: &Q, now: Duration) -> Result<(), Duration>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = all.get_mut(who) {
            *full_at = self.rate.take(*full_at, now)?;
            return Ok(());
        }
        if all.len() >= self.most {
            all.retain(|_, full_at| *full_at > now);
            if all.len() > self.most / 2 {
                // So many at once are an attack by changing names. All begin anew: a bucket more for each costs less than
                // to look through them at every call.
                all.clear();
            }
        }
        all.insert(who.to_owned(), self.rate.take(Duration::ZERO, now)?);
        Ok(())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.full_at.lock().unwrap().len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_its_rate() {
        let buckets = Buckets::<String>::new(Rate::new(10).unwrap(), 100);
        // (at, calls, admitted, then to wait)
        let table = [
            (1_000, 30, 20, Some(100)),
            (1_050, 1, 0, Some(50)),
            (1_099, 1, 0, Some(1)),
            (1_100, 2, 1, Some(100)),
            (1_600, 9, 5, Some(100)),
            // Full again, and never fuller.
            (60_000, 100, 20, Some(100)),
        ];
        for (now, calls, admitted, wait) in table {
            let answers: Vec<_> = (0..calls).map(|_| buckets.take("alice", at(now))).collect();
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), admitted, "{now}");
            assert_eq!(answers.last().unwrap().err(), wait.map(at), "{now}");
        }
        assert_eq!(buckets.take("bob", at(60_000)), Ok(()), "others have their own");
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(Rate::new(0).is_none());
    }

    #[test]
    fn a_refused_call_costs_nothing() {
        let rate = Rate::new(1).unwrap();
        let full_at = rate.take(Duration::ZERO, at(0)).and_then(|full_at| rate.take(full_at, at(0))).unwrap();
        assert_eq!(rate.take(full_at, at(0)), Err(at(1_000)));
        assert_eq!(rate.take(full_at, at(999)), Err(at(1)));
        assert!(rate.take(full_at, at(1_000)).is_ok());
    }

    #[test]
    fn buckets_that_are_full_make_room_and_no_more_than_so_many_are_kept() {
        let buckets = Buckets::<u32>::new(Rate::new(1).unwrap(), 4);
        for who in 0..4 {
            buckets.take(&who, at(0)).unwrap();
        }
        // The fifth comes when the first four are full again.
        buckets.take(&4, at(1_000)).unwrap();
        assert_eq!(buckets.len(), 1);
        // One that is not full keeps its place.
        buckets.take(&4, at(1_000)).unwrap();
        for who in 5..8 {
            buckets.take(&who, at(1_500)).unwrap();
        }
        buckets.take(&8, at(2_700)).unwrap();
        assert_eq!((buckets.len(), buckets.take(&4, at(2_700))), (2, Ok(())));
        for who in 100..100_000 {
            buckets.take(&who, at(3_000)).unwrap();
            assert!(buckets.len() <= 4);
        }
    }

    proptest! {
        /// Whatever the times of the calls, in every window there are no more than the bucket holds and its rate gives.
        #[test]
        fn no_window_has_more_than_burst_and_rate(
            rate in 1_u32..5_000,
            pauses in prop::collection::vec(prop_oneof![Just(0_u64), 0_u64..2_000_000, 0_u64..3_000_000_000], 1..400),
        ) {
            let limit = Rate::new(rate).unwrap();
            let (mut now, mut full_at, mut admitted) = (Duration::ZERO, Duration::ZERO, Vec::new());
            for pause in pauses {
                now += Duration::from_nanos(pause);
                match limit.take(full_at, now) {
                    Ok(next) => {
                        full_at = next;
                        admitted.push(now);
                    }
                    Err(wait) => {
                        // Who waits as told is let in, and nobody a moment sooner.
                        prop_assert!(limit.take(full_at, now + wait).is_ok());
                        prop_assert!(limit.take(full_at, now + wait - Duration::from_nanos(1)).is_err());
                    }
                }
            }
            for first in 0..admitted.len() {
                for last in first..admitted.len() {
                    let window = (admitted[last] - admitted[first]).as_nanos();
                    let most = u128::from(rate) * 2 + u128::from(rate) * window / 1_000_000_000 + 1;
                    prop_assert!((last - first + 1) as u128 <= most, "{} of {most} in {window} ns", last - first + 1);
                }
            }
        }

        /// A caller that stays below the rate is never refused.
        #[test]
        fn whoever_keeps_to_the_rate_is_never_refused(rate in 1_u32..5_000, calls in 1_usize..2_000) {
            let limit = Rate::new(rate).unwrap();
            let mut full_at = Duration::ZERO;
            for call in 0..calls {
                let now = limit.interval * u32::try_from(call).unwrap();
                full_at = limit.take(full_at, now).unwrap();
            }
        }
    }
}
