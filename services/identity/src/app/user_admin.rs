//! What staff and other services do to users beside shutting them out: find, create, change of address, erasure.

use chassis::Actor;
use domain::{EmailAddress, Locale, Service, UserId, Uuid};
use serde_json::json;

use super::{App, admin::record};
use crate::{
    error::Error,
    events,
    revocation::Revoked,
    session::Cause,
    store::{self, record::AuditRecord, user_admin},
    subject,
    user::{Status, User},
};

pub use user_admin::UserChoice;

/// What stays after an erasure, and why.
const RETAINED: [&str; 4] = [
    "user: the id, so that nobody gets it again",
    "browser_session, session_client, token_family, logout_delivery: ids and times, until their partitions go",
    "email_challenge: a mail that was asked for, for a day or two",
    "audit_record: ids and codes, of what was done for security's sake",
];

impl App {
    /// A page of users.
    ///
    /// # Errors
    /// The database.
    pub async fn list_users(&self, choice: &UserChoice, most: u32) -> Result<Vec<User>, Error> {
        user_admin::list(&self.db, choice, i64::from(most)).await
    }

    /// Makes a user without credentials. The same request again gives the same user.
    ///
    /// # Errors
    /// The address is another user's; the request was for another address.
    pub async fn create_user(
        &self,
        actor: &Actor,
        request_id: Uuid,
        email: EmailAddress,
        locale: Locale,
    ) -> Result<User, Error> {
        let (user_id, now) = (UserId::from(request_id), self.now());
        let mut tx = chassis::begin(&self.db).await?;
        if let Some(user) = store::user::load_for_update(&mut tx, user_id).await? {
            let same = user.email == email;
            return if same { Ok(user) } else { Err(Error::RequestIdReused) };
        }
        let (mut user, event) = User::register(user_id, email, locale, String::new(), now);
        "staff".clone_into(&mut user.origin);
        if !user_admin::insert(&mut tx, &user).await? {
            return Err(Error::AlreadyThere { what: "user with this address" });
        }
        if let Some(key) = store::user::address_key(&user.email) {
            store::staff::apply_nominations(&mut tx, &key, now).await?;
        }
        outbox::append(&mut tx, Service::Identity, &events::user_changed(&user, event, now)).await?;
        store::record::insert(&mut *tx, &record(actor, "create_user", user_id), now).await?;
        tx.commit().await?;
        tracing::info!(%user_id, "user created");
        Ok(user)
    }

    /// Gives a user another address, for which the caller answers. The same address again changes nothing.
    ///
    /// # Errors
    /// No such user, another version than expected, an address of another user.
    pub async fn change_email(
        &self,
        actor: &Actor,
        user_id: UserId,
        version: Option<i64>,
        email: EmailAddress,
        reason: &str,
    ) -> Result<User, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.load_expected(&mut tx, user_id, version).await?;
        if user.email == email {
            return Ok(user);
        }
        let event = user.change_email(email, now)?;
        if !user_admin::save_email(&mut tx, &user).await? {
            return Err(Error::AlreadyThere { what: "user with this address" });
        }
        outbox::append(&mut tx, Service::Identity, &events::user_changed(&user, event, now)).await?;
        let record =
            AuditRecord { detail: Some(json!({"reason": reason})), ..record(actor, "change_email", user_id) };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        tracing::info!(%user_id, "address changed");
        Ok(user)
    }

    /// Leaves nothing of a user but the id. A second time changes nothing.
    ///
    /// # Errors
    /// No such user, another version than expected; a profile, which erases by its own protocol; profile does not answer.
    pub async fn erase_user(
        &self,
        actor: &Actor,
        user_id: UserId,
        version: Option<i64>,
        (request_id, reason): (Uuid, &str),
    ) -> Result<(), Error> {
        match user_admin::status(&self.db, user_id).await? {
            None => return Err(Error::NotFound { what: "user" }),
            Some(Status::Erased) => return Ok(()),
            Some(Status::Active | Status::Disabled) => {}
        }
        let known = self.profiles.knows(user_id).await;
        if known.map_err(|source| Error::Peer { service: "profile", source })? {
            return Err(Error::HasProfile);
        }
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.load_expected(&mut tx, user_id, version).await?;
        user.erase();
        let sessions = store::session::ids_of_user(&mut *tx, user_id).await?;
        self.end_within(&mut tx, &sessions, Cause::Erasure).await?;
        store::recovery::revoke_offline(&mut tx, user_id, now).await?;
        store::revocation::insert_user(&mut *tx, user_id, now).await?;
        user_admin::erase(&mut tx, &user, now).await?;
        for fact in events::user_erased(&user, request_id, (&user_admin::EMPTIED, &RETAINED), now) {
            outbox::append(&mut tx, Service::Identity, &fact).await?;
        }
        let record = AuditRecord {
            detail: Some(json!({"reason": reason, "request_id": request_id})),
            ..record(actor, "erase_user", user_id)
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        self.revocations.note([Revoked::User(user_id)]);
        self.nudges.logout.notify_one();
        tracing::info!(%user_id, "user erased");
        Ok(())
    }

    pub(super) async fn load_expected(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user_id: UserId,
        version: Option<i64>,
    ) -> Result<User, Error> {
        let user = store::user::load_for_update(tx, user_id).await?;
        let user = user.ok_or(Error::NotFound { what: "user" })?;
        match version {
            Some(expected) if expected != user.version => Err(Error::StaleVersion { actual: user.version }),
            _ => Ok(user),
        }
    }

    /// How a client knows users, in their order.
    ///
    /// # Errors
    /// No such client.
    pub async fn subjects(&self, client_id: &str, users: &[UserId]) -> Result<Vec<String>, Error> {
        let client = self.client(client_id).await?.ok_or(Error::NotFound { what: "client" })?;
        let subject = |user_id: &UserId| Ok(subject::subject(self.keys(), &client, *user_id)?);
        users.iter().map(subject).collect()
    }

    /// The user whom a client knows by a subject.
    ///
    /// # Errors
    /// No such client, or no such user.
    pub async fn resolve_subject(&self, client_id: &str, sub: &str) -> Result<UserId, Error> {
        let client = self.client(client_id).await?.ok_or(Error::NotFound { what: "client" })?;
        let user_id = subject::user_of(self.keys(), &client, sub).ok_or(Error::NotFound { what: "user" })?;
        match user_admin::status(&self.db, user_id).await? {
            Some(_) => Ok(user_id),
            None => Err(Error::NotFound { what: "user" }),
        }
    }
}
