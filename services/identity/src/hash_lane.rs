//! Where passwords are hashed: on threads of their own that give way to all others, behind a short queue, so that a flood
//! of logins cannot take the machine from those who are signed in.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use chassis::Metrics;
use tokio::sync::oneshot;

use crate::{
    error::Error,
    hash_queue::{Class, HashQueue, Taken},
    password::{self, HashError, Memory, Password},
};

/// Threads of the lane leave the processor to those of tokens and pages.
const NICENESS: i32 = 10;

/// The lane; clones share it. Its threads end when the last one is gone.
#[derive(Clone)]
pub struct HashLane(Arc<Owner>);

struct Owner(Arc<Lane>);

struct Lane {
    state: Mutex<State>,
    more: Condvar,
    metrics: Metrics,
}

struct State {
    queue: HashQueue<Work>,
    is_closed: bool,
}

type Work = Box<dyn FnOnce(&mut Memory) + Send>;

impl HashLane {
    /// A lane of so many threads, at least one.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(threads: usize, metrics: Metrics) -> io::Result<Self> {
        let threads = threads.max(1);
        let state = Mutex::new(State { queue: HashQueue::new(threads), is_closed: false });
        let owner = Owner(Arc::new(Lane { state, more: Condvar::new(), metrics }));
        for number in 0..threads {
            let lane = owner.0.clone();
            thread::Builder::new().name(format!("hash {number}")).spawn(move || lane.work())?;
        }
        tracing::info!(threads, backend = password::backend(), "hash lane started");
        Ok(Self(Arc::new(owner)))
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full.
    pub async fn hash(&self, class: Class, password: Password, pepper: Vec<u8>) -> Result<String, Error> {
        self.run(class, move |memory| password::hash(&password, &pepper, memory)).await
    }

    /// Whether a password has this hash.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full; a damaged hash.
    pub async fn verify(
        &self,
        class: Class,
        password: Password,
        phc: String,
        pepper: Vec<u8>,
    ) -> Result<bool, Error> {
        self.run(class, move |memory| password::verify(&password, &phc, &pepper, memory)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        class: Class,
        work: impl FnOnce(&mut Memory) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |memory| {
            // Nobody may be waiting any more.
            let _ = reply.send(work(memory));
        });
        let _place = self.0.0.enter(class, work).ok_or(Error::Busy)?;
        // Refused later, for somebody of a higher class: the work was dropped, and `reply` with it.
        Ok(answer.await.map_err(|_| Error::Busy)??)
    }
}

