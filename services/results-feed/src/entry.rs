use std::sync::Arc;

use bytes::Bytes;
use domain::{DateTime, Utc};

use crate::{
    document::Sha256,
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::Subject,
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
}

/// Why a document is no longer there for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoneCause {
    /// Its sender withdrew it.
    Invalidated,
}

impl GoneCause {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalidated => "INVALIDATED",
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
}

/// The version that readers held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Its number.
    pub version: i32,
    /// Its status.
    pub status: Option<ResultStatus>,
    /// Of the entry that brought it.
    pub seq: i64,
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
            What::Late | What::Entitlement(_) => None,
        }
    }

    /// About how many bytes it holds in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let bytes = match &self.what {
            What::Edition(change) => {
                change.edition.body.as_ref().map_or(0, Bytes::len)
                    + change.patch.as_ref().map_or(0, Bytes::len)
            }
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
        }
    }
}
