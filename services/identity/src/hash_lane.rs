//! Where passwords are hashed: few at a time, a short queue, and a refusal beyond it, so that a flood of logins cannot
//! take the machine from those who are signed in.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{sync::Semaphore, task};

use crate::{
    error::Error,
    password::{self, HashError, Memory, Password},
};

/// Waiting hashes a thread: about two seconds of work at 25 ms a hash.
const QUEUE: usize = 80;

/// The lane; clones share it.
#[derive(Debug, Clone)]
pub struct HashLane {
    running: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    most: usize,
    memories: Arc<Mutex<Vec<Memory>>>,
}

// Leaves the count right also when the request is dropped while it waits.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HashLane {
    /// A lane of so many threads, at least one.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            running: Arc::new(Semaphore::new(threads)),
            inside: Arc::new(AtomicUsize::new(0)),
            most: threads * (1 + QUEUE),
            memories: Arc::new(Mutex::new(Vec::new())),
        }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full.
    pub async fn hash(&self, password: Password, pepper: Vec<u8>) -> Result<String, Error> {
        self.run(move |memory| password::hash(&password, &pepper, memory)).await
    }

    /// Whether a password has this hash.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full; a damaged hash.
    pub async fn verify(&self, password: Password, phc: String, pepper: Vec<u8>) -> Result<bool, Error> {
        self.run(move |memory| password::verify(&password, &phc, &pepper, memory)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Error> {
        if self.inside.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.inside.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Busy);
        }
        let place = Place(self.inside.clone());
        let permit = self.running.clone().acquire_owned().await.map_err(|_| Error::Busy)?;
        let memories = self.memories.clone();
        let result = task::spawn_blocking(move || {
            let _held = (permit, place);
            let kept = memories.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut memory = kept.unwrap_or_default();
            let result = work(&mut memory);
            memories.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            result
        });
        Ok(result.await.map_err(|_| Error::Busy)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_refuses_and_then_recovers() {
        let lane = HashLane { most: 1, ..HashLane::new(1) };
        let password = || Password::entered("correct horse").unwrap();
        let hash = |lane: HashLane| async move { lane.hash(password(), vec![]).await };
        let (first, second) = tokio::join!(hash(lane.clone()), hash(lane.clone()));
        assert!(first.is_ok());
        assert!(matches!(second, Err(Error::Busy)));
        let phc = hash(lane.clone()).await.unwrap();
        assert!(lane.verify(password(), phc, vec![]).await.unwrap());
    }
}
