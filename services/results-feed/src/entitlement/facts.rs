use std::sync::Arc;

use domain::{DateTime, Noc, Utc};

use crate::document_type::{DocumentType, FeedFlag, ResultStatus};

/// What decisions about one version of a document rest on, beside its header. Known when the version is taken into the log,
/// and never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Organisations of its competitors or participants, each once and sorted; at most [`super::MOST_NOCS`].
    pub nocs: Arc<[Noc]>,
    /// When the document reached the status that this version has: a correction keeps the time of what it corrects.
    pub status_since: DateTime<Utc>,
    /// When this version was taken.
    pub received_at: DateTime<Utc>,
}

impl Facts {
    /// Of a version that names no competitors and has just reached its status.
    #[must_use]
    pub fn plain(received_at: DateTime<Utc>) -> Self {
        Self { nocs: Arc::from([]), status_since: received_at, received_at }
    }
}

/// What a decision is about: one version of a document.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its document code.
    pub code: &'a str,
    /// Its type.
    pub document_type: DocumentType,
    /// Its status.
    pub status: Option<ResultStatus>,
    /// Production or test.
    pub feed_flag: FeedFlag,
    /// The rest.
    pub facts: &'a Facts,
}
