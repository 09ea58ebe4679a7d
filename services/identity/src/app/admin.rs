//! What staff, other services and users themselves ask about users, sessions and scopes of staff.

use std::fmt::Display;

use chassis::Actor;
use domain::{EmailAddress, SessionId, UserId, Uuid};
use serde_json::json;
use sqlx::PgTransaction;

use super::App;
use crate::{
    error::Error,
    revocation::Revoked,
    session::{Cause, Session},
    store::{self, record::AuditRecord},
    user::{Event, User, WrongState},
};

pub use store::{
    delivery::{DeliveryChoice, Listed as DeliveryRow},
    session::Listed as ListedSession,
    staff::Listed as StaffGrant,
};

/// A live session as its user sees it.
#[derive(Debug)]
pub struct OwnSession {
    /// The session.
    pub session: Session,
    /// Names of the sites that it is used at.
    pub sites: Vec<String>,
}

impl App {
    /// A user that the actor may see.
    ///
    /// # Errors
    /// No such user, or not the actor's own.
    pub async fn get_user(&self, actor: &Actor, user_id: UserId) -> Result<User, Error> {
        reach(actor, user_id, "identity.read")?;
        store::user::load(&self.db, user_id).await?.ok_or(NO_USER)
    }

    /// The user who has exactly this address.
    ///
    /// # Errors
    /// No such user.
    pub async fn find_user_by_email(&self, address: &EmailAddress) -> Result<User, Error> {
        store::user::find_by_address(&self.db, address).await?.ok_or(NO_USER)
    }

