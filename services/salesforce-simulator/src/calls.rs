//! The log of calls that the org saw, for tests and for the trace of a demo.

use std::collections::VecDeque;

use serde::Serialize;

/// Calls kept; the oldest go first.
const KEPT: usize = 100_000;

/// One call. Bodies are never kept.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Counts from 1 over the life of the process.
    pub number: u64,
    pub at: String,
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    /// What the org answered, whether or not the client got it.
    pub status: u16,
    /// False when a fault cut the connection instead.
    pub replied: bool,
    pub duration_us: u64,
    /// The client's `x-request-id`, or one made here.
    pub request_id: String,
    /// W3C trace context as it came.
    pub traceparent: Option<String>,
}

/// The last calls.
#[derive(Debug, Default)]
pub struct Calls {
    kept: VecDeque<Call>,
    count: u64,
}

impl Calls {
    /// Adds a call and numbers it.
    pub fn push(&mut self, mut call: Call) {
        self.count += 1;
        call.number = self.count;
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(call);
    }

    #[must_use]
    pub fn kept(&self) -> &VecDeque<Call> {
        &self.kept
    }
}
