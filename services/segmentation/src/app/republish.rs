use domain::{SegmentId, Service};
use outbox::StatePage;

use super::App;
use crate::{
    Error, events,
    segment::{Segment, State},
    store,
};

/// Segments of a transaction: their rows are locked meanwhile.
const PAGE: i64 = 200;

impl App {
    /// Tells the states of the next segments again. Each is locked first, so that no older one comes behind a newer one.
    pub async fn republish_segments(&self, after: Option<SegmentId>) -> Result<StatePage, Error> {
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        let segments = store::lock_page(&mut tx, after, PAGE).await?;
        for segment in &segments {
            let fact = events::segment_changed(segment, last_change(segment), now);
            outbox::append(&mut tx, Service::Segmentation, &fact).await?;
        }
        tx.commit().await?;
        let last = segments.last().map(|segment| segment.segment_id.to_string());
        Ok(StatePage { states: segments.len(), last })
    }
}

// What led to the present state; readers act on the state alone.
const fn last_change(segment: &Segment) -> &'static str {
    match (segment.state, segment.version) {
        (State::Archived, _) => "SegmentArchived",
        (State::Active, 1) => "SegmentCreated",
        (State::Active, _) => "SegmentRuleChanged",
    }
}
