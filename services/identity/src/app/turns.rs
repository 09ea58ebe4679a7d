//! One at a time for each key. Guesses side by side would all be judged by the counter of before.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many wait for one key at most.
const MOST: usize = 4;

type Lines = HashMap<Vec<u8>, Line>;

/// The keys that are in use; clones share them. As many entries as requests in progress.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Line {
    gate: Arc<Semaphore>,
    inside: usize,
}

/// A key in use, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    // In this order: the next one enters before the line may go.
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

#[derive(Debug)]
struct Place {
    turns: Turns,
    key: Vec<u8>,
}

impl Turns {
    /// Waits until the key is free. Nothing when too many wait already.
    pub async fn take(&self, key: &[u8]) -> Option<Turn> {
        let gate = self.enter(key)?;
        let place = Place { turns: self.clone(), key: key.to_vec() };
        // The gate is never closed.
        let permit = gate.acquire_owned().await.ok()?;
        Some(Turn { _permit: permit, _place: place })
    }

    fn enter(&self, key: &[u8]) -> Option<Arc<Semaphore>> {
        let mut lines = self.lock();
        let line = lines
            .entry(key.to_vec())
            .or_insert_with(|| Line { gate: Arc::new(Semaphore::new(1)), inside: 0 });
        if line.inside > MOST {
            return None;
        }
        line.inside += 1;
        Some(line.gate.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lock();
        if let Some(line) = lines.get_mut(&self.key) {
            line.inside -= 1;
            if line.inside == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_key_is_used_by_one_at_a_time_and_others_go_on() {
        let (turns, inside) = (Turns::default(), Arc::new(AtomicUsize::new(0)));
        let one = |key: &'static [u8]| {
            let (turns, inside) = (turns.clone(), inside.clone());
            async move {
                let Some(_turn) = turns.take(key).await else { return false };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                true
            }
        };
        let all: Vec<_> = (0..5).map(|_| tokio::spawn(one(b"alice"))).collect();
        for task in all {
            assert!(task.await.unwrap());
        }
        let _held = turns.take(b"alice").await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), turns.take(b"bob")).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_long_line_refuses_and_nothing_is_left_of_it() {
        let turns = Turns::default();
        let held = turns.take(b"alice").await.unwrap();
        let waiting: Vec<_> = (0..MOST)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take(b"alice").await.is_some() })
            })
            .collect();
        while turns.lock()[b"alice".as_slice()].inside <= MOST {
            tokio::task::yield_now().await;
        }
        assert!(turns.take(b"alice").await.is_none());
        // Who goes away while waiting gives the place up.
        waiting[0].abort();
        while turns.lock()[b"alice".as_slice()].inside > MOST {
            tokio::task::yield_now().await;
        }
        drop(held);
        for task in waiting.into_iter().skip(1) {
            assert!(task.await.unwrap());
        }
        assert!(turns.lock().is_empty());
    }
}
