use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So long what another instance counted may stay unknown here.
const LIFE: Duration = Duration::from_secs(1);
/// Beyond it everything is looked up again.
const MOST: usize = 20_000;

/// Callers without a counter that makes them wait, as it was a moment ago: most of them have no row at all, and a busy one
/// would be looked up a thousand times a second.
#[derive(Clone, Default)]
pub struct Quiet(Arc<Mutex<HashMap<Vec<u8>, Instant>>>);

impl Quiet {
    /// Whether this caller was seen to be so a moment ago.
    pub fn is_known(&self, caller: &[u8]) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(caller).is_some_and(|at| at.elapsed() < LIFE)
    }

    /// Notes that nothing makes this caller wait.
    pub fn note(&self, caller: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(caller.to_vec(), Instant::now());
    }

    /// A failure of this caller was counted.
    pub fn forget(&self, caller: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_quiet_until_it_fails() {
        let quiet = Quiet::default();
        assert!(!quiet.is_known(b"shop"));
        quiet.note(b"shop");
        assert!(quiet.is_known(b"shop") && !quiet.is_known(b"forum"));
        quiet.forget(b"shop");
        assert!(!quiet.is_known(b"shop"));
    }
}
