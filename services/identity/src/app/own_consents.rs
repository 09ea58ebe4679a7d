//! What a user allowed sites, and how the user takes it back.

use domain::{Service, UserId};

use super::{App, Origin};
use crate::{
    error::Error,
    events,
    revocation::Revoked,
    store::{self, record::AuditRecord, staff::Consented},
    user::Event,
};

pub use store::consent::OwnConsent;

impl App {
    /// What a user allowed sites.
    ///
    /// # Errors
    /// The database.
    pub async fn own_consents(&self, user_id: UserId) -> Result<Vec<OwnConsent>, Error> {
        store::consent::list_own(&self.db, user_id).await
    }

    /// Notes that a user allows a client something.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn grant_consent(
        &self,
        user_id: UserId,
        client_id: &str,
        allowed: &Consented,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        store::staff::save_consent(&mut *tx, user_id, client_id, allowed, now).await?;
        let event = user.note(Event::ConsentGranted);
        store::user::save_status(&mut tx, &user).await?;
        outbox::append(&mut tx, Service::Identity, &events::user_changed(&user, event, now)).await?;
        tx.commit().await?;
        tracing::info!(%user_id, client_id, "consent given");
        Ok(())
    }

    /// Takes back what a user allowed a client, with the tokens that the client got by it.
    ///
    /// # Errors
    /// The user allowed it nothing.
    pub async fn withdraw_consent(
        &self,
        user_id: UserId,
        client_id: &str,
        origin: Origin,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        if !store::consent::withdraw(&mut tx, user_id, client_id, now).await? {
            return Err(Error::NotFound { what: "consent" });
        }
        let event = user.note(Event::ConsentWithdrawn);
        store::user::save_status(&mut tx, &user).await?;
        outbox::append(&mut tx, Service::Identity, &events::user_changed(&user, event, now)).await?;
        let record = AuditRecord {
            actor: user_id.to_string(),
            action: "withdraw_consent",
            subject: user_id.to_string(),
            client_id: client_id.to_owned(),
            outcome: "done",
            ip_hmac: self.network_hash(origin),
            ..AuditRecord::default()
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        // Families come by the feed; until then each token of this user is looked up here.
        self.revocations.note([Revoked::User(user_id)]);
        tracing::info!(%user_id, client_id, "consent withdrawn");
        Ok(())
    }
}
