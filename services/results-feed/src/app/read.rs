use std::sync::Arc;

use domain::{DateTime, Utc};

use super::App;
use crate::{
    Error,
    canonical::Node,
    cursor::Cursor,
    document_type::FeedFlag,
    entitlement::{Rights, Subject},
    entry::{Edition, Entry},
    medal::{self, Standing},
    result::{self, Line},
    rsc::{Prefix, Rsc},
    store::{self, Found, UnitState},
    stream_name::StreamName,
};

/// Most bytes of documents in a page.
const LARGEST_PAGE: usize = 2 << 20;

/// A page of the current state.
#[derive(Debug)]
pub struct SnapshotPage {
    /// A subscription from here misses nothing that the pages lack.
    pub cursor: Cursor,
    /// What the reader may see.
    pub editions: Vec<Edition>,
    /// Handle behind which the next page begins; none after the last one.
    pub next: Option<i64>,
}

/// The result of a unit, in lines.
#[derive(Debug, Clone)]
pub struct UnitResult {
    /// The document's version.
    pub edition: Edition,
    /// In the sender's order.
    pub lines: Vec<Line>,
    /// When this version came.
    pub received_at: DateTime<Utc>,
    /// Of the stream, so that a page can go on from here.
    pub cursor: Cursor,
}

impl App {
    /// Documents of the current state behind a handle, whoever may see them.
    pub async fn list_editions(
        &self,
        stream: StreamName,
        prefixes: &[Prefix],
        after: i64,
        limit: i64,
    ) -> Result<Vec<Edition>, Error> {
        store::list_editions(&self.db, self.hub(stream).stream_id(), prefixes, after, limit).await
    }

    /// Entries that the ring no longer holds.
    pub async fn list_entries(
        &self,
        stream: StreamName,
        after: i64,
        most: usize,
    ) -> Result<Vec<Arc<Entry>>, Error> {
        let hub = self.hub(stream);
        // Not beyond what this process has seen: the ring goes on from there.
        let last = hub.position().map_or(0, |position| position.seq);
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let entries = store::list_after(&self.db, hub.stream_id(), after, last, limit).await?;
        Ok(entries.into_iter().map(Arc::new).collect())
    }

    /// Whether the log still holds everything from this entry on.
    pub async fn reaches_back_to(&self, stream: StreamName, seq: i64) -> Result<bool, Error> {
        let oldest = store::oldest_seq(&self.db, self.hub(stream).stream_id()).await?;
        Ok(oldest.is_none_or(|oldest| oldest <= seq))
    }

    /// A page of the current state for a reader.
    pub async fn snapshot(
        &self,
        rights: &Rights,
        stream: StreamName,
        prefixes: &[Prefix],
        after: i64,
        limit: i64,
    ) -> Result<SnapshotPage, Error> {
        // Before the page: what is newer in the page comes once more, which readers know by its version.
        let position = self.stored_position(stream).await?;
        let mut editions = self.list_editions(stream, prefixes, after, limit).await?;
        let is_cut = cut_to_size(&mut editions);
        let is_last = !is_cut && i64::try_from(editions.len()).is_ok_and(|count| count < limit);
        let next = editions.last().map(|edition| edition.handle).filter(|_| !is_last);
        editions.retain(|edition| rights.permit(&edition.subject(stream.feed_flag())));
        Ok(SnapshotPage { cursor: Cursor { epoch: position.epoch, seq: position.seq }, editions, next })
    }

    /// One version of a document, where a feed referred to it.
    pub async fn get_edition(&self, rights: &Rights, handle: i64, seq: i64) -> Result<Edition, Error> {
        let found = store::find_edition(&self.db, handle, seq).await?;
        let (stream_id, edition) = found.ok_or(Error::NotFound("document"))?;
        match self.stream_of(&stream_id) {
            Some(stream) if rights.permit(&edition.subject(stream.feed_flag())) => Ok(edition),
            _ => Err(Error::NotFound("document")),
        }
    }

    /// A unit's schedule.
    pub async fn get_unit(&self, rights: &Rights, unit: &Rsc) -> Result<UnitState, Error> {
        let found = store::find_unit(&self.db, self.hub(FeedFlag::Production).stream_id(), unit).await?;
        found.filter(|state| shows_schedule(rights, state)).ok_or(Error::NotFound("event unit"))
    }

    /// Units in the order of their start.
    pub async fn list_units(
        &self,
        rights: &Rights,
        prefixes: &[Prefix],
        after: Option<&Rsc>,
        limit: i64,
    ) -> Result<(Vec<UnitState>, Option<Rsc>), Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let mut units = store::list_units(&self.db, stream_id, prefixes, after, limit).await?;
        let is_last = i64::try_from(units.len()).is_ok_and(|count| count < limit);
        let next = units.last().map(|state| state.schedule.unit).filter(|_| !is_last);
        units.retain(|state| shows_schedule(rights, state));
        Ok((units, next))
    }

    /// A unit's result as it stands.
    pub async fn get_result(&self, rights: &Rights, unit: &Rsc) -> Result<UnitResult, Error> {
        // Before the document: going on from here repeats rather than misses.
        let position = self.stored_position(FeedFlag::Production).await?;
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let found = store::find_by_code(&self.db, stream_id, unit, "DT_RESULT").await?;
        let Found { edition, received_at } = permitted(rights, found).ok_or(Error::NotFound("result"))?;
        let lines = result::lines(&body(&edition)?);
        Ok(UnitResult {
            edition,
            lines,
            received_at,
            cursor: Cursor { epoch: position.epoch, seq: position.seq },
        })
    }

    /// The medal standings as their newest document has them; empty before the first one.
    pub async fn list_medal_standings(&self, rights: &Rights) -> Result<Vec<Standing>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let found = store::newest_medal_standings(&self.db, stream_id).await?;
        match permitted(rights, found) {
            Some(found) => Ok(medal::standings(&body(&found.edition)?)),
            None => Ok(Vec::new()),
        }
    }
}

// A page stays below the size of a gRPC message; one document is always in it. Those over the limit of a body travel as
// references and weigh nothing.
fn cut_to_size(editions: &mut Vec<Edition>) -> bool {
    let mut bytes = 0;
    let fitting = editions.iter().take_while(|edition| {
        bytes += edition.body_in_frame().map_or(0, bytes::Bytes::len);
        bytes <= LARGEST_PAGE
    });
    let fitting = fitting.count().max(1);
    let is_cut = fitting < editions.len();
    editions.truncate(fitting);
    is_cut
}

fn permitted(rights: &Rights, found: Option<Found>) -> Option<Found> {
    found.filter(|found| rights.permit(&found.edition.subject(FeedFlag::Production)))
}

fn body(edition: &Edition) -> Result<Node, Error> {
    Node::from_bytes(edition.body.as_deref().unwrap_or_default())
        .map_err(|_| Error::Corrupt { what: "canonical" })
}

// A unit is seen by those who may see a schedule update of its code.
fn shows_schedule(rights: &Rights, state: &UnitState) -> bool {
    let Ok(document_type) = "DT_SCHEDULE_UPDATE".parse() else { return false };
    let code = state.schedule.unit.as_str();
    rights.permit(&Subject { code, document_type, status: None, feed_flag: FeedFlag::Production })
}
