use std::{
    collections::{HashMap, HashSet},
    ops::Deref as _,
};

use domain::{DateTime, Service, Utc};
use outbox::Fact;
use sqlx::PgTransaction;

use super::App;
use crate::{
    Error,
    canonical::Body,
    events,
    ledger::{Kind, Row},
    medal, result,
    rsc::Rsc,
    store,
    unit_schedule::{self, Announcement, UnitSchedule},
};

/// The language whose documents speak for their event: other languages say the same in other words.
const LEADING_LANGUAGE: &str = "ENG";

impl App {
    /// What other services learn from an entry: units that moved, results that became official, medals.
    pub(super) async fn follow(
        &self,
        tx: &mut PgTransaction<'_>,
        stream_id: &str,
        row: &Row,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        if row.kind == Kind::Late || row.key.language != LEADING_LANGUAGE {
            return Ok(());
        }
        let is_plain = row.key.document_subcode.is_empty() && row.key.document_subtype.is_empty();
        let facts = match (row.document_type.name(), row.key.rsc()) {
            ("DT_SCHEDULE" | "DT_SCHEDULE_UPDATE", _) => schedule_facts(tx, stream_id, row, now).await?,
            ("DT_RESULT", Some(unit)) if is_plain && unit.is_unit() => result_facts(row, &unit, now),
            ("DT_MEDALLISTS", Some(code)) if is_plain => medal_facts(row, &code.sport_event(), now),
            _ => Vec::new(),
        };
        for fact in &facts {
            outbox::append(tx, Service::ResultsFeed, fact).await?;
        }
        Ok(())
    }
}

async fn schedule_facts(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    row: &Row,
    now: DateTime<Utc>,
) -> Result<Vec<Fact>, Error> {
    let Some(body) = &row.body else { return Ok(Vec::new()) };
    let announced = once_each(unit_schedule::announcements(body));
    let units: Vec<Rsc> = announced.iter().map(|(unit, _)| *unit).collect();
    let known: HashMap<Rsc, UnitSchedule> = store::load_schedules(tx, stream_id, &units).await?;
    let mut changed = Vec::new();
    for (unit, announcement) in announced {
        if let Some(schedule) = UnitSchedule::announce(known.get(&unit), unit, announcement, now) {
            changed.push(schedule);
        }
    }
    store::save_schedules(tx, stream_id, &changed).await?;
    Ok(changed.iter().map(events::unit_schedule_changed).collect())
}

// A document that names a unit twice contradicts itself; its first word stands.
fn once_each(announced: Vec<(Rsc, Announcement)>) -> Vec<(Rsc, Announcement)> {
    let mut seen = HashSet::new();
    announced.into_iter().filter(|(unit, _)| seen.insert(*unit)).collect()
}

fn result_facts(row: &Row, unit: &Rsc, now: DateTime<Utc>) -> Vec<Fact> {
    let before = row.base.as_ref().and_then(|base| base.status);
    let after = if row.kind == Kind::Invalidation { None } else { row.status };
    match result::change(before, after) {
        Some(result::Change::BecameOfficial { correction }) => {
            let lines = row.body.as_ref().map(|body| result::lines(body)).unwrap_or_default();
            vec![events::result_became_official(unit, row, correction, &lines, now)]
        }
        Some(result::Change::Withdrawn) => vec![events::result_withdrawn(unit, row, after, now)],
        None => Vec::new(),
    }
}

fn medal_facts(row: &Row, event: &Rsc, now: DateTime<Utc>) -> Vec<Fact> {
    let changes =
        medal::changes(row.before.as_deref().map(Body::deref), row.body.as_deref().map(Body::deref));
    changes
        .iter()
        .take(events::MOST_MEDALS)
        .map(|change| events::medal_changed(event, row.seq, change, now))
        .collect()
}
