//! How far a consumer is, in the service's own words, and whether Kafka still has what comes next.
//!
//! Kafka forgets a group's offsets with their topic, or after a week without members, and a consumer would then begin
//! anew as if nothing had been. The rows of `consumer_place` say what was there before.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Service;
use sqlx::{AssertSqlSafe, PgPool};

use crate::Error;

/// So long a state topic keeps its tombstones, as [`crate::Topic::state`] declares it.
const TOMBSTONES: TimeDelta = TimeDelta::days(7);

/// Topic, without a prefix, and partition.
pub(crate) type Key = (String, i32);

/// How far a consumer is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The next record to take in.
    pub(crate) next: i64,
    /// Everything that was there then was taken in.
    pub(crate) read_at: DateTime<Utc>,
}

/// A partition as the broker tells of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// What the group committed last.
    pub(crate) committed: Option<i64>,
    /// Its oldest record.
    pub(crate) low: i64,
    /// Behind its newest one.
    pub(crate) end: i64,
}

impl Log {
    /// Where the group goes on; what it never committed is read from the beginning.
    pub(crate) fn begin(&self) -> i64 {
        self.committed.unwrap_or(self.low)
    }
}

/// Records that are gone and were not taken in, or may not have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The partition ends before what was read of it: it is another one, or lost its end.
    Anew { read: i64, end: i64 },
    /// Retention took the records in between.
    Expired { next: i64, low: i64 },
    /// The tombstones of this time are no longer all there.
    Away { since: DateTime<Utc>, now: DateTime<Utc> },
}

/// What lies between the consumer and the rest of the partition. `has_states`: it is compacted, and whoever comes too late
/// does not hear that a key is gone.
pub(crate) fn gap(has_states: bool, log: &Log, place: Option<&Place>, now: DateTime<Utc>) -> Option<Gap> {
    let read = log.committed.max(place.map(|place| place.next));
    if let Some(read) = read.filter(|read| *read > log.end) {
        return Some(Gap::Anew { read, end: log.end });
    }
    if let Some(next) = log.committed.filter(|next| *next < log.low) {
        return Some(Gap::Expired { next, low: log.low });
    }
    let since = place.filter(|_| has_states)?.read_at;
    (now - since > TOMBSTONES).then_some(Gap::Away { since, now })
}

impl Gap {
    /// As the consumer refuses to go on over it.
    pub(crate) fn refusal(&self, service: Service, consumer: &str, key: &Key) -> Error {
        let anew = matches!(self, Self::Anew { .. }).then(|| key.0.clone());
        Error::Gap { refusal: self.tell(service, consumer, key), anew }
    }

    // For the log and the operator, with the verbs that help.
    fn tell(&self, service: Service, consumer: &str, (topic, partition): &Key) -> String {
        let rebuild = format!("`{service} consumer rebuild {consumer}` has it read everything again");
        let accept = format!("`{service} consumer accept-gap {consumer}` lets it go on with what is there");
        match self {
            Self::Anew { read, end } => format!(
                "{consumer} has read up to {read} in partition {partition} of {topic}, which ends at {end}: the topic was \
                 made anew; {accept}, {rebuild}"
            ),
            Self::Expired { next, low } => format!(
                "{consumer} comes too late to partition {partition} of {topic}: it goes on at {next}, and the oldest \
                 record is {low}; {rebuild}, {accept}"
            ),
            Self::Away { since, now } => format!(
                "{consumer} was away from partition {partition} of {topic} for {} days, and tombstones are kept for {}: \
                 keys may be gone without its knowing; {rebuild}, {accept}",
                (*now - *since).num_days(),
                TOMBSTONES.num_days()
            ),
        }
    }
}