// A place in the queue, given up when the request is dropped while it waits.
struct Place<'a> {
    lane: &'a Lane,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.lane.lock().queue.leave(self.id);
        if left.is_some() {
            self.lane.count("left", 1);
            self.lane.show();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.more.notify_all();
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, class: Class, work: Work) -> Option<Place<'_>> {
        let entered = self.lock().queue.enter(class, work, Instant::now());
        self.more.notify_one();
        self.count("refused", u64::from(entered.refused.is_some()));
        self.show();
        entered.id.map(|id| Place { lane: self, id })
    }

    // A thread's life.
    fn work(&self) {
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::warn!(error = &error as &dyn std::error::Error, "hash thread keeps its priority");
        }
        let mut memory = Memory::new();
        while let Some((work, waited)) = self.next() {
            let began = Instant::now();
            if catch_unwind(AssertUnwindSafe(|| work(&mut memory))).is_err() {
                tracing::error!("a hash panicked");
            }
            self.note(began.elapsed(), waited);
        }
    }

    // Waits for work; none when nobody can bring any more.
    fn next(&self) -> Option<(Work, Duration)> {
        let mut state = self.lock();
        loop {
            let Taken { work, overdue } = state.queue.take(Instant::now());
            if !overdue.is_empty() || work.is_some() {
                drop(state);
                self.count("overdue", overdue.len() as u64);
                self.show();
                // Whoever still waits hears of it by the end of the channel.
                drop(overdue);
                if work.is_some() {
                    return work;
                }
                state = self.lock();
            } else if state.is_closed {
                return None;
            } else {
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn note(&self, took: Duration, waited: Duration) {
        let cost = {
            let mut state = self.lock();
            state.queue.note(took);
            state.queue.cost()
        };
        self.count("done", 1);
        let counters = [
            ("identity_hash_milliseconds", "Time that password hashes took.", took),
            ("identity_hash_wait_milliseconds", "Time that password hashes waited.", waited),
        ];
        for (name, help, time) in counters {
            self.metrics.add(name, help, &[], u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        }
        let help = "What a password hash costs, on the average of the last ones.";
        self.metrics.set("identity_hash_cost_seconds", help, &[], cost.as_secs_f64());
    }

    fn count(&self, outcome: &'static str, by: u64) {
        let help =
            "Password hashes that were done, refused, left by their request, or overtaken for too long.";
        self.metrics.add("identity_hashes", help, &[("outcome", outcome)], by);
    }

    fn show(&self) {
        let depth = self.lock().queue.depth();
        let depth = f64::from(u32::try_from(depth).unwrap_or(u32::MAX));
        self.metrics.set("identity_hash_queue", "Password hashes that wait.", &[], depth);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Weak, mpsc};

    use super::*;

    fn lane(threads: usize) -> HashLane {
        HashLane::start(threads, Metrics::new()).unwrap()
    }

    // Holds the only thread until the sender is dropped.
    async fn blocked(lane: &HashLane) -> mpsc::Sender<()> {
        let ((hold, held), (started, began)) = (mpsc::channel::<()>(), oneshot::channel());
        let busy = lane.clone();
        tokio::spawn(async move {
            let work = move |_: &mut Memory| {
                let _ = started.send(());
                let _ = held.recv();
                Ok(())
            };
            busy.run(Class::Normal, work).await
        });
        began.await.unwrap();
        hold
    }

    fn depth(lane: &HashLane) -> usize {
        lane.0.0.lock().queue.depth()
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let wait = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn passwords_are_hashed_and_verified() {
        let lane = lane(2);
        let password = || Password::entered("correct horse").unwrap();
        let phc = lane.hash(Class::Normal, password(), b"pepper".to_vec()).await.unwrap();
        assert!(lane.verify(Class::Normal, password(), phc.clone(), b"pepper".to_vec()).await.unwrap());
        assert!(!lane.verify(Class::StepUp, password(), phc, vec![]).await.unwrap());
        // The thread counts after it has answered.
        until(|| lane.0.0.metrics.encode().contains("identity_hashes_total{outcome=\"done\"} 3")).await;
        let figures = lane.0.0.metrics.encode();
        assert!(figures.contains("identity_hash_queue{} 0.0"), "{figures}");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_lets_the_better_in() {
        let lane = lane(1);
        let hold = blocked(&lane).await;
        // So slow that the queue has one place.
        for _ in 0..100 {
            lane.0.0.lock().queue.note(Duration::from_secs(60));
        }
        let enter = |class, number| {
            let lane = lane.clone();
            tokio::spawn(async move { lane.run(class, move |_| Ok(number)).await })
        };
        let first = enter(Class::Normal, 1);
        until(|| depth(&lane) == 1).await;
        assert!(matches!(lane.run(Class::Normal, |_| Ok(2)).await, Err(Error::Busy)));
        let better = enter(Class::StepUp, 3);
        // It has the place before the thread is free to take anybody.
        assert!(matches!(first.await.unwrap(), Err(Error::Busy)));
        drop(hold);
        assert_eq!(better.await.unwrap().unwrap(), 3);
        assert_eq!(lane.run(Class::Throttled, |_| Ok(4)).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_leaves_the_queue() {
        let lane = lane(1);
        let hold = blocked(&lane).await;
        let waiting = lane.clone();
        let dropped = tokio::spawn(async move { waiting.run(Class::Normal, |_| Ok(())).await });
        until(|| depth(&lane) == 1).await;
        dropped.abort();
        until(|| depth(&lane) == 0).await;
        drop(hold);
        lane.run(Class::Normal, |_| Ok(())).await.unwrap();
        assert!(lane.0.0.metrics.encode().contains("identity_hashes_total{outcome=\"left\"} 1"));
    }

    #[tokio::test]
    async fn threads_are_nice_outlive_a_panic_and_end_with_the_lane() {
        let lane = lane(1);
        let panicked = lane.run(Class::Normal, |_| -> Result<(), HashError> { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(Error::Busy)));
        let niceness =
            lane.run(Class::Normal, |_| Ok(rustix::process::getpriority_process(None))).await.unwrap();
        assert_eq!(niceness, Ok(NICENESS));
        assert_eq!(rustix::process::getpriority_process(None), Ok(0), "this thread is as it was");
        let shared: Weak<Lane> = Arc::downgrade(&lane.0.0);
        drop(lane);
        until(|| shared.strong_count() == 0).await;
    }
}
