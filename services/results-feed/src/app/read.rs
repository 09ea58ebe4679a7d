use domain::{DateTime, Utc};

use super::App;
use crate::{
    Error,
    canonical::Node,
    cursor::Cursor,
    document_type::FeedFlag,
    entitlement::{Facts, Rights, Subject},
    entry::Edition,
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
}

/// The medal standings.
#[derive(Debug, Clone)]
pub struct MedalStandings {
    /// The document's version.
    pub edition: Edition,
    /// In the sender's order.
    pub standings: Vec<Standing>,
    /// When this version came.
    pub received_at: DateTime<Utc>,
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

    /// Whether the log still holds everything from this entry on.
    pub async fn reaches_back_to(&self, stream: StreamName, seq: i64) -> Result<bool, Error> {
        Ok(store::whole_from(&self.db, self.hub(stream).stream_id()).await? <= seq)
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
        let editions = self.seen(rights, stream, editions).await?;
        let cursor = Cursor::new(position.epoch, position.seq);
        Ok(SnapshotPage { cursor, editions, next })
    }

    /// What a reader may see of these, and as much of each as it may see.
    pub(super) async fn seen(
        &self,
        rights: &Rights,
        stream: StreamName,
        editions: Vec<Edition>,
    ) -> Result<Vec<Edition>, Error> {
        let mut seen = Vec::with_capacity(editions.len());
        for edition in editions {
            if rights.permit(&edition.subject(stream.feed_flag())) {
                let participants = rights.participants(&edition.subject(stream.feed_flag()));
                seen.push(self.cut(edition, &participants).await?);
            }
        }
        Ok(seen)
    }

    /// One version of a document, where a feed referred to it.
    pub async fn get_edition(&self, rights: &Rights, handle: i64, seq: i64) -> Result<Edition, Error> {
        let (stream, edition) = self.find_permitted(rights, handle, seq).await?;
        let participants = rights.participants(&edition.subject(stream.feed_flag()));
        self.cut(edition, &participants).await
    }

    pub(super) async fn find_permitted(
        &self,
        rights: &Rights,
        handle: i64,
        seq: i64,
    ) -> Result<(StreamName, Edition), Error> {
        let found = store::find_edition(&self.db, handle, seq).await?;
        let (stream_id, edition) = found.ok_or(Error::NotFound("document"))?;
        match self.stream_of(&stream_id) {
            Some(stream) if rights.permit(&edition.subject(stream.feed_flag())) => Ok((stream, edition)),
            Some(stream) => {
                self.note_refusal(rights, &edition, stream.feed_flag());
                Err(Error::NotFound("document"))
            }
            None => Err(Error::NotFound("document")),
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
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let found = store::find_by_code(&self.db, stream_id, unit, "DT_RESULT").await?;
        let Found { edition, received_at } = permitted(rights, found).ok_or(Error::NotFound("result"))?;
        let lines = result::lines(&body(&edition)?);
        Ok(UnitResult { edition, lines, received_at })
    }

    /// The medal standings as their newest document has them; empty before the first one.
    pub async fn list_medal_standings(&self, rights: &Rights) -> Result<Vec<Standing>, Error> {
        Ok(self.find_medal_standings(rights).await?.map(|found| found.standings).unwrap_or_default())
    }

    /// The medal standings with the document that has them; none before the first one.
    pub async fn find_medal_standings(&self, rights: &Rights) -> Result<Option<MedalStandings>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let found = store::newest_medal_standings(&self.db, stream_id).await?;
        let Some(Found { edition, received_at }) = permitted(rights, found) else { return Ok(None) };
        let standings = medal::standings(&body(&edition)?);
        Ok(Some(MedalStandings { edition, standings, received_at }))
    }
}

// A page stays below the size of a gRPC message; one document is always in it. Those over the limit of a body travel as
// references and weigh nothing.
pub(super) fn cut_to_size(editions: &mut Vec<Edition>) -> bool {
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

pub(super) fn permitted(rights: &Rights, found: Option<Found>) -> Option<Found> {
    found.filter(|found| rights.permit(&found.edition.subject(FeedFlag::Production)))
}

pub(super) fn body(edition: &Edition) -> Result<Node, Error> {
    Node::from_bytes(edition.body.as_deref().unwrap_or_default())
        .map_err(|_| Error::Corrupt { what: "canonical" })
}

// A unit is seen by those who may see a schedule update of its code.
pub(super) fn shows_schedule(rights: &Rights, state: &UnitState) -> bool {
    sees_schedules(rights, state.schedule.unit.as_str(), state.schedule.changed_at)
}

/// Whether a reader may see schedule updates of a code that came at a time.
pub(super) fn sees_schedules(rights: &Rights, code: &str, received_at: DateTime<Utc>) -> bool {
    let Ok(document_type) = "DT_SCHEDULE_UPDATE".parse() else { return false };
    let facts = &Facts::plain(received_at);
    rights.permit(&Subject { code, document_type, status: None, feed_flag: FeedFlag::Production, facts })
}