/// Every place of a consumer.
pub(crate) async fn load(
    pool: &PgPool,
    service: Service,
    consumer: &str,
) -> Result<HashMap<Key, Place>, Error> {
    let sql = format!(
        "select topic, partition, next_offset, read_at from {}.consumer_place where consumer = $1",
        service.short()
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(consumer);
    let found: Vec<(String, i32, i64, DateTime<Utc>)> = query.fetch_all(pool).await?;
    let places = found
        .into_iter()
        .map(|(topic, partition, next, read_at)| ((topic, partition), Place { next, read_at }));
    Ok(places.collect())
}

/// Writes places down. One that is behind what is written, of a member that lost its partition, changes nothing.
pub(crate) async fn save(
    pool: &PgPool,
    service: Service,
    consumer: &str,
    places: &[(Key, Place)],
) -> Result<(), Error> {
    let sql = format!(
        "insert into {}.consumer_place as place (consumer, topic, partition, next_offset, read_at)
         select $1, * from unnest($2::text[], $3::int[], $4::bigint[], $5::timestamptz[])
         on conflict (consumer, topic, partition) do update
         set next_offset = greatest(place.next_offset, excluded.next_offset),
             read_at = greatest(place.read_at, excluded.read_at)",
        service.short()
    );
    // In one order, so that two members do not wait for each other.
    let mut places = places.to_vec();
    places.sort_by(|(one, _), (other, _)| one.cmp(other));
    let topics: Vec<&str> = places.iter().map(|((topic, _), _)| topic.as_str()).collect();
    let partitions: Vec<i32> = places.iter().map(|((_, partition), _)| *partition).collect();
    let next: Vec<i64> = places.iter().map(|(_, place)| place.next).collect();
    let read_at: Vec<DateTime<Utc>> = places.iter().map(|(_, place)| place.read_at).collect();
    sqlx::query(AssertSqlSafe(sql))
        .bind(consumer)
        .bind(&topics)
        .bind(&partitions)
        .bind(&next)
        .bind(&read_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets where a consumer was: it begins anew, or has accepted a gap.
pub(crate) async fn forget(
    database: impl sqlx::PgExecutor<'_>,
    service: Service,
    consumer: &str,
) -> Result<(), Error> {
    let sql = format!("delete from {}.consumer_place where consumer = $1", service.short());
    sqlx::query(AssertSqlSafe(sql)).bind(consumer).execute(database).await?;
    Ok(())
}

/// Up to when a partition was read, told by looking at its end now and then: what was there at one look and was taken in
/// at a later one. That the consumer is at the very end at some look is not needed, and under load it never is.
#[derive(Debug)]
pub(crate) struct Watch {
    at: DateTime<Utc>,
    end: i64,
}

impl Watch {
    /// The first look: the partition ends at `end`.
    pub(crate) fn new(now: DateTime<Utc>, end: i64) -> Self {
        Self { at: now, end }
    }

    /// The time of the last look, once all that was there is below `next` and so taken in.
    pub(crate) fn reached(&self, next: i64) -> Option<DateTime<Utc>> {
        (next >= self.end).then_some(self.at)
    }

    /// One more look.
    pub(crate) fn look(&mut self, next: i64, end: i64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let reached = self.reached(next)?;
        *self = Self::new(now, end);
        // At the very end it is the time of this one.
        Some(self.reached(next).unwrap_or(reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partitions, Topic};

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn log(committed: impl Into<Option<i64>>, low: i64, end: i64) -> Log {
        Log { committed: committed.into(), low, end }
    }

    fn place(next: i64, days_ago: i64) -> Place {
        Place { next, read_at: NOW - TimeDelta::days(days_ago) }
    }

    #[test]
    fn tombstones_are_kept_as_long_as_topics_declare() {
        let declared = Topic::state("kotinos.profile.profile.v1", Partitions::PERSON).retain_days;
        assert_eq!(TOMBSTONES.num_days(), declared);
    }

    #[test]
    fn a_first_start_and_a_usual_one_have_no_gap() {
        assert_eq!(gap(true, &log(None, 3, 9), None, NOW), None);
        assert_eq!(gap(true, &log(9, 0, 9), Some(&place(9, 7)), NOW), None);
        // The group's offsets are lost, the records are not.
        assert_eq!(gap(true, &log(None, 0, 9), Some(&place(5, 1)), NOW), None);
        // All that was read expired, and nothing else did.
        assert_eq!(gap(false, &log(5, 5, 9), Some(&place(5, 100)), NOW), None);
    }

    #[test]
    fn a_partition_that_ends_before_its_reader_is_another_one() {
        let anew = Some(Gap::Anew { read: 9, end: 2 });
        assert_eq!(gap(true, &log(None, 0, 2), Some(&place(9, 0)), NOW), anew);
        assert_eq!(gap(false, &log(9, 0, 2), None, NOW), anew);
        assert_eq!(gap(false, &log(1, 0, 2), Some(&place(9, 0)), NOW), anew);
    }

    #[test]
    fn records_that_expired_unread_are_a_gap() {
        let expired = Some(Gap::Expired { next: 4, low: 5 });
        assert_eq!(gap(false, &log(4, 5, 9), Some(&place(4, 0)), NOW), expired);
    }

    #[test]
    fn whoever_was_away_longer_than_tombstones_are_kept_has_a_gap_in_states_only() {
        let away = place(9, 8);
        assert!(matches!(gap(true, &log(9, 0, 9), Some(&away), NOW), Some(Gap::Away { .. })));
        assert!(matches!(gap(true, &log(None, 0, 9), Some(&away), NOW), Some(Gap::Away { .. })));
        assert_eq!(gap(false, &log(9, 0, 9), Some(&away), NOW), None);
    }

    #[test]
    fn a_consumer_that_is_never_at_the_end_is_read_up_to_its_last_look() {
        let at = |seconds| NOW + TimeDelta::seconds(seconds);
        let mut watch = Watch::new(at(0), 10);
        assert_eq!(watch.look(9, 20, at(10)), None, "not all of the first look");
        assert_eq!(watch.look(15, 30, at(20)), Some(at(0)));
        assert_eq!(watch.look(29, 40, at(30)), None);
        assert_eq!(watch.look(35, 50, at(40)), Some(at(20)));
        assert_eq!((watch.reached(49), watch.reached(50)), (None, Some(at(40))));
        assert_eq!(watch.look(50, 50, at(50)), Some(at(50)), "at the end");
        assert_eq!(watch.look(50, 50, at(60)), Some(at(60)));
    }
}
