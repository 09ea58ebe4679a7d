use std::collections::BTreeMap;

use domain::{DateTime, Locale, Utc};

use super::{
    App,
    read::{body, sees_schedules, shows_schedule},
};
use crate::{
    Error,
    canonical::Node,
    code_table::{self, Names},
    cursor::Cursor,
    document_type::FeedFlag,
    entitlement::Rights,
    entry::Edition,
    rsc::{Prefix, Rsc},
    store::{self, DeskUnit, DisciplineUnits, Found},
};

/// Subtypes of the code tables that pages take names from: organisations, disciplines, venues.
const TABLES: [&str; 4] = ["NOC", "ORGANISATION", "DISCIPLINE", "VENUE"];

/// A document that a page shows, with its version.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The version.
    pub edition: Edition,
    /// Its body, read.
    pub body: Node,
}

/// When a venue was heard last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueHeard {
    /// Its code.
    pub venue: String,
    /// Between LOCAL_ON and LOCAL_OFF.
    pub is_open: bool,
    /// When the newest of its signals came.
    pub heard_at: DateTime<Utc>,
}

impl App {
    /// Where the production stream is: a subscription from here misses nothing that a page read later lacks.
    pub async fn cursor(&self) -> Result<Cursor, Error> {
        let position = self.stored_position(FeedFlag::Production).await?;
        Ok(Cursor::new(position.epoch, position.seq))
    }

    /// The disciplines on the schedule that a reader may see.
    pub async fn list_disciplines(&self, rights: &Rights) -> Result<Vec<DisciplineUnits>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let mut disciplines = store::list_disciplines(&self.db, stream_id).await?;
        // What came long ago, for which no embargo of some hours holds.
        disciplines.retain(|one| sees_schedules(rights, &one.discipline, DateTime::UNIX_EPOCH));
        Ok(disciplines)
    }

    /// Units under a prefix: those that are on and those nearest in time, in the order of their start.
    pub async fn list_desk_units(
        &self,
        rights: &Rights,
        prefix: &Prefix,
        limit: i64,
    ) -> Result<Vec<DeskUnit>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let mut units =
            store::list_units_around(&self.db, stream_id, prefix, self.clock.now(), limit).await?;
        units.retain(|unit| shows_schedule(rights, &unit.state));
        Ok(units)
    }

    /// The standing document of a unit of this type, where there is one that the reader may see.
    pub async fn find_shown(
        &self,
        rights: &Rights,
        unit: &Rsc,
        type_name: &str,
    ) -> Result<Option<Shown>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        self.shown(rights, store::find_by_code(&self.db, stream_id, unit, type_name).await?).await
    }

    /// A participant's or a team's biography, where there is one that the reader may see.
    pub async fn find_biography(
        &self,
        rights: &Rights,
        code: &str,
        locale: Locale,
    ) -> Result<Option<Shown>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let language = code_table::language(locale);
        self.shown(rights, store::find_biography(&self.db, stream_id, code, language).await?).await
    }

    /// The venues of a discipline, and when each was heard last.
    pub async fn list_venues_heard(&self, discipline: &str) -> Result<Vec<VenueHeard>, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let signals = store::list_venue_signals(&self.db, stream_id, discipline).await?;
        let mut by_venue: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for signal in signals {
            let venue = signal.document_code.get(26..).unwrap_or_default().trim_end_matches('-').to_owned();
            by_venue.entry(venue).or_default().push(signal);
        }
        let heard = |(venue, signals): (String, Vec<store::VenueSignal>)| {
            let at = |name: &str| {
                signals.iter().filter(|one| one.document_type == name).map(|one| one.received_at).max()
            };
            let heard_at = signals.iter().map(|one| one.received_at).max()?;
            Some(VenueHeard { venue, is_open: at("DT_LOCAL_ON") > at("DT_LOCAL_OFF"), heard_at })
        };
        Ok(by_venue.into_iter().filter_map(heard).collect())
    }

    /// Names of organisations, disciplines and venues, as the competition's code tables have them. They are words for
    /// display, whoever reads.
    pub async fn names(&self) -> Result<Names, Error> {
        let stream_id = self.hub(FeedFlag::Production).stream_id();
        let subtypes = TABLES.map(str::to_owned);
        let mut names = Names::default();
        for table in store::list_code_tables(&self.db, stream_id, &subtypes).await? {
            names.add(&table);
        }
        Ok(names)
    }

    async fn shown(&self, rights: &Rights, found: Option<Found>) -> Result<Option<Shown>, Error> {
        let Some(Found { edition, .. }) = found else { return Ok(None) };
        let subject = edition.subject(FeedFlag::Production);
        if !rights.permit(&subject) {
            return Ok(None);
        }
        let participants = rights.participants(&subject);
        let edition = self.cut(edition, &participants).await?;
        let body = body(&edition)?;
        Ok(Some(Shown { edition, body }))
    }
}
