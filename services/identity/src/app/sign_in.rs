use std::time::Duration;

use domain::{EmailAddress, SessionId};
use serde_json::json;
use sqlx::PgConnection;

use super::{App, Origin};
use crate::{
    acr::Shown,
    error::Error,
    events,
    password::{self, Password},
    session::{Cause, Session},
    store::{self, record::AuditRecord},
    throttle::Counted,
    user::{Status, User},
};

/// What an attempt to sign in leads to.
#[derive(Debug)]
pub enum SignIn {
    /// The user is in.
    Done(Session),
    /// Address or password are wrong; which one is not said.
    Wrong,
    /// Not now.
    Wait(Duration),
}

impl App {
    /// Signs a user in by address and password. Known, unknown and disabled users take one hash and as many statements.
    ///
    /// # Errors
    /// A full hash lane; the database.
    pub async fn sign_in(
        &self,
        address: &str,
        entered: &str,
        current: Option<Session>,
        origin: Origin,
    ) -> Result<SignIn, Error> {
        let email = EmailAddress::classify(address.trim().as_bytes()).ok();
        let key = email.as_ref().map_or_else(|| address.as_bytes().to_vec(), EmailAddress::key);
        let counters = [
            (Counted::Account, Some(self.address_hash(&key))),
            (Counted::Network, self.network_hash(origin)),
        ];
        if let Some(wait) = self.wait(&counters).await? {
            return Ok(SignIn::Wait(wait));
        }
        let user = match &email {
            Some(email) => store::user::find_by_address(&self.db, email).await?,
            None => None,
        };
        let user_id = user.as_ref().map_or_else(domain::UserId::new, |user| user.user_id);
        let stored = store::user::load_password(&self.db, user_id).await?;
        let (phc, pepper_id) = stored
            .map_or((password::NOBODY.to_owned(), self.keys().pepper_id()), |stored| {
                (stored.phc, stored.pepper_id)
            });
        // A password longer than any that was taken is as wrong as any other, and costs as much.
        let password = Password::entered(entered).or_else(|| Password::entered(""));
        let Some(password) = password else { return Ok(SignIn::Wrong) };
        let right = self.lane.verify(password, phc, self.pepper(&pepper_id)?).await?;
        match user.filter(|user| right && user.status == Status::Active) {
            Some(user) => self.end_sign_in(&user, current, &counters, origin).await.map(SignIn::Done),
            None => self.keep_out(&counters, origin).await.map(|()| SignIn::Wrong),
        }
    }

    async fn end_sign_in(
        &self,
        user: &User,
        current: Option<Session>,
        counters: &[(Counted, Option<Vec<u8>>)],
        origin: Origin,
    ) -> Result<Session, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let session = self.let_in(&mut tx, user, current, Shown::Password, origin).await?;
        for (counted, key_hash) in counters {
            // The network's counter stays: others behind it may still be guessing.
            if let (Counted::Account, Some(key_hash)) = (counted, key_hash) {
                store::throttle::delete(&mut *tx, *counted, key_hash).await?;
            }
        }
        tx.commit().await?;
        self.nudges.logout.notify_one();
        Ok(session)
    }

    /// Gives a user who showed enough a session, within a transaction. Nudge `logout` after the commit.
    pub(super) async fn let_in(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user: &User,
        current: Option<Session>,
        shown: Shown,
        origin: Origin,
    ) -> Result<Session, Error> {
        let session = self.renew_or_start(tx, user, current, shown).await?;
        if store::user::note_seen(tx, user.user_id, self.now()).await? {
            let fact = events::user_seen(user.user_id, self.now());
            outbox::append(tx, domain::Service::Identity, &fact).await?;
        }
        let record = AuditRecord {
            actor: user.user_id.to_string(),
            action: "sign_in",
            subject: user.user_id.to_string(),
            outcome: "done",
            ip_hmac: self.network_hash(origin),
            detail: Some(json!({"amr": shown.methods()})),
            ..AuditRecord::default()
        };
        store::record::insert(&mut **tx, &record, self.now()).await?;
        tracing::info!(user_id = %user.user_id, session_id = %session.session_id, "user signed in");
        Ok(session)
    }

    // The user's own session is renewed, so that its clients keep their `sid`; somebody else's ends.
    pub(super) async fn renew_or_start(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user: &User,
        current: Option<Session>,
        shown: Shown,
    ) -> Result<Session, Error> {
        let now = self.now();
        if let Some(current) = current {
            if current.user_id == user.user_id {
                let renewed = current.renewed(shown, now);
                if store::session::renew(&mut **tx, &renewed).await? {
                    return Ok(renewed);
                }
            } else {
                self.end_within(tx, &[current.session_id.into()], Cause::Replaced).await?;
            }
        }
        let session = Session::start(SessionId::new(), user.user_id, shown, now);
        store::session::insert(&mut **tx, &session).await?;
        Ok(session)
    }

    pub(super) async fn keep_out(
        &self,
        counters: &[(Counted, Option<Vec<u8>>)],
        origin: Origin,
    ) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let connection: &mut PgConnection = &mut tx;
        self.count(connection, counters).await?;
        let record = AuditRecord {
            actor: "anonymous".to_owned(),
            action: "sign_in",
            outcome: "refused",
            ip_hmac: self.network_hash(origin),
            ..AuditRecord::default()
        };
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}
