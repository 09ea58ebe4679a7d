use std::collections::{HashMap, VecDeque};

use super::{
    place::{Mode, Place},
    topic::{Representation, Topic},
    view::View,
};
use crate::{
    Error,
    app::App,
    cursor::Cursor,
    document_type::ResultStatus,
    entitlement::Facts,
    entry::Entry,
    fanout::Sent,
    frame::{Frame, Raw},
    lane::Lane,
    store::Missed,
};

/// Entries or documents of a page.
const PAGE: usize = 100;
/// Most documents and weighty versions that one lane's way back may hold; who missed more gets a snapshot.
const MOST_MISSED: usize = 20_000;

/// The way of a connection from behind a ring back into it.
#[derive(Debug, Default)]
pub struct CatchUp {
    /// In mode STATE: a lane whose missed documents are being told.
    missed: Option<Way>,
}

#[derive(Debug)]
struct Way {
    lane: Lane,
    until: i64,
    rest: VecDeque<Missed>,
}

/// What a piece of the way brought.
#[derive(Debug)]
pub enum Piece {
    /// These; none where what was missed means nothing to the reader.
    Frames(Vec<Sent>),
    /// Too much was missed: a snapshot is shorter.
    TooFar,
}

/// One connection, on its way.
pub struct Walker<'a> {
    /// For the database.
    pub app: &'a App,
    /// What it asked for.
    pub topic: &'a Topic,
    /// How.
    pub mode: Mode,
    /// Of the stream.
    pub epoch: &'a str,
    /// Everything up to here was given to the topic.
    pub seen: i64,
}

impl CatchUp {
    /// The next frames of a lane that is behind its ring: in mode STATE the newest version of each document and the
    /// versions on the way that must be heard, so that the work is bounded by documents and not by the time of absence;
    /// in mode EVERY a page of the log.
    ///
    /// # Errors
    /// The database.
    pub async fn walk(&mut self, walker: &Walker<'_>, place: &mut Place, lane: Lane) -> Result<Piece, Error> {
        let from = place.at(lane);
        let piece = match walker.mode {
            Mode::Every => walker.read_log(place, lane).await.map(Piece::Frames),
            Mode::State => self.tell_missed(walker, place, lane).await,
        };
        // Behind the piece: what went from the log meanwhile would be a hole in it.
        let stream = walker.topic.view().stream();
        if walker.app.reaches_back_to(stream, from + 1).await? { piece } else { Ok(Piece::TooFar) }
    }

    async fn tell_missed(
        &mut self,
        walker: &Walker<'_>,
        place: &mut Place,
        lane: Lane,
    ) -> Result<Piece, Error> {
        let mut way = match self.missed.take().filter(|way| way.lane == lane) {
            Some(way) => way,
            None => match walker.begin(place, lane).await? {
                Some(way) => way,
                None => return Ok(Piece::TooFar),
            },
        };
        let page: Vec<Missed> = way.rest.drain(..way.rest.len().min(PAGE)).collect();
        let seqs: Vec<i64> = page.iter().map(|missed| missed.seq).collect();
        let (mut entries, mut raws) = walker.load(&seqs).await?;
        let mut frames = Vec::new();
        for missed in &page {
            let Some(entry) = entries.remove(&missed.seq) else { continue };
            let (raw, held) = (raws.remove(&entry.seq), walker.held(&entry, missed).await?);
            let entry = walker.app.cut_entry(walker.topic.view(), entry).await?;
            frames.extend(place.tell_missed(walker.topic.view(), &entry, raw, held));
        }
        if way.rest.is_empty() {
            place.arrive(lane, way.until);
        } else {
            self.missed = Some(way);
        }
        Ok(Piece::Frames(walker.sent(frames, place)))
    }
}

/// Whether a reader may hold one of these versions of an entry's document.
#[must_use]
pub fn may_hold(view: &View, entry: &Entry, versions: &[(Option<ResultStatus>, Facts)]) -> bool {
    entry.document().is_some_and(|(_, key, document_type)| {
        let until = entry.released_until;
        versions.iter().any(|(status, facts)| view.permits(key, document_type, (*status, facts), until))
    })
}

impl Walker<'_> {
    async fn begin(&self, place: &Place, lane: Lane) -> Result<Option<Way>, Error> {
        let (after, until) = (place.at(lane), self.seen);
        let stream = self.topic.view().stream();
        let limit = i64::try_from(MOST_MISSED + 1).unwrap_or(i64::MAX);
        let prefixes = self.topic.filter().prefixes();
        let missed = self.app.list_missed(stream, lane, prefixes, (after, until), limit).await?;
        if missed.len() > MOST_MISSED {
            return Ok(None);
        }
        Ok(Some(Way { lane, until, rest: missed.into() }))
    }

    async fn load(&self, seqs: &[i64]) -> Result<(HashMap<i64, Entry>, HashMap<i64, Raw>), Error> {
        let stream = self.topic.view().stream();
        let entries = self.app.list_entries_at(stream, seqs).await?;
        let entries = entries.into_iter().map(|entry| (entry.seq, entry)).collect();
        Ok((entries, self.raws(seqs).await?))
    }

    async fn raws(&self, seqs: &[i64]) -> Result<HashMap<i64, Raw>, Error> {
        match self.topic.representation() {
            Representation::Json => Ok(HashMap::new()),
            Representation::Odf => self.app.list_raw(self.topic.view().stream(), seqs).await,
        }
    }

    // Whether the reader may hold the document; asked only where it may not see what came.
    async fn held(&self, entry: &Entry, missed: &Missed) -> Result<bool, Error> {
        let Some((handle, _, _)) = entry.document() else { return Ok(false) };
        let view = self.topic.view();
        if entry.edition().is_some_and(|edition| view.sees(edition, entry.released_until)) {
            return Ok(true);
        }
        let range = (missed.from, entry.seq);
        let versions = self.app.list_facts(view.stream(), handle, range).await?;
        Ok(may_hold(view, entry, &versions))
    }

    async fn read_log(&self, place: &mut Place, lane: Lane) -> Result<Vec<Sent>, Error> {
        let stream = self.topic.view().stream();
        let (after, limit) = (place.at(lane), i64::try_from(PAGE).unwrap_or(i64::MAX));
        let range = (after, self.seen);
        let entries =
            self.app.list_logged(stream, lane, self.topic.filter().prefixes(), range, limit).await?;
        let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
        let mut raws = self.raws(&seqs).await?;
        let mut sent = Vec::new();
        let is_last = entries.len() < PAGE;
        for entry in entries {
            let raw = raws.remove(&entry.seq);
            let entry = self.app.cut_entry(self.topic.view(), entry).await?;
            let frame = place.tell_logged(self.topic.view(), &entry, raw);
            sent.extend(frame.map(|frame| Sent::own(frame, Some(self.cursor(place)))));
        }
        if is_last {
            place.arrive(lane, self.seen);
        }
        Ok(sent)
    }

    // Only behind the last frame of the way is there a new place to go on from.
    fn sent(&self, frames: Vec<Frame>, place: &Place) -> Vec<Sent> {
        let cursor = self.cursor(place);
        let last = frames.len();
        let own = |(at, frame)| Sent::own(frame, (at + 1 == last).then(|| cursor.clone()));
        frames.into_iter().enumerate().map(own).collect()
    }

    fn cursor(&self, place: &Place) -> Cursor {
        Cursor { epoch: self.epoch.to_owned(), at: place.exact() }
    }
}
