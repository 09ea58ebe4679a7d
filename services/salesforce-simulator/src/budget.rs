//! The org's daily allocations: REST calls and internal Bulk batches, in windows of 24 h of the org's clock.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value as Json, json};

use crate::refusal::Refusal;

/// Counters of the running window.
#[derive(Debug)]
pub struct Budget {
    began: DateTime<Utc>,
    calls: u64,
    batches: u64,
    max_calls: u64,
    max_batches: u64,
}

impl Budget {
    #[must_use]
    pub fn new(now: DateTime<Utc>, max_calls: u64, max_batches: u64) -> Self {
        Self { began: now, calls: 0, batches: 0, max_calls, max_batches }
    }

    /// Counts one call.
    ///
    /// # Errors
    /// `REQUEST_LIMIT_EXCEEDED`, status 403, when the day's calls are spent.
    pub fn spend_call(&mut self, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.roll(now);
        if self.calls >= self.max_calls {
            let message = "TotalRequests Limit exceeded.";
            return Err(Refusal::new(::http::StatusCode::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", message));
        }
        self.calls += 1;
        Ok(())
    }

    /// Counts the internal batches of a closed job.
    ///
    /// # Errors
    /// `EXCEEDEDQUOTA` when the day's batches do not cover them; nothing is then counted.
    pub fn spend_batches(&mut self, now: DateTime<Utc>, batches: u64) -> Result<(), Refusal> {
        self.roll(now);
        let spent = self.batches.saturating_add(batches);
        if spent > self.max_batches {
            return Err(Refusal::bad_request("EXCEEDEDQUOTA", "ApiBatchItems Limit exceeded."));
        }
        self.batches = spent;
        Ok(())
    }

    /// Spends calls on behalf of other clients of the org.
    pub fn spent_by_others(&mut self, calls: u64) {
        self.calls = self.calls.saturating_add(calls).min(self.max_calls);
    }

    /// Value of `Sforce-Limit-Info`.
    #[must_use]
    pub fn header(&self) -> String {
        format!("api-usage={}/{}", self.calls, self.max_calls)
    }

    /// `GET /limits`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let limit = |max: u64, spent: u64| json!({ "Max": max, "Remaining": max.saturating_sub(spent) });
        json!({
            "DailyApiRequests": limit(self.max_calls, self.calls),
            "DailyBulkApiBatches": limit(self.max_batches, self.batches),
            "DailyBulkV2QueryJobs": limit(10_000, 0),
            "DailyBulkV2QueryFileStorageMB": limit(976_562, 0),
        })
    }

    fn roll(&mut self, now: DateTime<Utc>) {
        if now - self.began >= TimeDelta::hours(24) {
            (self.began, self.calls, self.batches) = (now, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_day_refuses_until_the_next() {
        let start = DateTime::from_timestamp(0, 0).unwrap();
        let mut budget = Budget::new(start, 2, 1);
        budget.spend_call(start).unwrap();
        budget.spent_by_others(9);
        assert_eq!(budget.header(), "api-usage=2/2");
        assert_eq!(budget.spend_call(start).unwrap_err().code, "REQUEST_LIMIT_EXCEEDED");
        assert_eq!(budget.spend_batches(start, 2).unwrap_err().code, "EXCEEDEDQUOTA");
        budget.spend_batches(start, 1).unwrap();
        let next = start + TimeDelta::hours(24);
        budget.spend_call(next).unwrap();
        assert_eq!(budget.header(), "api-usage=1/2");
    }
}
