//! What goes with every change of a user, within its transaction: the new version, the fact, the user's mail, the audit.

use domain::{Service, UserId};
use sqlx::PgTransaction;

use super::{App, Origin};
use crate::{
    challenge::{Challenge, Purpose},
    change::Change,
    error::Error,
    events,
    store::{self, record::AuditRecord},
    user::{Event, User},
};

impl App {
    /// Locks a user who changes.
    pub(super) async fn locked(&self, tx: &mut PgTransaction<'_>, user_id: UserId) -> Result<User, Error> {
        store::user::load_for_update(tx, user_id).await?.ok_or(Error::NotFound { what: "user" })
    }

    /// Saves a user's new version, and tells other services of it.
    pub(super) async fn publish(
        &self,
        tx: &mut PgTransaction<'_>,
        user: &User,
        event: Event,
    ) -> Result<(), Error> {
        store::user::save_status(tx, user).await?;
        outbox::append(tx, Service::Identity, &events::user_changed(user, event, self.now())).await?;
        Ok(())
    }

    /// Tells a user of a change by mail. Nudge `mail` after the commit.
    pub(super) async fn tell(
        &self,
        tx: &mut PgTransaction<'_>,
        user: &User,
        purpose: Purpose,
    ) -> Result<(), Error> {
        let (address, client_id) = (user.email.clone(), String::new());
        let notice = Challenge::new(purpose, address, user.locale, client_id, self.now());
        store::challenge::insert(&mut **tx, &notice).await?;
        Ok(())
    }

    /// Notes a change of the ways to sign in for other services, the user and the audit. Nudge `mail` after the commit.
    pub(super) async fn note_change(
        &self,
        tx: &mut PgTransaction<'_>,
        user: &mut User,
        change: Change,
        origin: Origin,
    ) -> Result<(), Error> {
        let event = user.note(change.event());
        self.publish(tx, user, event).await?;
        self.tell(tx, user, Purpose::Changed(change)).await?;
        self.note(tx, user, change.action(), origin).await?;
        tracing::info!(user_id = %user.user_id, change = change.name(), "ways to sign in changed");
        Ok(())
    }

    /// Notes that a user has a new password for other services and the user. Nudge `mail` after the commit.
    pub(super) async fn note_new_password(
        &self,
        tx: &mut PgTransaction<'_>,
        user: &mut User,
        cause: &'static str,
    ) -> Result<(), Error> {
        let event = user.change_password(cause)?;
        self.publish(tx, user, event).await?;
        self.tell(tx, user, Purpose::PasswordChanged).await
    }

    /// Writes what a user did to the audit.
    pub(super) async fn note(
        &self,
        tx: &mut PgTransaction<'_>,
        user: &User,
        action: &'static str,
        origin: Origin,
    ) -> Result<(), Error> {
        store::record::insert(&mut **tx, &self.by_user(user.user_id, action, origin), self.now()).await
    }

    /// A record of what a user did to the own ID.
    pub(super) fn by_user(&self, user_id: UserId, action: &'static str, origin: Origin) -> AuditRecord {
        AuditRecord {
            actor: user_id.to_string(),
            action,
            subject: user_id.to_string(),
            outcome: "done",
            ip_hmac: self.network_hash(origin),
            ..AuditRecord::default()
        }
    }
}
