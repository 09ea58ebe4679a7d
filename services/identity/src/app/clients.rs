//! Registered clients in memory: every request names one, and they change rarely.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use chassis::Shutdown;
use sqlx::PgConnection;
use url::Url;

use super::App;
use crate::{
    client::{Client, is_client_id},
    error::Error,
    store,
};

/// Another instance's change is known here after this.
const EVERY: Duration = Duration::from_secs(1);
/// So many are kept, those that changed last; the others are looked up each time.
const MOST: usize = 10_000;

/// Shared by all clones of the app.
#[derive(Clone, Default)]
pub struct Clients(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    clients: HashMap<String, Client>,
    /// Of their redirect URIs.
    origins: HashSet<String>,
    /// Whether these are all that there are.
    is_whole: bool,
    /// Of the table, before it was read.
    fingerprint: Option<String>,
    /// How often one was forgotten: what was read before the last time may be what was forgotten.
    forgotten: u64,
}

impl Clients {
    /// Looks a client up in the database until the next poll: it was changed here just now.
    pub fn forget(&self, client_id: &str) {
        let mut known = self.write();
        known.clients.remove(client_id);
        // Its origins are not known any more.
        known.is_whole = false;
        known.fingerprint = None;
        known.forgotten += 1;
    }

    fn forgotten(&self) -> u64 {
        self.read().forgotten
    }

    fn find(&self, client_id: &str) -> Option<Client> {
        self.read().clients.get(client_id).cloned()
    }

    fn has_origin(&self, origin: &str) -> Option<bool> {
        let known = self.read();
        // A client that is not here may have it.
        if known.origins.contains(origin) { Some(true) } else { known.is_whole.then_some(false) }
    }

    fn is_as(&self, fingerprint: &str) -> bool {
        self.read().fingerprint.as_deref() == Some(fingerprint)
    }

    // Nothing when a client was changed here since `forgotten` was asked: the next poll reads again.
    fn replace(&self, clients: Vec<Client>, fingerprint: String, forgotten: u64) {
        let uris = clients.iter().flat_map(|client| &client.redirect_uris);
        let origins =
            uris.filter_map(|uri| Url::parse(uri).ok()).map(|uri| uri.origin().ascii_serialization());
        let known = Known {
            origins: origins.collect(),
            is_whole: clients.len() < MOST,
            clients: clients.into_iter().map(|client| (client.client_id.clone(), client)).collect(),
            fingerprint: Some(fingerprint),
            forgotten,
        };
        let mut old = self.write();
        if old.forgotten == forgotten {
            *old = known;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// A registered client; nothing for a name that none can have. One that was registered a moment ago is looked up.
    ///
    /// # Errors
    /// The database.
    pub async fn client(&self, client_id: &str) -> Result<Option<Client>, Error> {
        if !is_client_id(client_id) {
            return Ok(None);
        }
        match self.clients.find(client_id) {
            Some(client) => Ok(Some(client)),
            None => store::client::find(&self.db, client_id).await,
        }
    }

    /// Whether a browser's script of this origin may read our answers: it is the origin of a registered redirect URI.
    ///
    /// # Errors
    /// The database.
    pub async fn is_registered_origin(&self, origin: &str) -> Result<bool, Error> {
        match self.clients.has_origin(origin) {
            Some(known) => Ok(known),
            None => store::client::has_origin(&self.db, origin).await,
        }
    }

    /// The same within a transaction, which must not wait for a second connection of the pool.
    pub(super) async fn client_within(
        &self,
        db: &mut PgConnection,
        client_id: &str,
    ) -> Result<Option<Client>, Error> {
        match self.clients.find(client_id) {
            Some(client) => Ok(Some(client)),
            None => store::client::find(db, client_id).await,
        }
    }

    /// Reads the clients again if any of them changed.
    ///
    /// # Errors
    /// The database.
    pub async fn load_clients(&self) -> Result<(), Error> {
        // Asked before the rows are read: a change in between leads to another read, never to none.
        let forgotten = self.clients.forgotten();
        let fingerprint = store::client::fingerprint(&self.db).await?;
        if self.clients.is_as(&fingerprint) {
            return Ok(());
        }
        let clients = store::client::list(&self.db, i64::try_from(MOST).unwrap_or(i64::MAX)).await?;
        tracing::debug!(clients = clients.len(), "clients loaded");
        self.clients.replace(clients, fingerprint, forgotten);
        Ok(())
    }

    /// Reads the clients once a second, until the process ends: another instance may have changed one.
    pub async fn run_client_refresh(self, shutdown: Shutdown) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.soft() => return,
            }
            let loaded = self.load_clients().await;
            // Said once, not each second.
            if let (Err(error), false) = (&loaded, failing) {
                tracing::warn!(error = error as &dyn std::error::Error, "clients stay as they are");
            }
            failing = loaded.is_err();
        }
    }
}
