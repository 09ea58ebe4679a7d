//! The use cases and the tasks. Each write owns its transaction: lock, change, save, append the fact, commit.

mod campaigns;
mod follow;
mod freezing;
mod letter;
mod republish;
mod senders;
mod sending;
mod suppressions;
mod templates;
mod tracking;
mod transactionals;
mod turn;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{CampaignId, Clock, DateTime, EmailAddress, Utc, Uuid};
use sqlx::PgPool;
use tokio::sync::{Notify, mpsc};
use tracing::Instrument as _;

pub use campaigns::{CreateCampaign, ScheduleCampaign};
pub use follow::ProfileFact;
pub use transactionals::SendTransactional;

use crate::{
    Error,
    engagement::Engagement,
    grpc::peers::{Profiles, Segmentation},
    keyring::Keyring,
    sender::Sender,
    smtp::Pool,
    store,
    template::Compiled,
};

/// Requests for pixels and links that wait to be written; more are not counted.
const ENGAGEMENTS: usize = 10_000;
/// Campaigns and versions kept ready.
const KEPT: usize = 200;
/// How long an idle task waits for its database to show something new.
const IDLE: Duration = Duration::from_millis(200);

/// What the use cases work with.
#[derive(Debug, Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
    keys: Keys,
    relays: Relays,
    peers: Peers,
    public_url: Arc<str>,
    service_from: EmailAddress,
    ready: Arc<Mutex<Ready>>,
    engaged: mpsc::Sender<Engagement>,
    nudges: Arc<Nudges>,
    /// This process, in leases.
    owner: Uuid,
}

/// Keys of links and of secrets at rest.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Of tokens in links.
    pub tokens: Arc<Keyring>,
    /// Of transactional secrets.
    pub kek: Arc<Keyring>,
}

/// Two ways to the relay: campaigns cannot take the connections of what people wait for.
#[derive(Debug, Clone)]
pub struct Relays {
    /// Of campaigns.
    pub campaign: Pool,
    /// Of transactional mail.
    pub transactional: Pool,
}

/// The services that mailer calls.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Freezes.
    pub segmentation: Segmentation,
    /// Withdrawals.
    pub profile: Profiles,
}

/// What never changes once a campaign has started, kept in memory.
#[derive(Debug)]
pub(crate) struct Sending {
    pub started: store::Started,
    pub sender: Sender,
    pub compiled: Arc<Compiled>,
}

#[derive(Debug, Default)]
struct Ready {
    versions: HashMap<(Uuid, u32), Arc<Compiled>>,
    sendings: HashMap<CampaignId, Arc<Sending>>,
    numbers: HashMap<u32, CampaignId>,
}

#[derive(Debug, Default)]
struct Nudges {
    campaign: Notify,
    transactional: Notify,
    withdrawal: Notify,
}

impl App {
    /// The use cases over a database, and what the task of opens and clicks reads.
    #[must_use]
    pub fn new(
        db: PgPool,
        clock: Clock,
        keys: Keys,
        relays: Relays,
        peers: Peers,
        public_url: &str,
        service_from: EmailAddress,
    ) -> (Self, mpsc::Receiver<Engagement>) {
        let (engaged, engagements) = mpsc::channel(ENGAGEMENTS);
        let app = Self {
            db,
            clock,
            keys,
            relays,
            peers,
            public_url: public_url.trim_end_matches('/').into(),
            service_from,
            ready: Arc::default(),
            engaged,
            nudges: Arc::default(),
            owner: domain::new_id(),
        };
        (app, engagements)
    }

    /// The clock of this service.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A published version, compiled.
    async fn compiled(&self, template_id: Uuid, version: u32) -> Result<Arc<Compiled>, Error> {
        if let Some(compiled) = self.ready(|ready| ready.versions.get(&(template_id, version)).cloned()) {
            return Ok(compiled);
        }
        let stored = store::load_version(&self.db, template_id, version).await?;
        let stored = stored.filter(|stored| stored.is_published).ok_or(Error::NotPublished)?;
        let compiled = Arc::new(stored.source.compile().map_err(|_| Error::Stored { what: "template" })?);
        self.ready(|ready| {
            if ready.versions.len() >= KEPT {
                ready.versions.clear();
            }
            ready.versions.insert((template_id, version), Arc::clone(&compiled));
        });
        Ok(compiled)
    }

    /// What sending a started campaign needs.
    async fn sending(&self, campaign_id: CampaignId) -> Result<Arc<Sending>, Error> {
        if let Some(sending) = self.ready(|ready| ready.sendings.get(&campaign_id).cloned()) {
            return Ok(sending);
        }
        let span = tracing::info_span!("prepare", otel.name = "prepare campaign", %campaign_id);
        self.prepare(campaign_id).instrument(span).await
    }

    async fn prepare(&self, campaign_id: CampaignId) -> Result<Arc<Sending>, Error> {
        let started = store::load_started(&self.db, campaign_id).await?.ok_or(Error::NotFound("campaign"))?;
        let plan = &started.campaign.plan;
        let sender =
            store::load_sender(&self.db, &plan.sender_key).await?.ok_or(Error::NotFound("sender"))?;
        let compiled = self.compiled(plan.template_id, plan.template_version).await?;
        let sending = Arc::new(Sending { started, sender, compiled });
        // Before its freeze a campaign still changes.
        if sending.started.campaign.frozen.is_some() {
            self.ready(|ready| {
                if ready.sendings.len() >= KEPT {
                    ready.sendings.clear();
                    ready.numbers.clear();
                }
                ready.sendings.insert(campaign_id, Arc::clone(&sending));
                ready.numbers.insert(sending.started.number, campaign_id);
            });
        }
        Ok(sending)
    }

    /// The campaign behind the number that a link carries.
    async fn sending_of_number(&self, number: u32) -> Result<Option<Arc<Sending>>, Error> {
        let known = self.ready(|ready| ready.numbers.get(&number).copied());
        let campaign_id = match known {
            Some(campaign_id) => Some(campaign_id),
            None => store::find_number(&self.db, number).await?,
        };
        match campaign_id {
            Some(campaign_id) => Ok(Some(self.sending(campaign_id).await?)),
            None => Ok(None),
        }
    }

    fn ready<T>(&self, with: impl FnOnce(&mut Ready) -> T) -> T {
        with(&mut self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