    /// Shuts a user out and ends the user's sessions. A second time changes nothing.
    ///
    /// # Errors
    /// No such user, another version than expected, an erased user.
    pub async fn disable_user(
        &self,
        actor: &Actor,
        user_id: UserId,
        version: Option<i64>,
        reason: &str,
    ) -> Result<User, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let (user, changed) = self.turn(&mut tx, user_id, version, User::disable).await?;
        if changed {
            let sessions = store::session::ids_of_user(&mut *tx, user_id).await?;
            self.end_within(&mut tx, &sessions, Cause::Disable).await?;
            // Grants that outlive their sessions rest until the user is enabled again.
            store::revocation::insert_user(&mut *tx, user_id, self.now()).await?;
            let record = AuditRecord {
                detail: Some(json!({"reason": reason})),
                ..record(actor, "disable_user", user_id)
            };
            store::record::insert(&mut *tx, &record, self.now()).await?;
        }
        tx.commit().await?;
        self.revocations.note([Revoked::User(user_id)]);
        self.nudges.logout.notify_one();
        Ok(user)
    }

    /// Lets a user in again. A second time changes nothing.
    ///
    /// # Errors
    /// No such user, another version than expected, an erased user.
    pub async fn enable_user(
        &self,
        actor: &Actor,
        user_id: UserId,
        version: Option<i64>,
    ) -> Result<User, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let (user, changed) = self.turn(&mut tx, user_id, version, User::enable).await?;
        if changed {
            store::record::insert(&mut *tx, &record(actor, "enable_user", user_id), self.now()).await?;
        }
        tx.commit().await?;
        Ok(user)
    }

    async fn turn(
        &self,
        tx: &mut PgTransaction<'_>,
        user_id: UserId,
        version: Option<i64>,
        change: impl FnOnce(&mut User) -> Result<Option<Event>, WrongState>,
    ) -> Result<(User, bool), Error> {
        let mut user = self.load_expected(tx, user_id, version).await?;
        let Some(event) = change(&mut user)? else { return Ok((user, false)) };
        self.publish(tx, &user, event).await?;
        tracing::info!(%user_id, status = user.status.name(), "user changed");
        Ok((user, true))
    }

    /// Live sessions of a user that the actor may see.
    ///
    /// # Errors
    /// Not the actor's own.
    pub async fn list_sessions(&self, actor: &Actor, user_id: UserId) -> Result<Vec<ListedSession>, Error> {
        reach(actor, user_id, "identity.support")?;
        store::session::list(&self.db, user_id, self.now()).await
    }

    /// Ends a session of a user that the actor may see; one that has ended stays as it is.
    ///
    /// # Errors
    /// Not the actor's own; no such session of this user.
    pub async fn end_session_of(
        &self,
        actor: &Actor,
        user_id: UserId,
        session_id: SessionId,
    ) -> Result<(), Error> {
        reach(actor, user_id, "identity.support")?;
        self.end_one(user_id, session_id, Some(record(actor, "end_user_session", session_id))).await
    }

    /// Ends one of a user's sessions.
    ///
    /// # Errors
    /// No such session of this user.
    pub async fn end_own_session(&self, user_id: UserId, session_id: SessionId) -> Result<(), Error> {
        self.end_one(user_id, session_id, None).await
    }

    async fn end_one(
        &self,
        user_id: UserId,
        session_id: SessionId,
        record: Option<AuditRecord>,
    ) -> Result<(), Error> {
        let found = store::session::load(&self.db, session_id).await?;
        if found.is_none_or(|(session, _)| session.user_id != user_id) {
            return Err(Error::NotFound { what: "session" });
        }
        self.end_and_note(&[session_id.into()], record).await
    }

    // Whoever ends another's sessions stands in the audit, in the same transaction.
    async fn end_and_note(&self, sessions: &[Uuid], record: Option<AuditRecord>) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        self.end_within(&mut tx, sessions, Cause::Ended).await?;
        if let Some(record) = record {
            store::record::insert(&mut *tx, &record, self.now()).await?;
        }
        tx.commit().await?;
        self.revocations.note(sessions.iter().map(|id| Revoked::Session((*id).into())));
        self.nudges.logout.notify_one();
        Ok(())
    }

    /// Ends every session of a user.
    ///
    /// # Errors
    /// The database.
    pub async fn end_own_sessions(&self, user_id: UserId) -> Result<(), Error> {
        let sessions = store::session::ids_of_user(&self.db, user_id).await?;
        self.end_and_note(&sessions, None).await
    }

    /// A user's own sessions with the names of their sites.
    ///
    /// # Errors
    /// The database.
    pub async fn own_sessions(&self, user_id: UserId) -> Result<Vec<OwnSession>, Error> {
        let listed = store::session::list(&self.db, user_id, self.now()).await?;
        let mut names = std::collections::HashMap::new();
        let mut own = Vec::with_capacity(listed.len());
        for ListedSession { session, client_ids } in listed {
            let mut sites = Vec::with_capacity(client_ids.len());
            for client_id in client_ids {
                if !names.contains_key(&client_id) {
                    let client = self.client(&client_id).await?;
                    names.insert(client_id.clone(), client.map(|client| client.name));
                }
                sites.extend(names.get(&client_id).cloned().flatten());
            }
            own.push(OwnSession { session, sites });
        }
        Ok(own)
    }

    /// Ends every session of a user whom the actor may see.
    ///
    /// # Errors
    /// Not the actor's own.
    pub async fn end_user_sessions(&self, actor: &Actor, user_id: UserId) -> Result<(), Error> {
        reach(actor, user_id, "identity.support")?;
        let sessions = store::session::ids_of_user(&self.db, user_id).await?;
        self.end_and_note(&sessions, Some(record(actor, "end_user_sessions", user_id))).await
    }

    /// Rows of the ledger of back-channel logouts, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn list_logout_deliveries(
        &self,
        choice: &DeliveryChoice,
        most: u32,
    ) -> Result<Vec<DeliveryRow>, Error> {
        store::delivery::list(&self.db, choice, i64::from(most)).await
    }

    /// Has a delivery tried at once, and for another day. One that was delivered stays so.
    ///
    /// # Errors
    /// No such delivery.
    pub async fn retry_logout_delivery(
        &self,
        actor: &Actor,
        delivery_id: Uuid,
    ) -> Result<DeliveryRow, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let row = store::delivery::retry(&mut tx, delivery_id, now).await?;
        let row = row.ok_or(Error::NotFound { what: "logout delivery" })?;
        let record = record(actor, "retry_logout_delivery", delivery_id);
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        self.nudges.logout.notify_one();
        Ok(row)
    }

    /// Gives a user a scope of staff; a second time changes nothing.
    ///
    /// # Errors
    /// No such user.
    pub async fn grant_staff_scope(
        &self,
        actor: &Actor,
        user_id: UserId,
        scope: &str,
    ) -> Result<StaffGrant, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        if !store::staff::grant(&mut *tx, user_id, scope, &actor.subject, now).await? {
            return Err(NO_USER);
        }
        let granted = store::staff::list(&mut *tx, Some(user_id)).await?;
        let granted = granted.into_iter().find(|granted| granted.scope == scope);
        // The row was there already, or this call wrote it.
        let granted = granted.ok_or(Error::Stored { what: "staff grant" })?;
        let record = AuditRecord {
            detail: Some(json!({"scope": scope})),
            ..record(actor, "grant_staff_scope", user_id)
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        tracing::info!(%user_id, scope, "staff scope granted");
        Ok(granted)
    }

    /// Takes a scope of staff from a user. Access tokens that carry it live for minutes still. A bootstrap file that still
    /// names the address for it gives it again at the next start.
    ///
    /// # Errors
    /// The user does not hold it.
    pub async fn revoke_staff_scope(&self, actor: &Actor, user_id: UserId, scope: &str) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        if !store::staff::revoke(&mut tx, user_id, scope).await? {
            return Err(Error::NotFound { what: "staff grant" });
        }
        let record = AuditRecord {
            detail: Some(json!({"scope": scope})),
            ..record(actor, "revoke_staff_scope", user_id)
        };
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        tracing::info!(%user_id, scope, "staff scope revoked");
        Ok(())
    }

    /// Who holds which scope of staff; at most 500 rows.
    ///
    /// # Errors
    /// The database.
    pub async fn list_staff_grants(&self, user_id: Option<UserId>) -> Result<Vec<StaffGrant>, Error> {
        store::staff::list(&self.db, user_id).await
    }
}

const NO_USER: Error = Error::NotFound { what: "user" };

/// A person's token reaches that person only, unless it carries the scope of staff. It is asked before anything is looked
/// up, so that the answer does not tell whether there is such a user.
pub(super) fn reach(actor: &Actor, user_id: UserId, staff_scope: &str) -> Result<(), Error> {
    if actor.has(staff_scope) || actor.user() == Some(user_id) { Ok(()) } else { Err(Error::NotYours) }
}

/// Of what an actor did to something.
pub(super) fn record(actor: &Actor, action: &'static str, subject: impl Display) -> AuditRecord {
    AuditRecord {
        actor: actor.subject.clone(),
        action,
        subject: subject.to_string(),
        client_id: actor.client_id.clone(),
        outcome: "done",
        ..AuditRecord::default()
    }
}
