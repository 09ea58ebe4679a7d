//! Calls in the two ways that callers come: at a rate, whatever becomes of them, and as many at once as there are callers.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What became of one call: an answer, or how it failed.
pub type Outcome = Result<(), String>;

/// What became of all.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Times of the answered calls.
    pub answered: Vec<Duration>,
    /// Times of the others, by how they failed.
    pub failed: BTreeMap<String, Vec<Duration>>,
    /// When the last failure was, from the first call on: what was going on then explains it.
    pub failed_at: Vec<Duration>,
    /// From the first call to the last answer.
    pub took: Duration,
}

impl Seen {
    pub fn failures(&self) -> usize {
        self.failed.values().map(Vec::len).sum()
    }

    /// Answered calls a second.
    pub fn rate(&self) -> f64 {
        self.answered.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    pub fn p99(&self) -> Duration {
        quantile(&self.answered, 0.99)
    }

    fn note(&mut self, outcome: Outcome, took: Duration, at: Duration) {
        match outcome {
            Ok(()) => self.answered.push(took),
            Err(how) => {
                self.failed.entry(how).or_default().push(took);
                self.failed_at.push(at);
            }
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |times: &[Duration]| {
            format!(
                "p50 {:?}, p99 {:?}, longest {:?}",
                quantile(times, 0.5),
                quantile(times, 0.99),
                quantile(times, 1.0)
            )
        };
        write!(
            f,
            "{} calls answered in {:.1} s ({:.0}/s): {}",
            self.answered.len(),
            self.took.as_secs_f32(),
            self.rate(),
            of(&self.answered)
        )?;
        for (how, times) in &self.failed {
            write!(f, "\n   {} failed, {}: {how}", times.len(), of(times))?;
        }
        if let (Some(first), Some(last)) = (self.failed_at.iter().min(), self.failed_at.iter().max()) {
            write!(f, "\n   failures from {first:.1?} to {last:.1?} after the first call")?;
        }
        Ok(())
    }
}

/// The time that this part of the calls took at most, to the tenth of a millisecond.
pub fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length is a place in it"
    )]
    let at = (sorted.len() as f64 * part).ceil() as usize;
    let time = sorted.get(at.saturating_sub(1)).copied().unwrap_or_default();
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / 100 * 100)
}

/// Calls at a rate, in a task of their own, until [`Load::end`]. A slow answer does not hold the next call up.
pub struct Load {
    enough: CancellationToken,
    running: JoinHandle<Seen>,
}

impl Load {
    pub fn begin<F>(rate: u32, call: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let enough = CancellationToken::new();
        let running = tokio::spawn(open_loop(rate, enough.clone(), call));
        Self { enough, running }
    }

    pub async fn end(self) -> Seen {
        self.enough.cancel();
        self.running.await.unwrap()
    }
}

async fn open_loop<F>(rate: u32, enough: CancellationToken, call: impl Fn() -> F) -> Seen
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Seen::default()));
    let calls = TaskTracker::new();
    let mut turn = interval(Duration::from_secs(1) / rate);
    turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    loop {
        tokio::select! {
            () = enough.cancelled() => break,
            _ = turn.tick() => {}
        }
        let (seen, call) = (Arc::clone(&seen), call());
        calls.spawn(async move {
            let at = Instant::now();
            let outcome = call.await;
            seen.lock().unwrap().note(outcome, at.elapsed(), at - begun);
        });
    }
    calls.close();
    calls.wait().await;
    finish(&seen, begun)
}

/// So many callers, each with its next call as soon as the last one is answered.
pub async fn closed_loop<F>(callers: usize, time: Duration, call: impl Fn() -> F) -> Seen
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Seen::default()));
    let begun = Instant::now();
    let one = async || {
        while begun.elapsed() < time {
            let at = Instant::now();
            let outcome = call().await;
            seen.lock().unwrap().note(outcome, at.elapsed(), at - begun);
        }
    };
    futures::future::join_all((0..callers).map(|_| one())).await;
    finish(&seen, begun)
}

/// Calls at a rate for a time.
pub async fn open_loop_for<F>(rate: u32, time: Duration, call: impl Fn() -> F + Send + 'static) -> Seen
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let load = Load::begin(rate, call);
    sleep(time).await;
    load.end().await
}

fn finish(seen: &Mutex<Seen>, begun: Instant) -> Seen {
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.took = begun.elapsed();
    seen
}

#[test]
fn a_quantile_is_a_time_that_was_seen() {
    let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
    assert_eq!(quantile(&times, 0.99), Duration::from_millis(198));
    assert_eq!(quantile(&times, 1.0), Duration::from_millis(200));
    assert_eq!(quantile(&[], 0.5), Duration::ZERO);
}
