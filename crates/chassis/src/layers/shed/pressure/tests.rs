use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;

/// One server, and a queue in the order of coming.
struct World {
    pressure: Pressure,
    now: Duration,
    free_at: Duration,
    due: BinaryHeap<Reverse<(Duration, Due)>>,
    /// How long the admitted calls took.
    took: Vec<Duration>,
    refused: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Left,
    Waited { among: usize, wait: Duration },
}

const MILLISECOND: Duration = Duration::from_millis(1);

impl World {
    fn new() -> Self {
        Self {
            pressure: Pressure::new(),
            now: Duration::ZERO,
            free_at: Duration::ZERO,
            due: BinaryHeap::new(),
            took: Vec::new(),
            refused: 0,
        }
    }

    /// Calls that come so far apart and need so much of the server, and after it wait so long for another service.
    fn calls(&mut self, count: u32, apart: Duration, work: Duration, elsewhere: Duration) {
        for _ in 0..count {
            self.until(self.now + apart);
            let wait = self.free_at.saturating_sub(self.now);
            match self.pressure.enter(self.now) {
                Entry::Refused => {
                    self.refused += 1;
                    continue;
                }
                Entry::Admitted => {}
                Entry::Probed(Probe { among }) => {
                    self.due.push(Reverse((self.now + wait, Due::Waited { among, wait })));
                }
            }
            self.free_at = self.now + wait + work;
            self.took.push(wait + work + elsewhere);
            self.due.push(Reverse((self.free_at + elsewhere, Due::Left)));
        }
    }

    fn until(&mut self, now: Duration) {
        while let Some(Reverse((at, _))) = self.due.peek()
            && *at <= now
        {
            match self.due.pop() {
                Some(Reverse((_, Due::Left))) => self.pressure.leave(),
                Some(Reverse((at, Due::Waited { among, wait }))) => {
                    self.pressure.waited(at, Probe { among }, wait);
                }
                None => {}
            }
        }
        self.now = now;
    }

    fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

#[test]
fn twice_the_load_leaves_a_short_queue_and_a_busy_server() {
    // A call needs 0.2 ms, so 5,000 a second can be borne, and 10,000 come; at a tenth of that speed it is the same.
    for work in [MILLISECOND / 5, MILLISECOND * 2] {
        let mut world = World::new();
        let count = 100_000;
        world.calls(count, work / 2, work, Duration::ZERO);
        let busy = world.took.len() as f64 * work.as_secs_f64() / world.now.as_secs_f64();
        assert!(busy > 0.97, "{work:?}: the server idles, {busy}");
        let most = TARGET.mul_f64(1.7).max(work * u32::try_from(LEAST).unwrap());
        assert!(world.p99() <= most, "{work:?}: {:?}", world.p99());
    }
}

#[test]
fn a_burst_passes_whole() {
    let mut world = World::new();
    for _ in 0..100 {
        world.calls(256, Duration::ZERO, MILLISECOND / 5, Duration::ZERO);
        world.until(world.now + MILLISECOND * 200);
    }
    assert_eq!(world.refused, 0);
}

#[test]
fn calls_that_wait_elsewhere_are_no_queue() {
    let mut world = World::new();
    // 200 at once.
    world.calls(10_000, MILLISECOND * 5, MILLISECOND, Duration::from_secs(1));
    assert_eq!(world.refused, 0);
    // 500 at once: more than the process takes in.
    world.calls(10_000, MILLISECOND * 2, MILLISECOND, Duration::from_secs(1));
    assert!(world.refused > 0);
    assert_eq!(world.pressure.limit(), MOST);
}

#[test]
fn a_full_house_is_forgotten_when_it_is_over() {
    let mut world = World::new();
    world.calls(10_000, MILLISECOND / 10, MILLISECOND / 5, Duration::ZERO);
    assert!(world.pressure.limit() < 100);
    let refused = world.refused;
    // Few calls, none of which probes.
    world.calls(2_000, MILLISECOND, MILLISECOND / 5, Duration::ZERO);
    world.until(world.now + MILLISECOND);
    world.calls(256, Duration::ZERO, MILLISECOND / 5, Duration::ZERO);
    assert_eq!(world.refused, refused);
}

#[test]
fn a_standstill_leaves_the_least() {
    let mut world = World::new();
    // Nothing is ever answered, as when the database hangs; the shell ends a probe after a while.
    for at in 0..1_000_u32 {
        let now = MILLISECOND * at;
        if let Entry::Probed(probe) = world.pressure.enter(now) {
            world.pressure.waited(now + MILLISECOND * 100, probe, MILLISECOND * 100);
        }
    }
    assert_eq!(world.pressure.limit(), LEAST);
    assert_eq!(world.pressure.enter(MILLISECOND * 1_001), Entry::Refused);
}
