//! Rows that were sent before, sent again because their topic lost them.

use chrono::NaiveDate;

use crate::{
    Error,
    lease::{Lease, Row},
    planner::Mark,
    producer::{Producer, Sent},
};

/// A topic that is being sent again, page by page. Meanwhile nothing else is read, so that what comes later goes out
/// later. A leader that ends in the middle leaves it to its successor, which begins anew.
#[derive(Debug)]
pub(crate) struct Resend {
    topic: String,
    // Where the next page begins; none behind the last day.
    from: Option<(NaiveDate, i64)>,
    last: NaiveDate,
    // What comes behind was not read yet, and comes by itself.
    up_to: Mark,
    unacked: usize,
    // From before the lowest to the highest mark of the present page.
    page: Option<(Mark, Mark)>,
    rows: usize,
}

impl Resend {
    /// What an operator asked for, if anything.
    pub(crate) async fn begin(lease: &mut Lease, up_to: Mark) -> Result<Option<Self>, Error> {
        let Some(asked) = lease.asked().await? else { return Ok(None) };
        tracing::warn!(topic = asked.topic, "sending a topic's rows again, as an operator asked");
        let from = asked.days.map(|(first, _)| (first, 0));
        let last = asked.days.map_or(NaiveDate::MIN, |(_, last)| last);
        Ok(Some(Self { topic: asked.topic, from, last, up_to, unacked: 0, page: None, rows: 0 }))
    }

    pub(crate) fn acknowledged(&mut self) {
        self.unacked -= 1;
    }

    /// Records that Kafka has not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        self.unacked
    }

    /// The range of what may still get to Kafka, for a fence.
    pub(crate) fn on_its_way(&self) -> Option<(Mark, Mark)> {
        self.page.filter(|_| self.unacked > 0)
    }

    /// Sends the next page once Kafka has the last one. True when Kafka has all of it.
    pub(crate) async fn go_on(&mut self, lease: &mut Lease, producer: &mut Producer) -> Result<bool, Error> {
        if self.unacked > 0 {
            return Ok(false);
        }
        // A key's rows are of ascending days, as they are of ascending numbers.
        while let Some((day, seq)) = self.from {
            let rows = lease.page_again(&self.topic, (day, seq), self.up_to).await?;
            let Some(last) = rows.last() else {
                self.from = day.succ_opt().filter(|next| *next <= self.last).map(|next| (next, 0));
                continue;
            };
            self.from = Some((day, last.seq));
            self.page = range(&rows);
            for row in &rows {
                producer.send(row, Sent::Again).await?;
                self.unacked += 1;
            }
            self.rows += rows.len();
            return Ok(false);
        }
        lease.sent_again(&self.topic).await?;
        tracing::info!(topic = self.topic, rows = self.rows, "a topic's rows are sent again");
        Ok(true)
    }
}

// Rows come by number, and marks go by position.
fn range(rows: &[Row]) -> Option<(Mark, Mark)> {
    let marks = rows.iter().map(Row::mark);
    let lowest = marks.clone().min()?;
    Some((Mark { seq: lowest.seq - 1, ..lowest }, marks.max()?))
}
