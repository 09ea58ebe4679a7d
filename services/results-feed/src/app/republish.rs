use domain::Service;
use outbox::StatePage;

use super::App;
use crate::{Error, document_type::FeedFlag, events, rsc::Rsc, store};

/// Units of a transaction: the stream waits meanwhile.
const PAGE: i64 = 200;

impl App {
    /// Tells the schedules of the next units again. The stream is locked first, so that no older one comes behind a newer
    /// one.
    pub async fn republish_schedules(&self, after: Option<Rsc>) -> Result<StatePage, Error> {
        let hub = self.hub(FeedFlag::Production);
        let mut tx = chassis::begin(&self.db).await?;
        store::lock_stream(&mut tx, hub.stream_id()).await?;
        let units = store::page_schedules(&mut tx, hub.stream_id(), after.as_ref(), PAGE).await?;
        for unit in &units {
            outbox::append(&mut tx, Service::ResultsFeed, &events::unit_schedule_changed(unit)).await?;
        }
        tx.commit().await?;
        Ok(StatePage { states: units.len(), last: units.last().map(|unit| unit.unit.to_string()) })
    }
}
