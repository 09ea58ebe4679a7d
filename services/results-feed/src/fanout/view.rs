use std::sync::Arc;

use bytes::Bytes;
use domain::{DateTime, Utc};

use crate::{
    document_type::{DocumentType, ResultStatus},
    entitlement::{Facts, Participants, Representation, Rights, Subject},
    entry::{Change, Edition, Entry, GoneCause, Release, What, Withdrawal},
    frame::{Frame, Raw},
    header::DocumentKey,
    lane::Lane,
    stream_name::StreamName,
};

/// What readers with the same rights may see: every question of permission in the feed is asked here.
#[derive(Debug, Clone)]
pub struct View {
    rights: Arc<Rights>,
    /// Of a reader of what was: these must permit it too.
    now: Option<Arc<Rights>>,
    stream: StreamName,
}

/// What an entry means for those who want to see its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    pub fn new(rights: Arc<Rights>, stream: impl Into<StreamName>, representation: Representation) -> Self {
        // Topics of the canonical document share the rights that the hub keeps, and with them each decision.
        let rights = match representation {
            Representation::Json => rights,
            Representation::Odf => Arc::new((*rights).clone().in_representation(representation)),
        };
        Self { rights, now: None, stream: stream.into() }
    }

    /// Only what these rights permit too, in the same representation.
    #[must_use]
    pub fn readable(self, now: Rights) -> Self {
        Self { now: Some(Arc::new(now)), ..self }
    }

    /// By which rights.
    #[must_use]
    pub const fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// Of which stream.
    #[must_use]
    pub const fn stream(&self) -> StreamName {
        self.stream
    }

    /// What an entry means; nothing where its readers shall not notice it.
    #[must_use]
    pub fn judge(&self, entry: &Entry) -> Option<Sight> {
        match &entry.what {
            What::Edition(change) => self.judge_change(change, entry.released_until),
            What::Gone(gone) => {
                let held = self.held_before(gone, entry.released_until);
                held.then_some(Sight::Gone(GoneCause::Invalidated))
            }
            What::Release(release) => {
                self.is_released(release, entry.released_until).then_some(Sight::Shown { base: None })
            }
            What::Late | What::Entitlement(_) => None,
        }
    }

    /// Whether a version may be seen when embargoes up to a time are over.
    #[must_use]
    pub fn sees(&self, edition: &Edition, released_until: DateTime<Utc>) -> bool {
        self.permit(&edition.subject(self.stream.feed_flag()), released_until)
    }

    /// Whether a version of this status and these facts may be seen.
    #[must_use]
    pub fn permits(
        &self,
        key: &DocumentKey,
        document_type: DocumentType,
        (status, facts): (Option<ResultStatus>, &Facts),
        released_until: DateTime<Utc>,
    ) -> bool {
        let (code, feed_flag) = (key.document_code.as_str(), self.stream.feed_flag());
        self.permit(&Subject { code, document_type, status, feed_flag, facts }, released_until)
    }

    /// Which participants of an entry's version its readers get.
    #[must_use]
    pub fn participants(&self, entry: &Entry) -> Participants {
        let Some(edition) = entry.edition() else { return Participants::All };
        self.participants_of(edition, entry.released_until)
    }

    /// Which participants of a version its readers get.
    #[must_use]
    pub fn participants_of(&self, edition: &Edition, released_until: DateTime<Utc>) -> Participants {
        let subject = edition.subject(self.stream.feed_flag());
        let then = self.rights.participants_at(&subject, released_until);
        match &self.now {
            Some(now) => then.and(now.participants(&subject)),
            None => then,
        }
    }

    /// Why a version may not be seen by those who held the one before.
    #[must_use]
    pub fn refusal(&self, edition: &Edition, released_until: DateTime<Utc>) -> Sight {
        // What it became is no one's to know before its time, not even by its status.
        if self.rights.is_embargoed_at(&edition.subject(self.stream.feed_flag()), released_until) {
            Sight::Gone(GoneCause::Embargoed)
        } else {
            Sight::Superseded
        }
    }

    fn permit(&self, document: &Subject<'_>, released_until: DateTime<Utc>) -> bool {
        self.rights.permit_at(document, released_until)
            && self.now.as_ref().is_none_or(|now| now.permit(document))
    }

    fn judge_change(&self, change: &Change, released_until: DateTime<Utc>) -> Option<Sight> {
        let edition = &change.edition;
        let base = change.base.as_ref().filter(|base| {
            let before = (base.status, &base.facts);
            self.permits(&edition.key, edition.document_type, before, released_until)
        });
        if self.sees(edition, released_until) {
            return Some(Sight::Shown { base: base.map(|base| base.version) });
        }
        base.map(|_| self.refusal(edition, released_until))
    }

    fn held_before(&self, gone: &Withdrawal, released_until: DateTime<Utc>) -> bool {
        gone.base.as_ref().is_some_and(|base| {
            self.permits(&gone.key, gone.document_type, (base.status, &base.facts), released_until)
        })
    }

    fn is_released(&self, release: &Release, until: DateTime<Utc>) -> bool {
        let (edition, before) = (&release.edition, release.before);
        release.client_ids.iter().any(|client_id| self.rights.depend_on(client_id))
            && self.sees(edition, until)
            // A version of which some participants were seen before may show more of them now.
            && (!self.sees(edition, before)
                || self.participants_of(edition, before) != self.participants_of(edition, until))
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
        (Sight::Shown { .. }, What::Release(release)) => {
            Frame::Full { edition: Arc::clone(&release.edition), previous, raw }
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
