use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use domain::{DateTime, NaiveDate, Utc, Uuid};

use crate::{
    canonical::Body,
    decoders::Decoded,
    difference::Difference,
    document::{self, Document, Outcome, Sha256, Version},
    document_type::{DocumentType, ResultStatus},
    entitlement::{self, Facts},
    entry::{Base, LARGEST_BODY},
    header::DocumentKey,
    quarantine::Reason,
};

/// A patch larger than this share of its document, in percent, is not worth its base.
const WORTHWHILE: usize = 60;

/// A decoded document on its way into the log.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Header and body.
    pub decoded: Decoded,
    /// Canonical bytes of the body; none invalidates.
    pub canonical: Option<Bytes>,
    /// Of the canonical bytes.
    pub sha256: Option<Sha256>,
    /// As it was sent.
    pub raw: Bytes,
    /// Key id or OAuth client that sent it.
    pub publisher: String,
    /// The request that brought it: what it sets in motion belongs to its trace.
    pub span: tracing::Span,
}

/// What a sender is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// It is in the log and in the feed.
    Accepted {
        /// Where.
        seq: i64,
    },
    /// It was there.
    Duplicate {
        /// Where.
        seq: i64,
    },
    /// It is in the log only.
    Late {
        /// Where.
        seq: i64,
    },
    /// It was kept aside.
    Quarantined(Reason),
}

impl Receipt {
    /// The name on the wire.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Duplicate { .. } => "duplicate",
            Self::Late { .. } => "late",
            Self::Quarantined(_) => "quarantined",
        }
    }

    /// Where it is in the log; 0 for what is not.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        match self {
            Self::Accepted { seq } | Self::Duplicate { seq } | Self::Late { seq } => *seq,
            Self::Quarantined(_) => 0,
        }
    }
}

/// A document as the database holds it: its head and, while it stands, its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its id.
    pub document_id: Uuid,
    /// The newest version.
    pub document: Document,
    /// Its body; none where it is invalidated.
    pub body: Option<Arc<Body>>,
    /// What rights to its newest version rest on.
    pub facts: Facts,
}

/// What kind an entry about a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new version.
    Document,
    /// The newest version stands no longer.
    Invalidation,
    /// Older than the newest.
    Late,
}

impl Kind {
    /// The name in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Invalidation => "invalidation",
            Self::Late => "late",
        }
    }
}

/// A row of the log about a document.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its place.
    pub seq: i64,
    /// What kind.
    pub kind: Kind,
    /// Which document.
    pub document_id: Uuid,
    /// Its identity.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// Its version.
    pub version: i32,
    /// Its status.
    pub status: Option<ResultStatus>,
    /// What stood before.
    pub base: Option<Base>,
    /// The body that stood before.
    pub before: Option<Arc<Body>>,
    /// The body.
    pub body: Option<Arc<Body>>,
    /// Canonical bytes of the body.
    pub canonical: Option<Bytes>,
    /// A patch from the base.
    pub patch: Option<Bytes>,
    /// Of the canonical bytes.
    pub sha256: Option<Sha256>,
    /// Whether a late reader may miss it.
    pub conflatable: bool,
    /// The day of competition.
    pub logical_date: NaiveDate,
    /// The sending system.
    pub source: String,
    /// As sent.
    pub raw: Bytes,
    /// What rights to it rest on.
    pub facts: Facts,
    /// The request that brought it.
    pub span: tracing::Span,
}

/// Takes submissions one after the other, as if each were alone: what an earlier one of the batch changed counts for the
/// later ones.
#[derive(Debug)]
pub struct Ledger {
    seq: i64,
    heads: HashMap<DocumentKey, Head>,
    rows: Vec<Row>,
    now: DateTime<Utc>,
}

impl Ledger {
    /// Behind the stream's newest entry, with the heads of every document that will be offered and exists.
    #[must_use]
    pub const fn new(seq: i64, heads: HashMap<DocumentKey, Head>, now: DateTime<Utc>) -> Self {
        Self { seq, heads, rows: Vec::new(), now }
    }

