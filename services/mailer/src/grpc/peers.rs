//! The services that mailer calls, in domain types.

use chassis::{Coded, Peer, PeerError};
use domain::{CampaignId, ConsentKey, ProfileId, SegmentId, Uuid};
use proto::{
    profile::v1::{ConsentAnswer, RecordConsentsRequest, consent_service_client::ConsentServiceClient},
    segmentation::v1::{
        CreateFreezeRequest, StreamFreezeRequest, StreamFreezeResponse,
        freeze_service_client::FreezeServiceClient,
    },
};
use tonic::{Code, Status, Streaming};

/// Most people of a block.
const BLOCK: usize = 1_024;

/// Segmentation's freezes.
#[derive(Clone)]
pub struct Segmentation {
    freezes: FreezeServiceClient<Peer>,
}

/// Profile's consents.
#[derive(Clone)]
pub struct Profiles {
    consents: ConsentServiceClient<Peer>,
}

/// What segmentation froze.
#[derive(Debug)]
pub struct Freeze {
    /// Its id.
    pub freeze_id: Uuid,
    /// Hex SHA-256.
    pub content_hash: String,
    /// How many people.
    pub count: u64,
    /// Next offset by topic and partition that it had read.
    pub watermark: Vec<(String, i32, i64)>,
}

/// The people of a freeze, block by block.
pub struct Blocks(Streaming<StreamFreezeResponse>);

/// Why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub enum PeerFailure {
    /// It never will: the reason is the peer's.
    #[error("refused with {0}")]
    Refused(String),
    /// The answer cannot be read.
    #[error("the answer has a wrong {0}")]
    Answer(&'static str),
    /// It may later.
    #[error("the call failed")]
    Failed(#[source] PeerError),
}

impl Segmentation {
    /// Over a channel.
    #[must_use]
    pub fn new(peer: Peer) -> Self {
        Self { freezes: FreezeServiceClient::new(peer) }
    }

    /// Freezes a segment for a purpose; the same campaign again gives the same freeze.
    pub async fn create_freeze(
        &self,
        campaign_id: CampaignId,
        segment_id: SegmentId,
        purpose: &ConsentKey,
    ) -> Result<Freeze, PeerFailure> {
        let request = CreateFreezeRequest {
            request_id: campaign_id.to_string(),
            segment_id: segment_id.to_string(),
            purpose: purpose.purpose().name().to_owned(),
            recipient: purpose.recipient().to_owned(),
        };
        let freeze =
            self.freezes.clone().create_freeze(request).await?.into_inner().freeze.unwrap_or_default();
        let watermark = freeze.watermark.unwrap_or_default().offsets.into_iter();
        Ok(Freeze {
            freeze_id: Uuid::try_parse(&freeze.freeze_id).map_err(|_| PeerFailure::Answer("freeze_id"))?,
            content_hash: freeze.content_hash,
            count: freeze.count,
            watermark: watermark.map(|at| (at.topic, at.partition, at.next_offset)).collect(),
        })
    }

    /// The people of a freeze from a block on.
    pub async fn stream_freeze(&self, freeze_id: Uuid, from_block: u32) -> Result<Blocks, PeerFailure> {
        let request = StreamFreezeRequest { freeze_id: freeze_id.to_string(), from_block };
        Ok(Blocks(self.freezes.clone().stream_freeze(request).await?.into_inner()))
    }
}

impl Blocks {
    /// The next block: its rank and its people.
    pub async fn next(&mut self) -> Result<Option<(u32, Vec<ProfileId>)>, PeerFailure> {
        let Some(block) = self.0.message().await? else { return Ok(None) };
        if block.profile_ids.len() > BLOCK {
            return Err(PeerFailure::Answer("block"));
        }
        let mut profile_ids = Vec::with_capacity(block.profile_ids.len());
        for id in &block.profile_ids {
            profile_ids.push(id.parse().map_err(|_| PeerFailure::Answer("profile_ids"))?);
        }
        Ok(Some((block.block, profile_ids)))
    }
}

impl Profiles {
    /// Over a channel.
    #[must_use]
    pub fn new(peer: Peer) -> Self {
        Self { consents: ConsentServiceClient::new(peer) }
    }

    /// Records a withdrawal; the same request again has no second effect.
    pub async fn withdraw(
        &self,
        request_id: Uuid,
        profile_id: ProfileId,
        purpose: &ConsentKey,
    ) -> Result<(), PeerFailure> {
        let answer = ConsentAnswer {
            purpose: purpose.purpose().name().to_owned(),
            recipient: purpose.recipient().to_owned(),
            status: "withdrawn".to_owned(),
            ..ConsentAnswer::default()
        };
        let request = RecordConsentsRequest {
            profile_id: profile_id.to_string(),
            request_id: request_id.to_string(),
            answers: vec![answer],
            method: "mailer one-click unsubscribe".to_owned(),
        };
        self.consents.clone().record_consents(request).await?;
        Ok(())
    }
}

impl From<Status> for PeerFailure {
    fn from(status: Status) -> Self {
        let is_final = matches!(
            status.code(),
            Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition
        );
        let error = PeerError::from(status);
        match error.reason_of_peer() {
            Some(reason) if is_final => Self::Refused(reason.to_owned()),
            None if is_final => Self::Refused(error.reason().to_owned()),
            _ => Self::Failed(error),
        }
    }
}

impl std::fmt::Debug for Segmentation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Segmentation")
    }
}

impl std::fmt::Debug for Profiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Profiles")
    }
}
