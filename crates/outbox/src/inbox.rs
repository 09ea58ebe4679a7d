//! Which facts a consumer has taken in, so that each has its effect once however often it is delivered.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{EventId, Service};
use sqlx::{AssertSqlSafe, PgTransaction};

use crate::Error;

/// Claims the facts for `consumer` as part of `tx`, and returns those that are new to it. First line of the app method
/// that takes a batch in: when its transaction rolls back, so does the claim. A batch has each fact once; of ids that are
/// given twice, both are new together.
///
/// A repeat is known for 14 days after its claim.
///
/// # Errors
/// The database's.
pub async fn claim(
    tx: &mut PgTransaction<'_>,
    service: Service,
    consumer: &str,
    ids: &[EventId],
) -> Result<HashSet<EventId>, Error> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    // Sorted, so that two transactions with the same facts wait for each other instead of dying of a deadlock.
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let days: Vec<NaiveDate> = ids.iter().map(|id| day_of(*id)).collect();
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    // Facts of other days than the present ones have no partition of their own: they go to the old ones' under the
    // first day of the epoch. Such a fact may have been claimed under its own day while that was present, so both
    // places are looked at; for a fact of the present days the primary key is enough.
    let sql = format!(
        "insert into {schema}.inbox (day, consumer, event_id)
         select case when fact.day between today.day - 3 and today.day + 1 then fact.day else date '1970-01-01' end,
                $1, fact.id
         from unnest($2::uuid[], $3::date[]) as fact (id, day),
              (select (clock_timestamp() at time zone 'utc')::date as day) as today
         where fact.day between today.day - 3 and today.day + 1
            or not exists (
                select from {schema}.inbox as other
                where other.day = fact.day and other.consumer = $1 and other.event_id = fact.id)
         on conflict do nothing
         returning event_id",
        schema = service.short()
    );
    let new: Vec<uuid::Uuid> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(consumer)
        .bind(&ids)
        .bind(&days)
        .fetch_all(&mut **tx)
        .await?;
    Ok(new.into_iter().map(EventId).collect())
}

// The day inside the UUIDv7 (RFC 9562 5.7); an id of another kind has none and counts as old.
fn day_of(id: EventId) -> NaiveDate {
    id.0.get_timestamp()
        .filter(|_| id.0.get_version_num() == 7)
        .and_then(|at| DateTime::<Utc>::from_timestamp(i64::try_from(at.to_unix().0).ok()?, 0))
        .map_or(NaiveDate::default(), |at| at.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_fact_is_inside_its_id() {
        let id: EventId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(day_of(id), NaiveDate::from_ymd_opt(2023, 6, 30).unwrap());
    }

    #[test]
    fn an_id_without_a_time_counts_as_old() {
        let id: EventId = "f47ac10b-58cc-4372-a567-0e02b2c3d479".parse().unwrap();
        assert_eq!(day_of(id), NaiveDate::from_ymd_opt(1970, 1, 1).unwrap());
    }
}
