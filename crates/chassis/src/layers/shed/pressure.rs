use std::time::Duration;

/// Calls that run at once, at most.
const MOST: usize = 256;
/// So many run however long they wait: where few fit, a limit would tell nothing but noise.
const LEAST: usize = 16;
/// A call may wait so long for the processor and for a connection of the database. It is short beside every deadline, and
/// long enough that neither idles.
const TARGET: Duration = Duration::from_millis(5);
/// Between two probes.
const APART: Duration = Duration::from_millis(5);
/// So many probes in a row waited too long: fewer are a burst, which passes by itself.
const STANDING: u32 = 5;
/// Between two steps up.
const STEP: Duration = Duration::from_millis(50);
/// Without a probe for so long, what was learnt is old.
const OLD: Duration = Duration::from_secs(1);

/// How many calls may run at once. A fixed limit is wrong for somebody: as many as may wait for another service are, where
/// the processor is what lacks, a queue that all stand in. So the limit follows the queue itself: probes go the way of a call
/// and tell how long they waited. How long a call takes says nothing, as one method's usual is another one's standstill.
///
/// By Little's law the wait grows with the calls that run, so a standing queue is cut at once to the part that waits no
/// longer than [`TARGET`]; it grows again in small steps. A burst of [`MOST`] passes.
///
/// Pure: times are since any beginning.
pub(super) struct Pressure {
    limit: usize,
    running: usize,
    probed_at: Option<Duration>,
    too_long: u32,
    grown_at: Duration,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Refused,
    Admitted,
    /// Admitted, and it is time for a probe.
    Probed(Probe),
}

/// A look at the queue, on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// The calls that ran when it began.
    among: usize,
}

impl Pressure {
    pub(super) const fn new() -> Self {
        Self { limit: MOST, running: 0, probed_at: None, too_long: 0, grown_at: Duration::ZERO }
    }

    /// A call comes. Unless it is refused, [`Pressure::leave`] follows.
    pub(super) fn enter(&mut self, now: Duration) -> Entry {
        if self.probed_at.is_some_and(|at| now.saturating_sub(at) >= OLD) {
            (self.limit, self.too_long) = (MOST, 0);
        }
        if self.running >= self.limit {
            return Entry::Refused;
        }
        self.running += 1;
        if self.running < LEAST || self.probed_at.is_some_and(|at| now.saturating_sub(at) < APART) {
            return Entry::Admitted;
        }
        self.probed_at = Some(now);
        Entry::Probed(Probe { among: self.running })
    }

    /// A call has ended.
    pub(super) const fn leave(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// A probe is back.
    pub(super) fn waited(&mut self, now: Duration, probe: Probe, wait: Duration) {
        if wait > TARGET {
            self.too_long += 1;
            if self.too_long >= STANDING {
                let part = TARGET.as_nanos() * probe.among as u128 / wait.as_nanos();
                self.limit = usize::try_from(part).unwrap_or(MOST).clamp(LEAST, MOST);
                self.grown_at = now;
            }
            return;
        }
        self.too_long = 0;
        if now.saturating_sub(self.grown_at) >= STEP {
            self.limit = (self.limit + (self.limit / 32).max(1)).min(MOST);
            self.grown_at = now;
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests;
