use std::{collections::HashMap, sync::Arc};

use domain::{DateTime, Utc};

use super::{
    place::Place,
    sent::Sent,
    topic::{Representation, Topic},
    view::View,
};
use crate::{
    Error,
    app::App,
    cursor::Cursor,
    entitlement::{Participants, Rights},
    entry::{Edition, GoneCause},
    frame::{Frame, Raw},
    lane::Lane,
};

/// Documents of a page.
const PAGE: i64 = 500;

/// What a change of rights means for those who hold the state that stood there: what they lose and what they get.
#[derive(Debug)]
pub struct Move {
    seq: i64,
    changes: Vec<Changed>,
}

#[derive(Debug)]
struct Changed {
    lane: Lane,
    handle: i64,
    /// What they may see now, and as it was sent; none where they lose it.
    gets: Option<(Arc<Edition>, Option<Raw>)>,
}

/// What a change of rights means for one version that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Its readers may not see it any more.
    Lost,
    /// They may see it now, or other participants of it: these.
    Got(Participants),
}

impl Meaning {
    /// Compares what readers might see with what they may see now, when embargoes up to a time are over; nothing where that
    /// is the same.
    #[must_use]
    pub fn of(before: &View, after: &View, edition: &Edition, released_until: DateTime<Utc>) -> Option<Self> {
        let (held, sees) = (before.sees(edition, released_until), after.sees(edition, released_until));
        if !sees {
            return held.then_some(Self::Lost);
        }
        let participants = after.participants_of(edition, released_until);
        let is_same = held && before.participants_of(edition, released_until) == participants;
        (!is_same).then_some(Self::Got(participants))
    }
}

impl Move {
    /// Compares what the readers of a topic might see at `seq` with what they may see there by other rights.
    ///
    /// # Errors
    /// The database.
    pub async fn load(app: &App, before: &Topic, after: &Arc<Rights>, seq: i64) -> Result<Self, Error> {
        let (old, prefixes) = (before.view(), before.filter().prefixes());
        let stream = old.stream();
        let new = View::new(Arc::clone(after), stream, before.representation());
        let until = app.released_at(stream, seq).await?;
        let (mut moved, mut handle) = (Self::none(seq), 0);
        loop {
            let page = app.list_state(stream, prefixes, seq, handle, PAGE).await?;
            let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
            for edition in page {
                handle = edition.handle;
                match Meaning::of(old, &new, &edition, until) {
                    Some(Meaning::Lost) => moved.lose(&edition),
                    Some(Meaning::Got(participants)) => {
                        let (edition, raw) = load(app, before, edition, &participants).await?;
                        moved.get(edition, raw);
                    }
                    None => {}
                }
            }
            if is_last {
                return Ok(moved);
            }
        }
    }

    /// A change at `seq` that means nothing yet.
    #[must_use]
    pub const fn none(seq: i64) -> Self {
        Self { seq, changes: Vec::new() }
    }

    /// They lose this version.
    pub fn lose(&mut self, edition: &Edition) {
        let (lane, handle) = (Lane::of(edition.document_type), edition.handle);
        self.changes.push(Changed { lane, handle, gets: None });
    }

    /// They get this version, and as it was sent.
    pub fn get(&mut self, edition: Edition, raw: Option<Raw>) {
        let (lane, handle) = (Lane::of(edition.document_type), edition.handle);
        // For its readers it comes here.
        let edition = Arc::new(Edition { seq: self.seq, ..edition });
        self.changes.push(Changed { lane, handle, gets: Some((edition, raw)) });
    }

    /// The frames for a connection. Only the last one has a cursor: who drops before it is told all of it again.
    pub fn tell(&self, place: &mut Place, epoch: &str) -> Vec<Sent> {
        let seq = self.seq;
        let last = self.changes.len();
        let mut sent = Vec::with_capacity(last);
        for (at, change) in self.changes.iter().enumerate() {
            let (lane, handle) = (change.lane, change.handle);
            let previous = place.tell(lane, seq);
            let frame = match &change.gets {
                None => Frame::Gone { handle, seq, previous, lane, why: GoneCause::Revoked },
                Some((edition, raw)) => {
                    Frame::Full { edition: Arc::clone(edition), previous, raw: raw.clone() }
                }
            };
            let cursor = (at + 1 == last).then(|| Cursor::new(epoch.to_owned(), seq));
            sent.push(Sent::own(frame, cursor));
        }
        Lane::ALL.iter().for_each(|lane| place.arrive(*lane, seq));
        sent
    }
}

async fn load(
    app: &App,
    topic: &Topic,
    edition: Edition,
    participants: &Participants,
) -> Result<(Edition, Option<Raw>), Error> {
    let mut raws = match topic.representation() {
        Representation::Json => HashMap::new(),
        Representation::Odf => app.list_raw(topic.view().stream(), &[edition.seq]).await?,
    };
    let raw = raws.remove(&edition.seq);
    Ok((app.cut(edition, participants).await?, raw))
}
