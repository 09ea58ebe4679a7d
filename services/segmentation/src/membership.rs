use domain::{DateTime, ProfileId, SegmentId, Utc};

/// A person entered or left a live segment.
#[derive(Debug, Clone)]
pub struct Transition {
    /// Which segment.
    pub segment_id: SegmentId,
    /// Its key.
    pub segment_key: String,
    /// Version of its rule.
    pub version: u32,
    /// Who.
    pub profile_id: ProfileId,
    /// True for in, false for out.
    pub entered: bool,
    /// profile, consent, rule or clock.
    pub cause: &'static str,
    /// True while a new version is filled for the first time.
    pub backfill: bool,
    /// When.
    pub at: DateTime<Utc>,
}
