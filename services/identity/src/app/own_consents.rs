//! What a user allowed sites, and how the user takes it back.

use domain::UserId;
use serde_json::json;
use sqlx::PgTransaction;

use super::{App, Origin};
use crate::{
    error::Error,
    revocation::Revoked,
    store::{self, record::AuditRecord, staff::Consented},
    user::{Event, User},
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
        origin: Origin,
    ) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        self.consent_within(&mut tx, user_id, client_id, allowed).await?;
        let record = AuditRecord {
            client_id: client_id.to_owned(),
            detail: Some(json!({"scopes": allowed.scopes, "claims": allowed.claims})),
            ..self.by_user(user_id, "grant_consent", origin)
        };
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        tracing::info!(%user_id, client_id, "consent given");
        Ok(())
    }

    /// Saves and publishes what a user allows a client, as part of a transaction that notes who decided it.
    pub(super) async fn consent_within(
        &self,
        tx: &mut PgTransaction<'_>,
        user_id: UserId,
        client_id: &str,
        allowed: &Consented,
    ) -> Result<(), Error> {
        let mut user = self.locked(tx, user_id).await?;
        store::staff::save_consent(&mut **tx, user_id, client_id, allowed, self.now()).await?;
        let (client_id, scopes) = (client_id.to_owned(), allowed.scopes.clone());
        let event = user.note(Event::ConsentGranted { client_id, scopes });
        self.publish(tx, &user, event).await
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
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        self.withdraw_within(&mut tx, &mut user, client_id).await?;
        let record = AuditRecord {
            client_id: client_id.to_owned(),
            ..self.by_user(user_id, "withdraw_consent", origin)
        };
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        self.after_withdrawal(user_id, client_id);
        Ok(())
    }

    /// Takes a consent of a locked user back and publishes it, as part of a transaction that notes who decided it.
    pub(super) async fn withdraw_within(
        &self,
        tx: &mut PgTransaction<'_>,
        user: &mut User,
        client_id: &str,
    ) -> Result<(), Error> {
        let scopes = store::consent::withdraw(tx, user.user_id, client_id, self.now()).await?;
        let scopes = scopes.ok_or(Error::NotFound { what: "consent" })?;
        let event = user.note(Event::ConsentWithdrawn { client_id: client_id.to_owned(), scopes });
        self.publish(tx, user, event).await
    }

    /// What follows the commit of [`App::withdraw_within`].
    pub(super) fn after_withdrawal(&self, user_id: UserId, client_id: &str) {
        // Families come by the feed; until then each token of this user is looked up here.
        self.revocations.note([Revoked::User(user_id)]);
        tracing::info!(%user_id, client_id, "consent withdrawn");
    }
}
