//! The use cases. Each write owns its transaction: lock, change, save, append the fact, commit. A call to a recipient is
//! never inside one.

mod agreements;
mod destinations;
mod follow;
mod judge;
mod live;
mod load;
mod mappings;
mod outlet;
mod plan;
mod settle;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{Clock, ProfileId, RequestId, Uuid};
use sqlx::PgPool;
use tokio::sync::Notify;

pub use destinations::CreateDestination;
pub use follow::says_no;
pub use live::Progress;
pub use outlet::Outlet;

use crate::{
    Error,
    agreement_token::AgreementKeys,
    delivery::Line,
    destination::{Destination, Salesforce},
    gate::DecisionId,
    keys::Kek,
    run::Run,
    salesforce::{Client, SigningKey},
    store,
};

/// The secrets of the service, each of which may be missing.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// From which a destination's keys come.
    pub kek: Option<Kek>,
    /// Whose agreements count.
    pub agreement_keys: AgreementKeys,
    /// With which assertions are signed.
    pub salesforce_key: SigningKey,
}

/// Crm-sync's use cases over its database.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

struct Shared {
    db: PgPool,
    clock: Clock,
    secrets: Secrets,
    http: reqwest::Client,
    // A session each, kept while the settings stay.
    clients: Mutex<HashMap<Uuid, (Salesforce, Client)>>,
    // Rung when somebody was put into a queue, so that the runner of this process need not wait for its next look.
    wake: Notify,
}

/// A write's id, and the hash of its whole body.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// So that an id cannot be used twice for different things.
    pub body_sha256: [u8; 32],
}

impl App {
    /// The use cases over a database.
    #[must_use]
    pub fn new(db: PgPool, clock: Clock, secrets: Secrets, http: reqwest::Client) -> Self {
        let (clients, wake) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { db, clock, secrets, http, clients, wake }) }
    }

    pub(crate) fn db(&self) -> &PgPool {
        &self.shared.db
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Waits until somebody was put into a queue by this process.
    pub(crate) async fn woken(&self) {
        self.shared.wake.notified().await;
    }

    fn ring(&self) {
        self.shared.wake.notify_waiters();
    }

    fn client(&self, destination: &Destination) -> Result<Client, Error> {
        if !self.shared.secrets.salesforce_key.is_set() {
            return Err(Error::NotConfigured("CRMSYNC_SALESFORCE_KEY"));
        }
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((settings, client)) = clients.get(&destination.destination_id)
            && *settings == destination.salesforce
        {
            return Ok(client.clone());
        }
        let settings = destination.salesforce.clone();
        let key = self.shared.secrets.salesforce_key.clone();
        let client = Client::new(self.shared.http.clone(), settings.clone(), key, self.shared.clock.clone());
        clients.insert(destination.destination_id, (settings, client.clone()));
        Ok(client)
    }

    /// One destination.
    pub async fn get_destination(&self, destination_id: Uuid) -> Result<Destination, Error> {
        store::load_destination(self.db(), destination_id).await?.ok_or(Error::NotFound("destination"))
    }

    /// Every destination.
    pub async fn list_destinations(&self) -> Result<Vec<Destination>, Error> {
        store::list_destinations(self.db()).await
    }

    /// One run.
    pub async fn get_run(&self, run_id: Uuid) -> Result<Run, Error> {
        store::load_run(self.db(), run_id).await?.ok_or(Error::NotFound("run"))
    }

    /// The failures of a run.
    pub async fn list_failures(&self, run_id: Uuid, most: i64) -> Result<Vec<store::Failed>, Error> {
        self.get_run(run_id).await?;
        store::list_failures(self.db(), run_id, most).await
    }

    /// The ledger of a person.
    pub async fn list_deliveries(&self, profile_id: ProfileId, most: i64) -> Result<Vec<Line>, Error> {
        store::list_by_profile(self.db(), profile_id, most).await
    }

    /// The lines of a decision.
    pub async fn get_decision(&self, decision_id: DecisionId) -> Result<Vec<Line>, Error> {
        let lines = store::list_by_decision(self.db(), decision_id).await?;
        if lines.is_empty() { Err(Error::NotFound("decision")) } else { Ok(lines) }
    }

    /// Forgets what need not be kept: callers' request ids after a day.
    pub async fn sweep(&self) -> Result<u64, Error> {
        store::delete_old_requests(self.db(), self.clock().now()).await
    }
}
