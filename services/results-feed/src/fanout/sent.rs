use std::sync::Arc;

use bytes::Bytes;

use super::{
    slot::{Encoded, Slot, with_cursor},
    snapshot::{Page, Snap},
    view::Form,
};
use crate::{cursor::Cursor, frame::Frame};

/// What goes out on one connection: frames of its own, or shared ones. It is written in the words of each carrier.
#[derive(Debug)]
pub struct Sent {
    cursor: After,
    what: What,
}

#[derive(Debug)]
enum After {
    None,
    /// That of the shared frame.
    Shared,
    Own(Cursor),
}

#[derive(Debug)]
enum What {
    Frame(Frame),
    Slot(Arc<Slot>, Form),
    Page(Arc<Page>),
}

impl Sent {
    /// A frame of this connection alone, and the cursor after it.
    #[must_use]
    pub fn own(frame: Frame, cursor: Option<Cursor>) -> Self {
        Self { cursor: cursor.map_or(After::None, After::Own), what: What::Frame(frame) }
    }

    /// A frame that its topic's readers share, on a connection whose lanes agree.
    #[must_use]
    pub const fn shared(slot: Arc<Slot>, form: Form) -> Self {
        Self { cursor: After::Shared, what: What::Slot(slot, form) }
    }

    /// A frame that its topic's readers share, with a cursor of this connection.
    #[must_use]
    pub fn shared_at(slot: Arc<Slot>, form: Form, cursor: Option<Cursor>) -> Self {
        Self { cursor: cursor.map_or(After::None, After::Own), what: What::Slot(slot, form) }
    }

    /// A page of a snapshot.
    #[must_use]
    pub const fn page(page: Arc<Page>) -> Self {
        Self { cursor: After::None, what: What::Page(page) }
    }

    /// How many frames it is.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        match &self.what {
            What::Page(page) => page.snaps().len(),
            _ => 1,
        }
    }

    /// As server-sent events, in pieces.
    pub fn events(&self, mut write: impl FnMut(Bytes)) {
        match (&self.what, &self.cursor) {
            (What::Page(page), _) => write(page.events()),
            (What::Slot(slot, form), After::Shared) => write(slot.encoded(*form).event()),
            (What::Slot(slot, form), after) => {
                if let After::Own(cursor) = after {
                    write(Bytes::from(format!("id: {cursor}\n")));
                }
                write(slot.encoded(*form).event_without_id());
            }
            (What::Frame(frame), After::Own(cursor)) => write(Encoded::new(Some(cursor), frame).event()),
            (What::Frame(frame), _) => write(Encoded::new(None, frame).event()),
        }
    }

    /// As WebSocket messages.
    pub fn messages(&self, mut write: impl FnMut(Bytes)) {
        match (&self.what, &self.cursor) {
            (What::Page(page), _) => page.snaps().iter().map(Snap::json).for_each(write),
            (What::Slot(slot, form), After::Shared) => write(slot.message(*form)),
            (What::Slot(slot, form), After::Own(cursor)) => {
                write(with_cursor(&slot.encoded(*form).json(), cursor));
            }
            (What::Slot(slot, form), After::None) => write(slot.encoded(*form).json()),
            (What::Frame(frame), After::Own(cursor)) => write(with_cursor(&frame.to_json(), cursor)),
            (What::Frame(frame), _) => write(frame.to_json()),
        }
    }

    /// As frames, each with the cursor after it.
    pub fn frames(&self, mut write: impl FnMut(Option<Cursor>, Frame)) {
        let own = match &self.cursor {
            After::Own(cursor) => Some(cursor.clone()),
            _ => None,
        };
        match &self.what {
            What::Page(page) => page.snaps().iter().for_each(|snap| write(None, snap.frame())),
            What::Slot(slot, form) => {
                let cursor = if matches!(self.cursor, After::Shared) { Some(slot.cursor()) } else { own };
                if let Some(frame) = slot.frame(*form) {
                    write(cursor, frame);
                }
            }
            What::Frame(frame) => write(own, frame.clone()),
        }
    }
}
