use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::{
    cursor::Cursor,
    entitlement::Participants,
    entry::{Entry, What},
    frame::{Frame, Raw},
    lane::Lane,
};

use super::{
    budget::Budget,
    telling::Likeness,
    view::{Form, Sight, tell},
};

/// An entry as the readers of topics that are alike get it. It is encoded when the first of them needs it, once for all.
#[derive(Debug)]
pub struct Slot {
    seq: i64,
    previous: i64,
    handle: i64,
    lane: Lane,
    sight: Sight,
    entry: Arc<Entry>,
    participants: Participants,
    /// Whether the entry's trace has its last span: one frame of it is enough.
    is_traced: Arc<AtomicBool>,
    /// The entry with those participants alone.
    cut: OnceCell<Entry>,
    epoch: Arc<str>,
    budget: Arc<Budget>,
    /// As sent, for topics in representation `odf`.
    raw: OnceCell<Raw>,
    change: OnceLock<Encoded>,
    whole: OnceLock<Encoded>,
}

/// A frame as bytes that all connections share.
#[derive(Debug)]
pub struct Encoded {
    event: Bytes,
    json_at: usize,
    message: OnceLock<Bytes>,
}

const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";

impl Encoded {
    /// A frame, and the cursor after it for those whose lanes agree.
    #[must_use]
    pub fn new(cursor: Option<&Cursor>, frame: &Frame) -> Self {
        let mut event = Vec::new();
        if let Some(cursor) = cursor {
            event.extend_from_slice(format!("id: {cursor}\n").as_bytes());
        }
        event.extend_from_slice(DATA);
        let json_at = event.len();
        frame.write_json(&mut event);
        event.extend_from_slice(END);
        event.shrink_to_fit();
        Self { event: Bytes::from(event), json_at, message: OnceLock::new() }
    }

    /// As a server-sent event, with its id.
    #[must_use]
    pub fn event(&self) -> Bytes {
        self.event.clone()
    }

    /// As a server-sent event without an id.
    #[must_use]
    pub fn event_without_id(&self) -> Bytes {
        self.event.slice(self.json_at - DATA.len()..)
    }

    /// The frame as JSON.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.event.slice(self.json_at..self.event.len() - END.len())
    }

    fn message(&self, cursor: &Cursor) -> Bytes {
        self.message.get_or_init(|| with_cursor(&self.json(), cursor)).clone()
    }

    fn size(&self) -> usize {
        self.event.len() + self.message.get().map_or(0, Bytes::len)
    }
}

