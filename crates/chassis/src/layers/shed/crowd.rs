use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use super::pressure::{Entry, Pressure, Probe};
use crate::{Metrics, semconv};

/// A probe that waits longer has seen enough.
const ENOUGH: Duration = Duration::from_millis(100);

/// How the figures call what has a place here.
pub(super) const KIND: &str = "unary";

/// The unary calls of one component: they share its pool, so they wait for one another, and for no others but at the
/// processor.
#[derive(Clone)]
pub(crate) struct Crowd(Arc<Inner>);

struct Inner {
    service: &'static str,
    pool: Option<PgPool>,
    metrics: Metrics,
    began: Instant,
    pressure: Mutex<Pressure>,
}

/// A call's place, until it is dropped.
pub(super) struct Place(Crowd);

impl Crowd {
    pub(crate) fn new(service: &'static str, pool: Option<PgPool>, metrics: &Metrics) -> Self {
        let crowd = Self(Arc::new(Inner {
            service,
            pool,
            metrics: metrics.clone(),
            began: Instant::now(),
            pressure: Mutex::new(Pressure::new()),
        }));
        crowd.tell(crowd.pressure().limit());
        crowd
    }

    pub(super) fn place(&self) -> Option<Place> {
        let entry = self.pressure().enter(self.0.began.elapsed());
        match entry {
            Entry::Refused => {
                super::count(&self.0.metrics, KIND, 1);
                return None;
            }
            Entry::Admitted => {}
            Entry::Probed(probe) => self.probe(probe),
        }
        Some(Place(self.clone()))
    }

    fn probe(&self, probe: Probe) {
        let (crowd, asked) = (self.clone(), Instant::now());
        tokio::spawn(async move {
            let _ = timeout(ENOUGH, crowd.queue()).await;
            let (before, after) = {
                let mut pressure = crowd.pressure();
                let before = pressure.limit();
                pressure.waited(crowd.0.began.elapsed(), probe, asked.elapsed());
                (before, pressure.limit())
            };
            if after != before {
                crowd.tell(after);
            }
        });
    }

    // What a call waits for. A new task runs next, before all who wait, so it goes to the end of the queue first.
    async fn queue(&self) {
        yield_now().await;
        if let Some(pool) = &self.0.pool {
            drop(pool.acquire().await);
        }
    }

    fn tell(&self, limit: usize) {
        let help = "Unary calls that may run at once; it falls while they wait for one another";
        self.0.metrics.set(semconv::CALLS_LIMIT, help, &[("service", self.0.service)], limit as f64);
    }

    fn pressure(&self) -> MutexGuard<'_, Pressure> {
        self.0.pressure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.pressure().leave();
    }
}
