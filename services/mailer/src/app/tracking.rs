use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chassis::Shutdown;
use domain::{CampaignId, DateTime, ProfileId, Service, TimeDelta, Utc, Uuid};
use sqlx::PgTransaction;
use tokio::{sync::mpsc, time::sleep};
use tracing::Instrument as _;

use super::{App, Sending};
use crate::{
    Error,
    engagement::{self, Class, Engagement, Kind},
    events, store,
    token::{Aim, Token},
};

/// Opens and clicks are written this often: a kill may lose that much of them.
const GATHER: Duration = Duration::from_millis(200);
const LARGEST: usize = 1_000;
/// Clicks before and after one that may be the same scan.
const SCAN: TimeDelta = TimeDelta::seconds(5);

impl App {
    /// The target of a link, counted when the person permits it. Targets come from the published version only.
    pub async fn follow_link(&self, token: &str, class: Class) -> Result<String, Error> {
        let gone = || Error::NotFound("link");
        let token = Token::verify(&self.keys.tokens, token).ok_or_else(gone)?;
        let Aim::Link(link) = token.aim else { return Err(gone()) };
        let sending = self.sending_of_number(token.campaign).await?.ok_or_else(gone)?;
        let target = sending.compiled.links().get(usize::from(link)).cloned().ok_or_else(gone)?;
        self.note(sending.started.campaign.campaign_id, token.profile_id, Kind::Click(link), class);
        Ok(target)
    }

    /// Counts an open; a token that is none counts nothing, and looks the same.
    pub async fn note_open(&self, token: &str, class: Class) -> Result<(), Error> {
        let token = Token::verify(&self.keys.tokens, token).filter(|token| token.aim == Aim::Open);
        let Some(token) = token else { return Ok(()) };
        if let Some(sending) = self.sending_of_number(token.campaign).await? {
            self.note(sending.started.campaign.campaign_id, token.profile_id, Kind::Open, class);
        }
        Ok(())
    }

    fn note(&self, campaign_id: CampaignId, profile_id: ProfileId, kind: Kind, class: Class) {
        let engagement = Engagement { campaign_id, profile_id, kind, class, at: self.now() };
        if self.engaged.try_send(engagement).is_err() {
            tracing::warn!("too many opens and clicks wait, some are not counted");
        }
    }

    /// Writes opens and clicks, until the process ends; what waits then is written as well.
    pub async fn run_tracking(self, mut engagements: mpsc::Receiver<Engagement>, shutdown: Shutdown) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = engagements.recv_many(&mut batch, LARGEST) => {}
                () = shutdown.soft() => engagements.close(),
            }
            if !engagements.is_closed() {
                sleep(GATHER).await;
            }
            while batch.len() < LARGEST
                && let Ok(engagement) = engagements.try_recv()
            {
                batch.push(engagement);
            }
            if batch.is_empty() && engagements.is_closed() {
                return;
            }
            let span =
                tracing::info_span!("count", otel.name = "count opens and clicks", count = batch.len());
            if let Err(error) = self.save_engagements(&batch).instrument(span).await {
                tracing::warn!(error = %error, cause = ?error, count = batch.len(), "opens and clicks are lost");
            }
            batch.clear();
        }
    }

    async fn save_engagements(&self, batch: &[Engagement]) -> Result<(), Error> {
        let now = self.now();
        let ids: HashSet<Uuid> = batch.iter().map(|engagement| engagement.profile_id.0).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let mut campaigns = HashMap::new();
        for engagement in batch {
            campaigns.insert(engagement.campaign_id, self.sending(engagement.campaign_id).await?);
        }
        let mut tx = chassis::begin(&self.db).await?;
        let people = store::load_recipients(&mut tx, &ids).await?;
        // Withdrawn since the mail left: nothing is kept.
        let permits =
            |e: &&Engagement| people.get(&e.profile_id).is_some_and(|person| person.permits_tracking(now));
        let mut kept: Vec<Engagement> = batch.iter().filter(permits).cloned().collect();
        if kept.is_empty() {
            return Ok(());
        }
        store::insert_engagements(&mut tx, &kept).await?;
        find_scans(&mut tx, &mut kept, &campaigns).await?;
        let mut by_campaign: HashMap<CampaignId, Vec<&Engagement>> = HashMap::new();
        for engagement in &kept {
            by_campaign.entry(engagement.campaign_id).or_default().push(engagement);
        }
        for (campaign_id, engagements) in by_campaign {
            let fact = events::messages_engaged(campaign_id, &engagements, now);
            outbox::append(&mut tx, Service::Mailer, &fact).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

// A machine is known by all its clicks together, also those of the batches before.
async fn find_scans(
    tx: &mut PgTransaction<'_>,
    kept: &mut [Engagement],
    campaigns: &HashMap<CampaignId, Arc<Sending>>,
) -> Result<(), Error> {
    let mut first: HashMap<(CampaignId, ProfileId), DateTime<Utc>> = HashMap::new();
    for engagement in kept.iter().filter(|engagement| matches!(engagement.kind, Kind::Click(_))) {
        let at = first.entry((engagement.campaign_id, engagement.profile_id)).or_insert(engagement.at);
        *at = engagement.at.min(*at);
    }
    for ((campaign_id, profile_id), at) in first {
        let since = at - SCAN;
        let clicks = store::recent_clicks(tx, campaign_id, profile_id, since).await?;
        let language = store::language_of(tx, campaign_id, profile_id).await?;
        let links = campaigns.get(&campaign_id).map_or(0, |sending| sending.compiled.links_held(&language));
        if !engagement::is_scan(&clicks, links) {
            continue;
        }
        store::reclassify(tx, campaign_id, profile_id, since).await?;
        for engagement in kept.iter_mut() {
            if (engagement.campaign_id, engagement.profile_id) == (campaign_id, profile_id) {
                engagement.class = Class::Machine;
            }
        }
    }
    Ok(())
}
