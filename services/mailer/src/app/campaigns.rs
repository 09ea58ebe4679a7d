use aws_lc_rs::rand;
use domain::{CampaignId, DateTime, ProfileId, Service, Utc};

use super::App;
use crate::{
    Error,
    campaign::{Campaign, Happened, Plan, WrongState},
    events,
    message::{Outcome, Skip},
    sealed::SealError,
    store::{self, CampaignReport, LedgerLine},
};

/// A campaign to make.
#[derive(Debug)]
pub struct CreateCampaign {
    /// What it is made of.
    pub plan: Plan,
    /// Hash of the whole request, so that an id cannot be used twice for different things.
    pub body_sha256: Vec<u8>,
}

/// A time for a campaign.
#[derive(Debug)]
pub struct ScheduleCampaign {
    /// Which.
    pub campaign_id: CampaignId,
    /// The version that the caller saw; none means whatever is there.
    pub expected_version: Option<i64>,
    /// At once, when absent.
    pub send_at: Option<DateTime<Utc>>,
}

impl App {
    /// Makes a draft; the same request again gives the same one.
    pub async fn create_campaign(&self, command: CreateCampaign) -> Result<Campaign, Error> {
        let plan = command.plan;
        self.get_sender(&plan.sender_key).await?;
        let version = store::load_version(&self.db, plan.template_id, plan.template_version).await?;
        if !version.ok_or(Error::NotFound("template version"))?.is_published {
            return Err(Error::NotPublished);
        }
        let request_id = plan.request_id;
        let mut message_key = [0; 32];
        rand::fill(&mut message_key).map_err(|_| SealError)?;
        let draft = Campaign::draft(CampaignId::new(), plan);
        let mut tx = chassis::begin(&self.db).await?;
        store::insert_campaign(&mut tx, &draft, &command.body_sha256, &message_key, self.now()).await?;
        let (campaign_id, held) =
            store::find_by_request(&mut tx, request_id).await?.ok_or(Error::NotFound("campaign"))?;
        tx.commit().await?;
        if held != command.body_sha256 {
            return Err(Error::RequestIdReused);
        }
        self.get_campaign(campaign_id).await
    }

    /// A campaign by its id.
    pub async fn get_campaign(&self, campaign_id: CampaignId) -> Result<Campaign, Error> {
        store::load_campaign(&self.db, campaign_id).await?.ok_or(Error::NotFound("campaign"))
    }

    /// Gives a campaign its time.
    pub async fn schedule_campaign(&self, command: ScheduleCampaign) -> Result<Campaign, Error> {
        let now = self.now();
        let changed = self
            .change_campaign(command.campaign_id, command.expected_version, |campaign| {
                campaign.schedule(command.send_at.unwrap_or(now)).map(Some)
            })
            .await?;
        self.nudges.campaign.notify_one();
        Ok(changed)
    }

    /// Stops a campaign for a while, at the next turn.
    pub async fn pause_campaign(&self, campaign_id: CampaignId) -> Result<Campaign, Error> {
        self.change_campaign(campaign_id, None, Campaign::pause).await
    }

    /// Lets a paused campaign go on; nobody gets a second mail.
    pub async fn resume_campaign(&self, campaign_id: CampaignId) -> Result<Campaign, Error> {
        let changed = self.change_campaign(campaign_id, None, Campaign::resume).await?;
        self.nudges.campaign.notify_one();
        Ok(changed)
    }

    /// Ends a campaign early.
    pub async fn cancel_campaign(&self, campaign_id: CampaignId, reason: &str) -> Result<Campaign, Error> {
        self.change_campaign(campaign_id, None, |campaign| campaign.cancel(reason)).await
    }

    pub(super) async fn change_campaign(
        &self,
        campaign_id: CampaignId,
        expected_version: Option<i64>,
        change: impl FnOnce(&mut Campaign) -> Result<Option<Happened>, WrongState>,
    ) -> Result<Campaign, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let campaign = store::load_campaign_for_update(&mut tx, campaign_id).await?;
        let mut campaign = campaign.ok_or(Error::NotFound("campaign"))?;
        if expected_version.is_some_and(|expected| expected != campaign.version) {
            return Err(Error::StaleVersion { actual: campaign.version });
        }
        let before = campaign.version;
        let happened = change(&mut campaign)?;
        if campaign.version == before {
            return Ok(campaign);
        }
        store::save_campaign(&mut tx, &campaign).await?;
        if happened == Some(Happened::Cancelled) {
            let ended = store::cancel_deferred(&mut tx, campaign_id, now).await?;
            let outcome = Outcome::skipped(Skip::Cancelled);
            for ended in ended.chunks(events::MOST_OUTCOMES) {
                let outcomes: Vec<_> = ended.iter().map(|profile_id| (*profile_id, &outcome)).collect();
                let fact = events::messages_changed(campaign_id, &outcomes, now);
                outbox::append(&mut tx, Service::Mailer, &fact).await?;
            }
        }
        if let Some(happened) = happened {
            outbox::append(&mut tx, Service::Mailer, &events::campaign_changed(&campaign, happened, now))
                .await?;
        }
        tx.commit().await?;
        Ok(campaign)
    }

    /// What became of a campaign.
    pub async fn get_report(&self, campaign_id: CampaignId) -> Result<(Campaign, CampaignReport), Error> {
        let campaign = self.get_campaign(campaign_id).await?;
        Ok((campaign, store::report(&self.db, campaign_id).await?))
    }

    /// The newest rows of a campaign's ledger.
    pub async fn list_messages(&self, campaign_id: CampaignId) -> Result<Vec<LedgerLine>, Error> {
        store::list_by_campaign(&self.db, campaign_id).await
    }

    /// The newest rows of a person's mails.
    pub async fn list_messages_of(&self, profile_id: ProfileId) -> Result<Vec<LedgerLine>, Error> {
        store::list_by_profile(&self.db, profile_id).await
    }
}
