use std::{collections::VecDeque, sync::Arc};

use crate::{
    cursor::Cursor,
    fanout::{Mode, Sent, catch_up::may_hold, place::Place, topic::Topic},
    lane::Lane,
    store::Missed,
};

use super::store::Store;

/// Entries or documents of a page: few, so that the log moves between pages.
pub const PAGE: usize = 2;

/// The way of a connection from behind a ring back into it, over the store at hand.
#[derive(Debug, Default)]
pub struct CatchUp(Option<Way>);

#[derive(Debug)]
struct Way {
    lane: Lane,
    until: i64,
    rest: VecDeque<Missed>,
}

/// One connection, on its way.
pub struct Walker<'a> {
    /// For the log.
    pub store: &'a Store,
    /// What it asked for.
    pub topic: &'a Topic,
    /// How.
    pub mode: Mode,
    /// Of the stream.
    pub epoch: &'a str,
    /// Up to here.
    pub seen: i64,
}

impl CatchUp {
    /// The next frames of a lane that is behind its ring; nothing where the log is of an epoch of which the process has not
    /// heard yet.
    pub fn walk(&mut self, walker: &Walker<'_>, place: &mut Place, lane: Lane) -> Option<Vec<Sent>> {
        if walker.store.epoch_name() != walker.epoch {
            return None;
        }
        Some(match walker.mode {
            Mode::Every => walker.read_log(place, lane),
            Mode::State => self.tell_missed(walker, place, lane),
        })
    }

    fn tell_missed(&mut self, walker: &Walker<'_>, place: &mut Place, lane: Lane) -> Vec<Sent> {
        let (store, view) = (walker.store, walker.topic.view());
        let mut way = self.0.take().filter(|way| way.lane == lane).unwrap_or_else(|| {
            let until = walker.seen;
            let rest = store.list_missed(walker.topic.filter(), lane, place.at(lane), until).into();
            Way { lane, until, rest }
        });
        let mut frames = Vec::new();
        for missed in way.rest.drain(..way.rest.len().min(PAGE)) {
            let found = store.list_after(missed.seq - 1, missed.seq).next();
            let Some((entry, (handle, _, _))) = found.and_then(|entry| Some((entry, entry.document()?)))
            else {
                continue;
            };
            let held = may_hold(view, entry, &store.list_facts(handle, (missed.from, entry.seq)));
            frames.extend(place.tell_missed(view, entry, None, held));
        }
        if way.rest.is_empty() {
            place.arrive(lane, way.until);
        } else {
            self.0 = Some(way);
        }
        // Only behind the last frame is there a place to go on from.
        let (count, cursor) = (frames.len(), walker.cursor(place));
        let sent = |(at, frame)| Sent::own(frame, (at + 1 == count).then(|| cursor.clone()));
        frames.into_iter().enumerate().map(sent).collect()
    }
}

impl Walker<'_> {
    fn read_log(&self, place: &mut Place, lane: Lane) -> Vec<Sent> {
        let wanted = |code: &str| self.topic.filter().prefixes().iter().any(|prefix| prefix.matches(code));
        let entries = self.store.list_after(place.at(lane), self.seen).filter(|entry| {
            let document = entry.document();
            document.is_some_and(|(_, key, of)| Lane::of(of) == lane && wanted(&key.document_code))
        });
        let entries: Vec<_> = entries.take(PAGE).map(Arc::clone).collect();
        let mut sent = Vec::new();
        for entry in &entries {
            let frame = place.tell_logged(self.topic.view(), entry, None);
            sent.extend(frame.map(|frame| Sent::own(frame, Some(self.cursor(place)))));
        }
        if entries.len() < PAGE {
            place.arrive(lane, self.seen);
        }
        sent
    }

    fn cursor(&self, place: &Place) -> Cursor {
        Cursor { epoch: self.epoch.to_owned(), at: place.exact() }
    }
}
