use chassis::FieldViolation;
use domain::{DateTime, Utc};

use super::{
    App, Body,
    read::{SnapshotPage, body, cut_to_size, permitted, shows_schedule},
};
use crate::{
    Error,
    as_of::{AsOf, PastPage},
    cursor::Cursor,
    document_type::FeedFlag,
    entitlement::{Representation, Rights},
    result,
    rsc::{Prefix, Rsc},
    store::{self, ScheduleFilter, UnitState},
    stream_name::StreamName,
};

/// Which page of which past state.
#[derive(Debug, Clone, Copy)]
pub struct PastPlace {
    /// As it was asked for.
    pub as_of: AsOf,
    /// Of the page before; none for the first one.
    pub page: Option<PastPage>,
}

impl App {
    /// A page of the state as it was, for a reader: by the rules that hold for it now, without what an embargo held back
    /// then. What is not readable now was never readable.
    pub async fn past_snapshot(
        &self,
        client_id: Option<&str>,
        stream: StreamName,
        prefixes: &[Prefix],
        place: PastPlace,
        limit: i64,
    ) -> Result<(SnapshotPage, i64), Error> {
        let now = self.clock.now();
        let (seq, moment) = self.moment(stream, place, now).await?;
        let rights = self.rights(client_id).await?;
        // Rules allow from some time on and never end: what is readable then by the rules of now is readable now.
        let rights = rights.at(moment.min(now));
        let after = place.page.map_or(0, |page| page.after);
        let mut editions = self.list_state(stream, prefixes, seq, after, limit).await?;
        let epoch = self.stored_position(stream).await?.epoch;
        // Again, behind the page: what goes meanwhile would be missing in it.
        self.must_reach(stream, seq).await?;
        let is_cut = cut_to_size(&mut editions);
        let is_last = !is_cut && i64::try_from(editions.len()).is_ok_and(|count| count < limit);
        let next = editions.last().map(|edition| edition.handle).filter(|_| !is_last);
        let editions = self.seen(&rights, stream, editions).await?;
        Ok((SnapshotPage { cursor: Cursor::new(epoch, seq), editions, next }, seq))
    }

    /// The version of a document that stood then, in one of its forms.
    pub async fn get_past_body(
        &self,
        client_id: &str,
        handle: i64,
        as_of: AsOf,
        representation: Representation,
    ) -> Result<Body, Error> {
        const MISSING: Error = Error::NotFound("document");
        let stream_id = store::stream_of(&self.db, handle).await?.ok_or(MISSING)?;
        let stream = self.stream_of(&stream_id).ok_or(MISSING)?;
        let now = self.clock.now();
        let (seq, moment) = self.moment(stream, PastPlace { as_of, page: None }, now).await?;
        let standing = store::standing_at(&self.db, handle, seq).await?;
        self.must_reach(stream, seq).await?;
        let rights = self.rights(Some(client_id)).await?.at(moment.min(now));
        self.get_body(&rights, handle, Some(standing.ok_or(MISSING)?), representation).await
    }

    /// The place of a past state, and the time that embargoes are asked about.
    async fn moment(
        &self,
        stream: StreamName,
        place: PastPlace,
        now: DateTime<Utc>,
    ) -> Result<(i64, DateTime<Utc>), Error> {
        let seq = match place.page {
            Some(page) => page.seq,
            None => self.seq_of(stream, place.as_of, now).await?,
        };
        if seq > self.stored_position(stream).await?.seq {
            return Err(FieldViolation::new("as_of", "must not be in the future").into());
        }
        self.must_reach(stream, seq).await?;
        let moment = match place.as_of {
            AsOf::Instant(instant) => Some(instant),
            AsOf::Seq(_) | AsOf::Day(_) => {
                store::taken_at(&self.db, self.hub(stream).stream_id(), seq).await?
            }
        };
        Ok((seq, moment.unwrap_or(DateTime::<Utc>::MIN_UTC)))
    }

    // Behind the last entry that is gone nothing is missing: what stood there is kept.
    async fn must_reach(&self, stream: StreamName, seq: i64) -> Result<(), Error> {
        if self.reaches_back_to(stream, seq + 1).await? {
            return Ok(());
        }
        Err(FieldViolation::new("as_of", "must not be before the oldest entry that is kept").into())
    }

    /// The entry behind which a past state stands.
    pub(super) async fn seq_of(
        &self,
        stream: StreamName,
        as_of: AsOf,
        now: DateTime<Utc>,
    ) -> Result<i64, Error> {
        let stream_id = self.hub(stream).stream_id();
        match as_of {
            AsOf::Seq(seq) => Ok(seq),
            AsOf::Instant(instant) if instant > now => {
                Err(FieldViolation::new("as_of", "must not be in the future").into())
            }
            AsOf::Instant(instant) => store::seq_at(&self.db, stream_id, instant).await,
            AsOf::Day(date) => {
                let closed = store::closed_seq(&self.db, stream_id, date).await?;
                match closed.ok_or(Error::NotFound("day of competition"))? {
                    Some(seq) => Ok(seq),
                    None => Ok(self.stored_position(stream).await?.seq),
                }
            }
        }
    }

    /// Who starts in a unit: the lines of its newest start list, by the order of start.
    pub async fn get_start_list(&self, rights: &Rights, unit: &Rsc) -> Result<super::UnitResult, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let found = permitted(rights, store::find_start_list(&self.db, stream_id, unit).await?);
        let found = found.ok_or(Error::NotFound("start list"))?;
        let mut lines = result::lines(&body(&found.edition)?);
        result::sort_by_start(&mut lines);
        Ok(super::UnitResult { edition: found.edition, lines, received_at: found.received_at })
    }

    /// Units of a day, a discipline, a venue, in the order of their start.
    pub async fn list_schedule(
        &self,
        rights: &Rights,
        filter: &ScheduleFilter,
        after: Option<&Rsc>,
        limit: i64,
    ) -> Result<(Vec<UnitState>, Option<Rsc>), Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let mut units = store::list_schedule(&self.db, stream_id, filter, after, limit).await?;
        let is_last = i64::try_from(units.len()).is_ok_and(|count| count < limit);
        let next = units.last().map(|state| state.schedule.unit).filter(|_| !is_last);
        units.retain(|state| shows_schedule(rights, state));
        Ok((units, next))
    }

    /// The zone in which days of competition begin.
    #[must_use]
    pub const fn time_zone(&self) -> chrono_tz::Tz {
        self.time_zone
    }
}
