mod json;

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use domain::{DateTime, Utc};

use crate::{
    cursor::Cursor,
    document::Sha256,
    document_type::ResultStatus,
    entry::{Edition, GoneCause},
    lane::Lane,
};

/// Seconds between heartbeats.
pub const HEARTBEAT_SECONDS: u32 = 5;

/// A document as its sender wrote it, in representation `odf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// XML; none where it is too large for a frame.
    pub body: Option<Bytes>,
    /// Its bytes.
    pub size: usize,
    /// Of these bytes.
    pub sha256: Sha256,
}

/// A venue whose data is late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Code of the venue.
    pub venue: String,
    /// Code of the discipline.
    pub discipline: String,
    /// Seconds since its last sign of life.
    pub age_seconds: u32,
}

/// One frame of the feed: the same vocabulary on every carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first one.
    Hello {
        /// Such as `SYN2030-P`.
        stream: String,
        /// Where the stream is.
        cursor: Cursor,
    },
    /// A document of the snapshot.
    Snap {
        /// The version.
        edition: Arc<Edition>,
        /// As sent, in representation `odf`.
        raw: Option<Raw>,
    },
    /// The snapshot is complete.
    Live {
        /// From here the changes follow.
        cursor: Cursor,
    },
    /// A merge patch from the version that the reader holds.
    Delta {
        /// The new version.
        edition: Arc<Edition>,
        /// The version that it patches.
        base_version: i32,
        /// The patch.
        patch: Bytes,
        /// Sequence number of the frame before in this lane.
        previous: i64,
    },
    /// A whole document.
    Full {
        /// The new version.
        edition: Arc<Edition>,
        /// See `Delta`.
        previous: i64,
        /// As sent, in representation `odf`.
        raw: Option<Raw>,
    },
    /// A document stands no longer.
    Gone {
        /// Which.
        handle: i64,
        /// Of this entry.
        seq: i64,
        /// See `Delta`.
        previous: i64,
        /// Of the document.
        lane: Lane,
        /// Why.
        why: GoneCause,
    },
    /// A newer version has a status that the reader may not see.
    Superseded {
        /// Which document.
        handle: i64,
        /// The newer version.
        version: i32,
        /// Its status.
        status: Option<ResultStatus>,
        /// Of this entry.
        seq: i64,
        /// See `Delta`.
        previous: i64,
        /// Of the document.
        lane: Lane,
    },
    /// A bridge over frames that this reader does not get: versions that newer ones make needless, or, with a count of
    /// 0, versions that it never counted on.
    Skip {
        /// See `Delta`.
        previous: i64,
        /// The next frame's `previous`.
        seq: i64,
        /// How many were left out.
        count: u32,
        /// In this lane.
        lane: Lane,
    },
    /// Nothing new, and how fresh that is.
    Heartbeat {
        /// Of the newest entry that was looked at, in every lane.
        seq: i64,
        /// Now.
        at: DateTime<Utc>,
        /// Age in milliseconds of what this process knows of the stream.
        lag_ms: u32,
        /// Venues whose data is late.
        stale: Arc<[Stale]>,
    },
    /// What the reader holds is void; a snapshot follows.
    Reset {
        /// Why.
        why: ResetCause,
        /// Where the stream is.
        cursor: Cursor,
    },
    /// The last one.
    Bye {
        /// Why.
        why: ByeCause,
        /// When to come back, in milliseconds.
        retry_ms: u32,
    },
}

/// Why a reader starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetCause {
    /// Committed entries were lost.
    EpochChanged,
    /// The log no longer goes back that far, or too much lies between.
    CursorTooOld,
    /// The cursor is of entries that never were.
    CursorAhead,
    /// It is no cursor.
    CursorInvalid,
    /// The reader's rights changed.
    FilterChanged,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByeCause {
    /// The process goes down.
    Drain,
    /// The token is no longer good.
    TokenExpired,
    /// The connection is old: readers spread over replicas again.
    Age,
}

impl ResetCause {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EpochChanged => "EPOCH_CHANGED",
            Self::CursorTooOld => "CURSOR_TOO_OLD",
            Self::CursorAhead => "CURSOR_AHEAD",
            Self::CursorInvalid => "CURSOR_INVALID",
            Self::FilterChanged => "FILTER_CHANGED",
        }
    }
}

impl ByeCause {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "DRAIN",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::Age => "AGE",
        }
    }
}

impl Frame {
    /// The frame as JSON in one line.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut json = Vec::new();
        self.write_json(&mut json);
        Bytes::from(json)
    }

    /// Adds the frame as JSON in one line.
    pub fn write_json(&self, json: &mut Vec<u8>) {
        json::write(self, json);
    }
}

/// Where a document over the limit is read.
#[must_use]
pub fn href(edition: &Edition, raw: Option<&Raw>) -> String {
    let form = if raw.is_some() { "?rep=odf" } else { "" };
    format!("/results/v1/documents/{}/{}{form}", edition.handle, edition.seq)
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a string has no way to fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
