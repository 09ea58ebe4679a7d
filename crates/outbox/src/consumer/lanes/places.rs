//! Where lanes begin, and how far they are in the service's own words.

use std::collections::HashSet;

use chrono::TimeDelta;
use rdkafka::{
    Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::{Begin, Lane, Lanes};
use crate::{
    Error,
    consumer::{ASK, ask},
    ends,
    failure::chain,
    places::{self, Key, Log, Place, Watch},
};

/// How old a written place may get.
const PLACE: TimeDelta = TimeDelta::minutes(1);

impl Lanes {
    // A partition that the group never committed is read from its beginning; one whose next records are gone is not read.
    pub(super) fn begin_at(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> Result<Vec<Begin>, Error> {
        if partitions.count() == 0 {
            return Ok(Vec::new());
        }
        let committed = consumer.committed_offsets(partitions.clone(), ASK)?;
        let lows = ends::offsets(consumer, partitions.clone(), Offset::Beginning, ASK)?;
        let ends = ends::offsets(consumer, partitions.clone(), Offset::End, ASK)?;
        let (pool, service, name) = (self.shared.pool.clone(), self.service, self.subscription.name.clone());
        let known = ask(&self.runtime, async move { places::load(&pool, service, &name).await })?;
        let now = self.shared.clock.now();
        let mut begins = Vec::new();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let named = (topic.to_owned(), partition);
            let (Some(low), Some(end)) = (lows.get(&named), ends.get(&named)) else { continue };
            let committed = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            let log = Log { committed, low: *low, end: *end };
            let key = self.key(topic, partition);
            let place = known.get(&key);
            let has_states = self.subscription.collapse.contains(&key.0);
            if let Some(gap) = places::gap(has_states, &log, place, now) {
                return Err(gap.refusal(service, &self.subscription.name, &key));
            }
            partitions.set_partition_offset(topic, partition, Offset::Offset(log.begin()))?;
            // Of what it never read, nothing is older than its beginning.
            let read_at = place.map_or(now, |place| place.read_at);
            let place = Place { next: log.begin(), read_at };
            begins.push(Begin { key, place, watch: Watch::new(now, log.end) });
        }
        Ok(begins)
    }

    // Each ten seconds: what is new of places, at most a minute old.
    pub(super) fn look(&self, statistics: &Statistics) {
        let now = self.shared.clock.now();
        let up = statistics.brokers.values().filter(|broker| broker.state == "UP");
        let up: HashSet<i32> = up.map(|broker| broker.nodeid).collect();
        let mut old = Vec::new();
        for (key, lane) in self.lock().iter_mut() {
            let rested = std::mem::replace(&mut lane.rested, lane.paused);
            let topic = statistics.topics.get(&format!("{}{}", self.prefix, key.0));
            let Some(told) = topic.and_then(|topic| topic.partitions.get(&key.1)) else { continue };
            lane.place = lane.here();
            // What the client knows of a broker that does not answer, or does not ask, is old.
            let is_fresh = told.fetch_state == "active" && up.contains(&told.leader) && told.hi_offset >= 0;
            if is_fresh
                && !rested
                && !lane.paused
                && let Some(read_at) = lane.watch.look(lane.place.next, told.hi_offset, now)
            {
                lane.place.read_at = lane.place.read_at.max(read_at);
            }
            if lane.place.read_at - lane.written.read_at >= PLACE {
                lane.written = lane.place;
                old.push((key.clone(), lane.place));
            }
        }
        self.write(old);
    }

    // Nobody waits for it: the next one comes in a minute.
    pub(super) fn write(&self, places: Vec<(Key, Place)>) {
        if places.is_empty() {
            return;
        }
        let (saved, name) = (self.save(places), self.subscription.name.clone());
        self.runtime.spawn(async move {
            if let Err(error) = saved.await {
                tracing::warn!(
                    consumer = name,
                    error = chain(&error),
                    "how far a consumer is, is not written down"
                );
            }
        });
    }

    /// What the members that have the partitions next must know.
    pub(super) fn write_last(&self, lanes: &[(Key, Lane)]) {
        let moved = lanes.iter().map(|(key, lane)| (key.clone(), lane.here(), lane.written));
        let moved = moved.filter(|(_, here, written)| here != written);
        let places: Vec<(Key, Place)> = moved.map(|(key, here, _)| (key, here)).collect();
        if !places.is_empty()
            && let Err(error) = ask(&self.runtime, self.save(places))
        {
            let consumer = &self.subscription.name;
            tracing::warn!(consumer, error = chain(&error), "the last places are not written down");
        }
    }

    fn save(&self, places: Vec<(Key, Place)>) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (pool, service, name) = (self.shared.pool.clone(), self.service, self.subscription.name.clone());
        async move { places::save(&pool, service, &name, &places).await }
    }
}
