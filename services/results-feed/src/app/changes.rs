use std::sync::Arc;

use super::App;
use crate::{
    Error,
    cursor::Cursor,
    entitlement::{Representation, Rights},
    entry::{Entry, What},
    fanout::{Place, Sent, Subscription, View},
    frame::{Frame, ResetCause},
    lane::Lane,
    store,
};

/// Most bytes of documents in a page.
const LARGEST_PAGE: usize = 2 << 20;

/// A page of the log.
#[derive(Debug)]
pub struct Changes {
    /// As a subscription of mode EVERY would have sent them, in the order of the log.
    pub frames: Vec<Sent>,
    /// Where the next page begins.
    pub cursor: Cursor,
    /// Whether there is more already.
    pub more: bool,
}

impl Changes {
    fn reset(why: ResetCause, cursor: Cursor) -> Self {
        let frame = Frame::Reset { why, cursor: cursor.clone() };
        Self { frames: vec![Sent::own(frame, None)], cursor, more: false }
    }
}

impl App {
    /// A page of the log behind a cursor, every version: at most `most` entries are looked at. A cursor that can't be
    /// served is answered by a reset, after which the reader begins with a snapshot. Each entry is judged by the rights
    /// that the reader had there, and shown only where it may be read now.
    pub async fn list_changes(&self, asked: &Subscription, most: i64) -> Result<Changes, Error> {
        let (stream, client_id) = (asked.stream, asked.client_id.as_deref());
        let stream_id = self.hub(stream).stream_id();
        let position = self.stored_position(stream).await?;
        let newest = Cursor::new(position.epoch.clone(), position.seq);
        let oldest = store::whole_from(&self.db, stream_id).await?;
        let from = match begin(asked.cursor.as_deref(), &newest, oldest) {
            Ok(from) => from,
            Err(why) => return Ok(Changes::reset(why, newest)),
        };
        let lowest = from.lowest();
        // Each page ends where the reader's rights changed, so those of its beginning hold in all of it.
        let rights = self.rights_at(stream, client_id, lowest).await?;
        let view = View::new(Arc::new(rights), stream, asked.representation)
            .readable(self.rights(client_id).await?.in_representation(asked.representation));
        let entries = store::list_after(&self.db, stream_id, lowest, position.seq, most).await?;
        // What went meanwhile would be a hole.
        if !self.reaches_back_to(stream, lowest + 1).await? {
            return Ok(Changes::reset(ResetCause::CursorTooOld, newest));
        }
        self.told(asked, &view, from, cut_to_size(entries), position.seq).await
    }

    async fn told(
        &self,
        asked: &Subscription,
        view: &View,
        from: Cursor,
        entries: Vec<Entry>,
        newest: i64,
    ) -> Result<Changes, Error> {
        let epoch = from.epoch;
        let mut place = Place::new(from.at);
        let here = |place: &Place| Cursor { epoch: epoch.clone(), at: place.exact() };
        let mut frames = Vec::new();
        let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
        let mut raws = match asked.representation {
            Representation::Json => std::collections::HashMap::new(),
            Representation::Odf => self.list_raw(asked.stream, &seqs).await?,
        };
        for entry in entries {
            let seq = entry.seq;
            let raw = raws.remove(&seq);
            let changes_rights = changes_rights(view.rights(), &entry);
            let frame = match wanted(asked, &entry) {
                true => place.tell_logged(view, &self.cut_entry(view, entry).await?, raw),
                false => None,
            };
            for lane in Lane::ALL {
                place.arrive(lane, seq);
            }
            frames.extend(frame.map(|frame| Sent::own(frame, Some(here(&place)))));
            if changes_rights {
                let cursor = here(&place);
                let frame = Frame::Reset { why: ResetCause::FilterChanged, cursor: cursor.clone() };
                frames.push(Sent::own(frame, Some(cursor)));
                break;
            }
        }
        let cursor = here(&place);
        Ok(Changes { frames, more: cursor.lowest() < newest, cursor })
    }
}

fn changes_rights(rights: &Rights, entry: &Entry) -> bool {
    matches!(&entry.what, What::Entitlement(client_id) if rights.depend_on(client_id))
}

fn wanted(asked: &Subscription, entry: &Entry) -> bool {
    let prefixes = asked.filter.prefixes();
    entry
        .document()
        .is_some_and(|(_, key, _)| prefixes.iter().any(|prefix| prefix.matches(&key.document_code)))
}

// Behind which place a page begins.
fn begin(cursor: Option<&str>, newest: &Cursor, oldest: i64) -> Result<Cursor, ResetCause> {
    let Some(text) = cursor else { return Ok(Cursor::new(newest.epoch.clone(), oldest - 1)) };
    let cursor: Cursor = text.parse().map_err(|_| ResetCause::CursorInvalid)?;
    if cursor.epoch != newest.epoch {
        return Err(ResetCause::EpochChanged);
    }
    if cursor.highest() > newest.highest() {
        return Err(ResetCause::CursorAhead);
    }
    if cursor.lowest() < oldest - 1 {
        return Err(ResetCause::CursorTooOld);
    }
    Ok(cursor)
}

// One entry is always in a page.
fn cut_to_size(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut bytes = 0;
    let fitting = entries.iter().take_while(|entry| {
        bytes += entry.weight();
        bytes <= LARGEST_PAGE
    });
    let fitting = fitting.count().max(1);
    entries.truncate(fitting);
    entries
}
