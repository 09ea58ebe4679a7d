use std::{collections::HashMap, sync::Arc};

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

impl Move {
    /// Compares what the readers of a topic might see at `seq` with what they may see there by other rights.
    ///
    /// # Errors
    /// The database.
    pub async fn load(app: &App, before: &Topic, after: &Arc<Rights>, seq: i64) -> Result<Self, Error> {
        let (old, prefixes) = (before.view(), before.filter().prefixes());
        let feed_flag = old.feed_flag();
        let new = View::new(Arc::clone(after), feed_flag, before.representation());
        let until = app.released_at(feed_flag, seq).await?;
        let (mut changes, mut handle) = (Vec::new(), 0);
        loop {
            let page = app.list_state(feed_flag, prefixes, seq, handle, PAGE).await?;
            let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
            for edition in page {
                handle = edition.handle;
                let participants = new.participants_of(&edition, until);
                let lane = Lane::of(edition.document_type);
                match (old.sees(&edition, until), new.sees(&edition, until)) {
                    (true, false) => changes.push(Changed { lane, handle, gets: None }),
                    (held, true) if !held || old.participants_of(&edition, until) != participants => {
                        let gets = Some(load(app, before, edition, &participants, seq).await?);
                        changes.push(Changed { lane, handle, gets });
                    }
                    _ => {}
                }
            }
            if is_last {
                return Ok(Self { seq, changes });
            }
        }
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
        sent
    }
}

async fn load(
    app: &App,
    topic: &Topic,
    edition: Edition,
    participants: &Participants,
    seq: i64,
) -> Result<(Arc<Edition>, Option<Raw>), Error> {
    let mut raws = match topic.representation() {
        Representation::Json => HashMap::new(),
        Representation::Odf => app.list_raw(topic.view().feed_flag(), &[edition.seq]).await?,
    };
    let raw = raws.remove(&edition.seq);
    let edition = app.cut(edition, participants).await?;
    // For its readers it comes here.
    Ok((Arc::new(Edition { seq, ..edition }), raw))
}
