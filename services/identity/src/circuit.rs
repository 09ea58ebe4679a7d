//! Relying parties that do not answer are left alone for a while, so that they take no place from others. Pure.

use std::collections::HashMap;

use domain::{DateTime, TimeDelta, Utc};

/// Calls under way at once to one relying party.
pub const MOST: usize = 16;
/// So many failures in a row open a circuit.
const PATIENCE: u32 = 3;
/// Longest time between two probes: whoever is back is told within it.
const LONGEST: i64 = 60;

/// What is known of relying parties; one that is well is not remembered.
#[derive(Debug, Default)]
pub struct Circuits {
    of: HashMap<String, Circuit>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Circuit {
    under_way: usize,
    failures: u32,
    // Nothing is sent before.
    until: Option<DateTime<Utc>>,
}

impl Circuits {
    /// How many calls to this one may begin now: none while its circuit is open, then one, to see.
    pub fn room(&self, client_id: &str, now: DateTime<Utc>) -> usize {
        let Some(circuit) = self.of.get(client_id) else { return MOST };
        match circuit.until {
            Some(until) if now < until => 0,
            Some(_) => 1_usize.saturating_sub(circuit.under_way),
            None => MOST.saturating_sub(circuit.under_way),
        }
    }

    /// A call begins.
    pub fn begin(&mut self, client_id: &str) {
        self.of.entry(client_id.to_owned()).or_default().under_way += 1;
    }

    /// A call is over; `alive` says that somebody answered who could judge the request.
    pub fn end(&mut self, client_id: &str, alive: bool, now: DateTime<Utc>) {
        let Some(circuit) = self.of.get_mut(client_id) else { return };
        circuit.under_way = circuit.under_way.saturating_sub(1);
        if alive {
            (circuit.failures, circuit.until) = (0, None);
            if circuit.under_way == 0 {
                self.of.remove(client_id);
            }
            return;
        }
        // Calls that were under way when it opened say nothing new.
        if circuit.until.is_none_or(|until| now >= until) {
            circuit.failures = circuit.failures.saturating_add(1);
        }
        if circuit.failures >= PATIENCE {
            let seconds = LONGEST.min(1_i64 << (circuit.failures - PATIENCE).min(10));
            circuit.until = Some(now + TimeDelta::seconds(seconds));
        }
    }

    /// How many circuits are open.
    pub fn open(&self) -> usize {
        self.of.values().filter(|circuit| circuit.until.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    fn call(circuits: &mut Circuits, alive: bool, at: DateTime<Utc>) {
        circuits.begin("shop");
        circuits.end("shop", alive, at);
    }

    #[test]
    fn a_dead_one_is_left_alone_and_seen_to_more_and_more_seldom() {
        let mut circuits = Circuits::default();
        for _ in 0..2 {
            call(&mut circuits, false, now());
            assert_eq!(circuits.room("shop", now()), MOST);
        }
        let mut at = now();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            call(&mut circuits, false, at);
            assert_eq!(circuits.room("shop", at + TimeDelta::seconds(seconds - 1)), 0, "{seconds}");
            at += TimeDelta::seconds(seconds);
            assert_eq!(circuits.room("shop", at), 1);
            assert_eq!(circuits.room("portal", at), MOST);
        }
        assert_eq!(circuits.open(), 1);
        circuits.begin("shop");
        assert_eq!(circuits.room("shop", at), 0, "one probe at a time");
        circuits.end("shop", true, at);
        assert_eq!((circuits.room("shop", at), circuits.open()), (MOST, 0));
    }

    #[test]
    fn calls_that_were_under_way_together_count_until_it_opens() {
        let mut circuits = Circuits::default();
        (0..MOST).for_each(|_| circuits.begin("shop"));
        assert_eq!(circuits.room("shop", now()), 0);
        (0..MOST).for_each(|_| circuits.end("shop", false, now()));
        assert_eq!(circuits.room("shop", now() + TimeDelta::seconds(1)), 1);
    }
}
