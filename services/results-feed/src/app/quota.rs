use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{Buckets, Metrics, Rate};

/// So many publishers are told apart: a megabyte or so.
const MOST: usize = 10_000;

/// How often one publisher may send, so that the others keep their share. Each replica counts its own; clones share it.
#[derive(Clone)]
pub struct Quota(Arc<Shares>);

struct Shares {
    began: Instant,
    publishers: Option<Buckets<String>>,
    metrics: Metrics,
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quota").finish_non_exhaustive()
    }
}

impl Quota {
    /// `rate` documents a second for each publisher, and twice as many at once; 0 is no limit.
    pub fn new(rate: u32, metrics: &Metrics) -> Self {
        let publishers = Rate::new(rate).map(|rate| Buckets::new(rate, MOST));
        let shares = Shares { began: Instant::now(), publishers, metrics: metrics.clone() };
        shares.count(0);
        Self(Arc::new(shares))
    }

    /// Takes a document of a publisher.
    ///
    /// # Errors
    /// One too many: how long it takes until there is room again.
    pub fn take(&self, publisher: &str) -> Result<(), Duration> {
        let Some(publishers) = &self.0.publishers else { return Ok(()) };
        publishers.take(publisher, self.0.began.elapsed()).inspect_err(|_| self.0.count(1))
    }
}

impl Shares {
    fn count(&self, by: u64) {
        let help = "Documents refused because their publisher sends too many";
        self.metrics.add("results_documents_over_quota", help, &[], by);
    }
}
