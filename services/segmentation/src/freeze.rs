use domain::{ConsentKey, DateTime, ProfileId, SegmentId, Utc, Uuid};

/// People in a block of a freeze.
pub const BLOCK: usize = 1_024;

/// The immutable set that a campaign is sent to.
#[derive(Debug, Clone)]
pub struct Freeze {
    /// Its id.
    pub freeze_id: Uuid,
    /// Of which segment.
    pub segment_id: SegmentId,
    /// Of which version of its rule.
    pub version: u32,
    /// For which purpose.
    pub purpose: ConsentKey,
    /// Ascending.
    pub members: Vec<ProfileId>,
    /// SHA-256 of the members.
    pub content_hash: [u8; 32],
    /// SHA-256 over rule, purpose, watermark and content.
    pub proof_hash: [u8; 32],
    /// How far the index had read.
    pub watermark: Watermark,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
}

/// Next offset to read, by topic and partition.
pub type Watermark = Vec<(String, i32, i64)>;

/// The bytes of a set of people, over which the content hash is taken: ids of 16 bytes, ascending.
#[must_use]
pub fn content(members: &[ProfileId]) -> Vec<u8> {
    members.iter().flat_map(|member| member.0.into_bytes()).collect()
}

/// The bytes over which the proof hash is taken.
#[must_use]
pub fn proof(
    rule_hash: [u8; 32],
    purpose: &ConsentKey,
    watermark: &Watermark,
    content_hash: [u8; 32],
) -> Vec<u8> {
    let mut bytes = rule_hash.to_vec();
    bytes.extend_from_slice(purpose.to_string().as_bytes());
    for (topic, partition, offset) in watermark {
        bytes.extend_from_slice(format!("\n{topic} {partition} {offset}").as_bytes());
    }
    bytes.push(b'\n');
    bytes.extend_from_slice(&content_hash);
    bytes
}