/// A frame of JSON with its cursor as the last member: a WebSocket message has no other place for it.
#[must_use]
pub fn with_cursor(json: &[u8], cursor: &Cursor) -> Bytes {
    let members = json.strip_suffix(b"}").unwrap_or(json);
    let last = format!(r#","c":"{cursor}"}}"#);
    let mut message = Vec::with_capacity(members.len() + last.len());
    message.extend_from_slice(members);
    message.extend_from_slice(last.as_bytes());
    Bytes::from(message)
}

impl Slot {
    /// Of an entry, as topics that are alike tell it; nothing where it is about no document. `is_traced` is one for all slots
    /// of the entry.
    #[must_use]
    pub fn new(
        entry: &Arc<Entry>,
        like: &Likeness,
        (epoch, is_traced): (&Arc<str>, &Arc<AtomicBool>),
        budget: &Arc<Budget>,
    ) -> Option<Self> {
        let (handle, _, document_type) = entry.document()?;
        budget.add(size_of::<Self>());
        Some(Self {
            seq: entry.seq,
            previous: like.previous,
            handle,
            lane: Lane::of(document_type),
            sight: like.sight,
            entry: Arc::clone(entry),
            participants: like.participants.clone(),
            is_traced: Arc::clone(is_traced),
            cut: OnceCell::new(),
            epoch: Arc::clone(epoch),
            budget: Arc::clone(budget),
            raw: OnceCell::new(),
            change: OnceLock::new(),
            whole: OnceLock::new(),
        })
    }

    /// Of its entry.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        self.seq
    }

    /// Of the frame before in its lane.
    #[must_use]
    pub const fn previous(&self) -> i64 {
        self.previous
    }

    /// Of its document.
    #[must_use]
    pub const fn handle(&self) -> i64 {
        self.handle
    }

    /// Of its document.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Its entry.
    #[must_use]
    pub const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Which participants its readers get.
    #[must_use]
    pub const fn participants(&self) -> &Participants {
        &self.participants
    }

    /// Where its entry is put with these participants alone: before that there is no frame of it.
    #[must_use]
    pub const fn cut(&self) -> &OnceCell<Entry> {
        &self.cut
    }

    /// What its readers get of its entry.
    fn shown(&self) -> Option<&Entry> {
        match self.participants {
            Participants::All => Some(&self.entry),
            Participants::Of(_) => self.cut.get(),
        }
    }

    /// Whether a late reader may be given a newer version of the document instead.
    #[must_use]
    pub fn may_be_left_out(&self) -> bool {
        let conflatable = matches!(&self.entry.what, What::Edition(change) if change.conflatable);
        conflatable && matches!(self.sight, Sight::Shown { .. })
    }

    /// Whether it shows a document's content.
    #[must_use]
    pub const fn shows_content(&self) -> bool {
        matches!(self.sight, Sight::Shown { .. })
    }

    /// Where the document as sent is put.
    #[must_use]
    pub const fn raw(&self) -> &OnceCell<Raw> {
        &self.raw
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self, form: Form) -> Option<Frame> {
        self.frame_behind(form, self.previous)
    }

    /// The frame for a connection that has another one before it.
    #[must_use]
    pub fn frame_behind(&self, form: Form, previous: i64) -> Option<Frame> {
        tell(self.shown()?, self.sight, form, self.raw.get().cloned(), previous)
    }

    /// The frame in bytes; encoded now, where nobody needed it before.
    #[must_use]
    pub fn encoded(&self, form: Form) -> &Encoded {
        let has_change = matches!(&self.entry.what, What::Edition(change) if change.patch.is_some())
            && self.participants == Participants::All
            && matches!(self.sight, Sight::Shown { base: Some(_) });
        let place = if form == Form::Change && has_change { &self.change } else { &self.whole };
        place.get_or_init(|| self.encode(form))
    }

    /// As a WebSocket message, for those whose lanes agree.
    #[must_use]
    pub fn message(&self, form: Form) -> Bytes {
        let encoded = self.encoded(form);
        if encoded.message.get().is_none() {
            let message = encoded.message(&self.cursor());
            self.budget.add(message.len());
            return message;
        }
        encoded.message(&self.cursor())
    }

    /// The cursor after it, for those whose lanes agree.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.epoch.as_ref().to_owned(), self.seq)
    }

    fn encode(&self, form: Form) -> Encoded {
        let is_first = !self.is_traced.swap(true, Ordering::Relaxed);
        let span = if is_first { write_span(&self.entry) } else { tracing::Span::none() };
        let _entered = span.enter();
        let frame = self.frame(form);
        let encoded = match frame {
            Some(frame) => Encoded::new(Some(&self.cursor()), &frame),
            // A slot is about a document: there is always one.
            None => Encoded {
                event: Bytes::from_static(b"data: \n\n"),
                json_at: DATA.len(),
                message: OnceLock::new(),
            },
        };
        self.budget.add(encoded.event.len());
        encoded
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let held: usize =
            [&self.change, &self.whole].iter().filter_map(|place| place.get()).map(Encoded::size).sum();
        self.budget.give_back(held + size_of::<Self>());
    }
}

// The last step of a document's way, in the trace of the request that brought it.
fn write_span(entry: &Entry) -> tracing::Span {
    let Some(traceparent) = &entry.traceparent else { return tracing::Span::none() };
    let span = tracing::info_span!(parent: None, "write frame", seq = entry.seq);
    outbox::trace::continue_rows(&span, [traceparent.as_str()]);
    span
}
