//! What a user signs in with and what a user allowed clients, as staff and the user see it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::Actor;
use domain::UserId;
use serde_json::json;

use super::{
    App,
    admin::{reach, record},
};
use crate::{
    error::Error,
    store::{self, credential, record::AuditRecord},
    user::Event,
};

pub use crate::credential::Kind as CredentialKind;
pub use credential::{Consent, Credential};

impl App {
    /// What a user signs in with.
    ///
    /// # Errors
    /// Not the actor's own; no such user.
    pub async fn list_credentials(&self, actor: &Actor, user_id: UserId) -> Result<Vec<Credential>, Error> {
        reach(actor, user_id, "identity.support")?;
        if store::user::load(&self.db, user_id).await?.is_none() {
            return Err(Error::NotFound { what: "user" });
        }
        credential::list(&self.db, user_id).await
    }

    /// Takes a credential from a user: a passkey by its id, or all that there is of another kind.
    ///
    /// # Errors
    /// No such user, no such credential.
    pub async fn delete_credential(
        &self,
        actor: &Actor,
        user_id: UserId,
        kind: CredentialKind,
        credential_id: Option<&[u8]>,
    ) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        if !credential::delete(&mut tx, user_id, kind, credential_id).await? {
            return Err(Error::NotFound { what: "credential" });
        }
        let event = user.note(Event::CredentialRemoved { kind });
        self.publish(&mut tx, &user, event).await?;
        let detail =
            json!({"kind": kind.name(), "credential_id": credential_id.map(|id| URL_SAFE_NO_PAD.encode(id))});
        let record = AuditRecord { detail: Some(detail), ..record(actor, "delete_credential", user_id) };
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        tracing::info!(%user_id, kind = kind.name(), "credential deleted");
        Ok(())
    }

    /// What a user allowed clients.
    ///
    /// # Errors
    /// Not the actor's own.
    pub async fn list_consents(&self, actor: &Actor, user_id: UserId) -> Result<Vec<Consent>, Error> {
        reach(actor, user_id, "identity.support")?;
        credential::consents(&self.db, user_id).await
    }

    /// Takes back what a user allowed a client, and the client's tokens of this user.
    ///
    /// # Errors
    /// Not the actor's own; no such user, no such consent.
    pub async fn revoke_consent(&self, actor: &Actor, user_id: UserId, client_id: &str) -> Result<(), Error> {
        reach(actor, user_id, "identity.support")?;
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        self.withdraw_within(&mut tx, &mut user, client_id).await?;
        let record = AuditRecord {
            detail: Some(json!({"client_id": client_id})),
            ..record(actor, "revoke_consent", user_id)
        };
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        self.after_withdrawal(user_id, client_id);
        Ok(())
    }
}