    /// Decides on a submission; `document_id` is for a document that is new.
    pub fn take(&mut self, submission: &Submission, document_id: Uuid) -> Receipt {
        let header = &submission.decoded.header;
        let head = self.heads.get(&header.key);
        let offer = Version { version: header.version, sha256: submission.sha256, status: header.status };
        let outcome = Document::offer(head.map(|head| &head.document), &offer);
        match outcome {
            Outcome::Duplicate => Receipt::Duplicate { seq: head.map_or(0, |head| head.document.seq) },
            Outcome::Conflict => Receipt::Quarantined(Reason::VersionConflict),
            Outcome::Accepted | Outcome::Invalidated | Outcome::Late => {
                self.seq += 1;
                let row = self.row(submission, outcome, document_id);
                if outcome != Outcome::Late {
                    self.heads.insert(
                        header.key.clone(),
                        next_head(&row, &submission.sha256, self.heads.get(&header.key)),
                    );
                }
                self.rows.push(row);
                match outcome {
                    Outcome::Late => Receipt::Late { seq: self.seq },
                    _ => Receipt::Accepted { seq: self.seq },
                }
            }
        }
    }

    /// The stream's new sequence number, the heads that changed, and the rows for the log.
    #[must_use]
    pub fn finish(self) -> (i64, Vec<(DocumentKey, Head)>, Vec<Row>) {
        let Self { seq, mut heads, rows, .. } = self;
        let mut changed = Vec::new();
        for row in rows.iter().filter(|row| row.kind != Kind::Late) {
            if let Some(head) = heads.remove(&row.key) {
                changed.push((row.key.clone(), head));
            }
        }
        (seq, changed, rows)
    }

    fn row(&self, submission: &Submission, outcome: Outcome, document_id: Uuid) -> Row {
        let header = &submission.decoded.header;
        let head = self.heads.get(&header.key);
        let standing = head.filter(|head| !head.document.invalidated);
        let kind = match outcome {
            Outcome::Late => Kind::Late,
            Outcome::Invalidated => Kind::Invalidation,
            _ => Kind::Document,
        };
        let before = standing.and_then(|head| head.body.clone());
        let body = submission.decoded.body.clone().map(Arc::new);
        let difference = match (&before, &body, kind) {
            (Some(before), Some(body), Kind::Document) => Difference::between(before.bytes(), body.bytes()),
            _ => None,
        };
        let status_before = standing.and_then(|head| head.document.standing_status());
        let status_after = if kind == Kind::Invalidation { None } else { header.status };
        let conflatable = kind != Kind::Invalidation
            && document::is_conflatable(
                header.document_type,
                status_before,
                status_after,
                difference.as_ref().is_some_and(|difference| difference.changes_notes),
            );
        let whole = submission.canonical.as_ref().map_or(0, Bytes::len);
        let patch = difference
            .map(|difference| difference.patch)
            .filter(|patch| patch.len() * 100 <= whole * WORTHWHILE && patch.len() <= LARGEST_BODY);
        Row {
            seq: self.seq,
            kind,
            document_id: head.map_or(document_id, |head| head.document_id),
            key: header.key.clone(),
            document_type: header.document_type,
            version: header.version,
            status: header.status,
            base: standing.filter(|_| kind != Kind::Late).map(|head| Base {
                version: head.document.version,
                status: head.document.status,
                seq: head.document.seq,
                facts: head.facts.clone(),
            }),
            facts: self.facts(submission, standing, kind),
            before,
            body,
            canonical: submission.canonical.clone(),
            patch,
            sha256: submission.sha256,
            conflatable,
            logical_date: header.logical_date,
            source: header.source.clone(),
            raw: submission.raw.clone(),
            span: submission.span.clone(),
        }
    }

    fn facts(&self, submission: &Submission, standing: Option<&Head>, kind: Kind) -> Facts {
        let header = &submission.decoded.header;
        let Some(body) = &submission.decoded.body else { return Facts::plain(self.now) };
        let same_status =
            standing.filter(|head| kind == Kind::Document && head.document.status == header.status);
        let nocs = entitlement::nocs_of(header.document_type, &header.key.document_code, body);
        Facts {
            nocs: nocs.into(),
            status_since: same_status.map_or(self.now, |head| head.facts.status_since),
            received_at: self.now,
        }
    }
}

// An invalidated version keeps its hash, so that its repeat is still known as a repeat.
fn next_head(row: &Row, sha256: &Option<Sha256>, held: Option<&Head>) -> Head {
    let same_version = held.filter(|head| head.document.version == row.version);
    Head {
        document_id: row.document_id,
        document: Document {
            version: row.version,
            sha256: sha256.or_else(|| same_version.and_then(|head| head.document.sha256)),
            status: row.status.or_else(|| same_version.and_then(|head| head.document.status)),
            invalidated: row.kind == Kind::Invalidation,
            seq: row.seq,
        },
        body: row.body.clone(),
        facts: row.facts.clone(),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
