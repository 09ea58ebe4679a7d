use std::sync::Arc;

use bytes::Bytes;
use domain::{DateTime, Utc};

use crate::{
    document::Sha256,
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{Facts, Subject},
    header::DocumentKey,
};

/// Documents over this many bytes travel as a reference, and are not held in memory.
pub const LARGEST_BODY: usize = 256 << 10;

/// An entry of the feed log as every reader in this process shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without gaps in its stream, in commit order.
    pub seq: i64,
    /// When it was taken.
    pub received_at: DateTime<Utc>,
    /// Until when embargoes were over here.
    pub released_until: DateTime<Utc>,
    /// What it says.
    pub what: What,
    /// The trace of the request that brought it (W3C Trace Context), where one is known.
    pub traceparent: Option<String>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A document has a new version.
    Edition(Change),
    /// A document's newest version stands no longer.
    Gone(Withdrawal),
    /// A version below the newest one came; readers never see it.
    Late,
    /// The rights of this client changed.
    Entitlement(String),
    /// An embargo on a document's newest version ended.
    Release(Release),
}

/// A version that some may read from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The version, with the sequence number of its release.
    pub edition: Arc<Edition>,
    /// Whose embargo ended.
    pub client_ids: Arc<[String]>,
    /// Until when embargoes were over before; the entry's own time says until when they are now.
    pub before: DateTime<Utc>,
}

/// Why a document is no longer there for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoneCause {
    /// Its sender withdrew it.
    Invalidated,
    /// The reader's rights changed.
    Revoked,
    /// A newer version is under an embargo: what the reader holds is out of date.
    Embargoed,
}

impl GoneCause {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalidated => "INVALIDATED",
            Self::Revoked => "REVOKED",
            Self::Embargoed => "EMBARGOED",
        }
    }
}

/// A new version and how to get there from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The version.
    pub edition: Arc<Edition>,
    /// What stood before, if anything did.
    pub base: Option<Base>,
    /// A merge patch from there, where it is worth sending.
    pub patch: Option<Bytes>,
    /// Whether a late reader may be given a newer version instead.
    pub conflatable: bool,
}

/// A document that stands no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Its short name in the feed.
    pub handle: i64,
    /// Which document.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// What stood before; nothing where the invalidation came first.
    pub base: Option<Base>,
}

/// One version of a document, as readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// Short name of the document in the feed.
    pub handle: i64,
    /// Which document.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// From 1.
    pub version: i32,
    /// Where the type has one.
    pub status: Option<ResultStatus>,
    /// Of the entry that brought it.
    pub seq: i64,
    /// Canonical JSON in one line, shared by all who send it; none where a list left out what is over
    /// [`LARGEST_BODY`].
    pub body: Option<Bytes>,
    /// Bytes of the canonical JSON.
    pub size: usize,
    /// Of the body.
    pub sha256: Sha256,
    /// What rights to it rest on.
    pub facts: Facts,
}

/// The version that readers held before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its number.
    pub version: i32,
    /// Its status.
    pub status: Option<ResultStatus>,
    /// Of the entry that brought it.
    pub seq: i64,
    /// What rights to it rest on.
    pub facts: Facts,
}

impl Entry {
    /// The document that it is about, where readers may get to see it.
    #[must_use]
    pub fn document(&self) -> Option<(i64, &DocumentKey, DocumentType)> {
        match &self.what {
            What::Edition(change) => {
                let edition = &change.edition;
                Some((edition.handle, &edition.key, edition.document_type))
            }
            What::Gone(gone) => Some((gone.handle, &gone.key, gone.document_type)),
            What::Release(release) => {
                let edition = &release.edition;
                Some((edition.handle, &edition.key, edition.document_type))
            }
            What::Late | What::Entitlement(_) => None,
        }
    }

    /// The version that it shows, where it shows one.
    #[must_use]
    pub const fn edition(&self) -> Option<&Arc<Edition>> {
        match &self.what {
            What::Edition(change) => Some(&change.edition),
            What::Release(release) => Some(&release.edition),
            What::Gone(_) | What::Late | What::Entitlement(_) => None,
        }
    }

    /// The same entry with another content of its version, whole.
    #[must_use]
    pub fn showing(&self, edition: Edition) -> Self {
        let edition = Arc::new(edition);
        let mut entry = self.clone();
        match &mut entry.what {
            What::Edition(change) => {
                change.edition = edition;
                change.patch = None;
            }
            What::Release(release) => release.edition = edition,
            What::Gone(_) | What::Late | What::Entitlement(_) => {}
        }
        entry
    }

    /// About how many bytes it holds in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let bytes = match &self.what {
            What::Edition(change) => {
                change.edition.body.as_ref().map_or(0, Bytes::len)
                    + change.patch.as_ref().map_or(0, Bytes::len)
            }
            What::Release(release) => release.edition.body.as_ref().map_or(0, Bytes::len),
            What::Gone(_) | What::Late | What::Entitlement(_) => 0,
        };
        bytes + 512
    }
}

impl Edition {
    /// The body, if it is small enough for a frame.
    #[must_use]
    pub fn body_in_frame(&self) -> Option<&Bytes> {
        self.body.as_ref().filter(|body| body.len() <= LARGEST_BODY)
    }

    /// What a right is about.
    #[must_use]
    pub fn subject(&self, feed_flag: FeedFlag) -> Subject<'_> {
        Subject {
            code: &self.key.document_code,
            document_type: self.document_type,
            status: self.status,
            feed_flag,
            facts: &self.facts,
        }
    }
}
