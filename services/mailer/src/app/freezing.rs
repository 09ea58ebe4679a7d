use domain::CampaignId;
use tracing::Instrument as _;

use super::App;
use crate::{
    Error,
    campaign::{Frozen, State},
    grpc::peers::PeerFailure,
    store,
};

impl App {
    /// Starts what is due and takes its recipients. True when there was something to do.
    ///
    /// # Errors
    /// The database, or segmentation for the moment: the campaign goes on where it stopped.
    pub(super) async fn freeze_round(&self) -> Result<bool, Error> {
        let due = store::list_due(&self.db, self.now()).await?;
        for campaign_id in &due {
            let started = self.change_campaign(*campaign_id, None, |campaign| {
                // Another process may have been quicker.
                if campaign.state == State::Scheduled {
                    campaign.start_freezing().map(|()| None)
                } else {
                    Ok(None)
                }
            });
            let span = tracing::info_span!("start", otel.name = "start campaign", %campaign_id);
            started.instrument(span).await?;
        }
        let freezing = store::list_freezing(&self.db).await?;
        let mut failed = None;
        for campaign_id in &freezing {
            // One that cannot go on must not hold up the others.
            let span = tracing::info_span!("freeze", otel.name = "freeze campaign", %campaign_id);
            if let Err(error) = self.freeze(*campaign_id).instrument(span).await {
                failed = Some(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(!due.is_empty() || !freezing.is_empty()),
        }
    }

    async fn freeze(&self, campaign_id: CampaignId) -> Result<(), Error> {
        match self.take_freeze(campaign_id).await {
            Ok(()) => Ok(()),
            Err(Failure::Refused(reason)) => {
                tracing::warn!(%campaign_id, reason, "segmentation refused the freeze, the campaign is cancelled");
                self.cancel_campaign(campaign_id, &format!("freeze refused: {reason}")).await.map(|_| ())
            }
            Err(Failure::Failed(error)) => Err(error),
        }
    }

    async fn take_freeze(&self, campaign_id: CampaignId) -> Result<(), Failure> {
        let started = store::load_started(&self.db, campaign_id).await?.ok_or(Error::NotFound("campaign"))?;
        if started.campaign.state != State::Freezing {
            return Ok(());
        }
        let plan = &started.campaign.plan;
        let sender = self.get_sender(&plan.sender_key).await?;
        let segmentation = &self.peers.segmentation;
        // The campaign's id is the request's: after a crash the same freeze comes back.
        let freeze = segmentation.create_freeze(campaign_id, plan.segment_id, &sender.purpose).await?;
        let frozen = Frozen {
            freeze_id: freeze.freeze_id,
            hash: freeze.content_hash,
            count: freeze.count,
            at: self.now(),
        };
        if started.campaign.frozen.is_none() {
            let mut tx = chassis::begin(&self.db).await.map_err(Error::from)?;
            let campaign = store::load_campaign_for_update(&mut tx, campaign_id).await?;
            let mut campaign = campaign.ok_or(Error::NotFound("campaign"))?;
            campaign.freeze(frozen).map_err(Error::from)?;
            store::save_campaign(&mut tx, &campaign).await?;
            store::save_watermark(&mut tx, campaign_id, &freeze.watermark).await?;
            tx.commit().await.map_err(Error::from)?;
        }
        let mut next_block = started.next_block;
        let mut blocks = segmentation.stream_freeze(freeze.freeze_id, next_block).await?;
        while let Some((block, profile_ids)) = blocks.next().await? {
            if block != next_block {
                return Err(Error::PeerAnswer("block").into());
            }
            next_block = block + 1;
            let mut tx = chassis::begin(&self.db).await.map_err(Error::from)?;
            store::insert_chunk(&mut tx, campaign_id, block, &profile_ids).await?;
            store::save_progress(&mut tx, campaign_id, next_block).await?;
            tx.commit().await.map_err(Error::from)?;
        }
        let start = self.change_campaign(campaign_id, None, |campaign| {
            if campaign.state == State::Freezing { campaign.start_sending().map(Some) } else { Ok(None) }
        });
        start.await?;
        tracing::info!(%campaign_id, people = freeze.count, "campaign started");
        self.nudges.campaign.notify_one();
        Ok(())
    }
}

/// Why a freeze was not taken.
enum Failure {
    /// For good.
    Refused(String),
    /// For the moment.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<PeerFailure> for Failure {
    fn from(failure: PeerFailure) -> Self {
        match failure {
            PeerFailure::Refused(reason) => Self::Refused(reason),
            PeerFailure::Answer(what) => Self::Failed(Error::PeerAnswer(what)),
            PeerFailure::Failed(error) => Self::Failed(error.into()),
        }
    }
}
