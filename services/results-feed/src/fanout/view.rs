use std::sync::Arc;

use bytes::Bytes;

use crate::{
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{Rights, Subject},
    entry::{Change, Edition, Entry, GoneCause, What, Withdrawal},
    frame::{Frame, Raw},
    header::DocumentKey,
    lane::Lane,
};

/// What readers with the same rights may see: every question of permission in the feed is asked here.
#[derive(Debug, Clone)]
pub struct View {
    rights: Arc<Rights>,
    feed_flag: FeedFlag,
}

/// What an entry means for those who want to see its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// They may see the new version.
    Shown {
        /// The version before, where they hold it.
        base: Option<i32>,
    },
    /// They hold a version, and may not see the new one.
    Superseded,
    /// They hold a version that stands no longer.
    Gone(GoneCause),
}

/// How much of a version is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What changed, where that is worth it.
    Change,
    /// All of it.
    Whole,
}

impl View {
    /// Of a stream by these rights.
    #[must_use]
    pub const fn new(rights: Arc<Rights>, feed_flag: FeedFlag) -> Self {
        Self { rights, feed_flag }
    }

    /// By which rights.
    #[must_use]
    pub const fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// Of which stream.
    #[must_use]
    pub const fn feed_flag(&self) -> FeedFlag {
        self.feed_flag
    }

    /// What an entry means; nothing where its readers shall not notice it.
    #[must_use]
    pub fn judge(&self, entry: &Entry) -> Option<Sight> {
        match &entry.what {
            What::Edition(change) => self.judge_change(change),
            What::Gone(gone) => self.held_before(gone).then_some(Sight::Gone(GoneCause::Invalidated)),
            What::Late | What::Entitlement(_) => None,
        }
    }

    /// Whether a version may be seen.
    #[must_use]
    pub fn sees(&self, edition: &Edition) -> bool {
        self.rights.permit(&edition.subject(self.feed_flag))
    }

    /// Whether a version of this status may be seen.
    #[must_use]
    pub fn permits(
        &self,
        key: &DocumentKey,
        document_type: DocumentType,
        status: Option<ResultStatus>,
    ) -> bool {
        let feed_flag = self.feed_flag;
        self.rights.permit(&Subject { code: &key.document_code, document_type, status, feed_flag })
    }

    fn judge_change(&self, change: &Change) -> Option<Sight> {
        let edition = &change.edition;
        let base = change.base.filter(|base| self.permits(&edition.key, edition.document_type, base.status));
        if self.sees(edition) {
            return Some(Sight::Shown { base: base.map(|base| base.version) });
        }
        base.map(|_| Sight::Superseded)
    }

    fn held_before(&self, gone: &Withdrawal) -> bool {
        gone.base.is_some_and(|base| self.permits(&gone.key, gone.document_type, base.status))
    }
}

/// The frame that tells an entry; nothing for entries that are about no document.
#[must_use]
pub fn tell(entry: &Entry, sight: Sight, form: Form, raw: Option<Raw>, previous: i64) -> Option<Frame> {
    let (handle, _, document_type) = entry.document()?;
    let (seq, lane) = (entry.seq, Lane::of(document_type));
    let frame = match (sight, &entry.what) {
        (Sight::Shown { base }, What::Edition(change)) => {
            let edition = Arc::clone(&change.edition);
            match (patch(change, form, raw.is_some()), base) {
                (Some(patch), Some(base_version)) => Frame::Delta { edition, base_version, patch, previous },
                _ => Frame::Full { edition, previous, raw },
            }
        }
        (Sight::Superseded, What::Edition(change)) => {
            let (version, status) = (change.edition.version, change.edition.status);
            Frame::Superseded { handle, version, status, seq, previous, lane }
        }
        (Sight::Gone(why), _) => Frame::Gone { handle, seq, previous, lane, why },
        _ => return None,
    };
    Some(frame)
}

fn patch(change: &Change, form: Form, as_sent: bool) -> Option<Bytes> {
    if form == Form::Whole || as_sent { None } else { change.patch.clone() }
}
