use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes of entries and encoded frames that the rings of a process hold together.
const LARGEST: usize = 256 << 20;

/// What all rings of a process hold, counted.
#[derive(Debug, Default)]
pub struct Budget(AtomicUsize);

impl Budget {
    /// Something more is held.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is no longer held.
    pub fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that are held.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether the oldest must go.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used() > LARGEST
    }
}
