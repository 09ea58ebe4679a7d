use std::time::Duration;

use domain::{EmailAddress, SessionId, UserId, Uuid};
use serde_json::json;
use sqlx::PgConnection;

use super::{App, Origin};
use crate::{
    acr::Shown,
    error::Error,
    events,
    handle::keyed_hash,
    hash_queue::Class,
    password::{self, Password},
    session::{Cause, Session},
    store::{self, record::AuditRecord, user::StoredPassword},
    throttle::{Counted, Verdict},
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
    /// After so many wrong ones a password alone will not do: first a proof by mail, which makes the browser known.
    MailProof,
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
        let user = match &email {
            Some(email) => store::user::find_by_address(&self.db, email).await?,
            None => None,
        };
        let (account, key_hash) = self.guessed(user.as_ref(), &key, origin);
        let Some(_turn) = self.guesses.take(&key_hash).await else {
            return Ok(SignIn::Wait(Duration::from_secs(1)));
        };
        let counters = [(account, Some(key_hash)), (Counted::Network, self.network_hash(origin))];
        let is_throttled = match self.judge(&counters).await? {
            Verdict::Free => false,
            Verdict::Last => true,
            Verdict::Wait(wait) => return Ok(SignIn::Wait(super::seconds(wait))),
            Verdict::MailProof => return Ok(SignIn::MailProof),
        };
        let class = Class::of_sign_in(current.is_some(), account == Counted::Browser, is_throttled);
        let user_id = user.as_ref().map_or_else(domain::UserId::new, |user| user.user_id);
        let stored = store::user::load_password(&self.db, user_id).await?;
        let stored = stored.unwrap_or_else(|| StoredPassword {
            phc: password::NOBODY.to_owned(),
            pepper_id: self.keys().pepper_id(),
        });
        // A password longer than any that was taken is as wrong as any other, and costs as much.
        let password = Password::entered(entered).or_else(|| Password::entered(""));
        let Some(password) = password else { return Ok(SignIn::Wrong) };
        let pepper = self.pepper(&stored.pepper_id)?;
        let right = self.lane.verify(class, password.clone(), stored.phc.clone(), pepper).await?;
        let Some(user) = user.filter(|user| right && user.status == Status::Active) else {
            self.keep_out(&counters, origin).await?;
            return Ok(SignIn::Wrong);
        };
        let fresh = self.hashed_anew(password, &stored).await?;
        let session = self.end_sign_in(&user, current, &counters, (&stored, fresh.as_ref()), origin).await?;
        Ok(session.map_or(SignIn::Wrong, SignIn::Done))
    }

    // Which counter a guess belongs to: the account's, or the one that its user has at this browser.
    fn guessed(&self, user: Option<&User>, address_key: &[u8], origin: Origin) -> (Counted, Vec<u8>) {
        match (user, origin.browser) {
            (Some(user), Some(browser)) if browser.mark == self.mark(user.user_id) => {
                (Counted::Browser, self.browser_hash(user.user_id, browser.id))
            }
            _ => (Counted::Account, self.address_hash(address_key)),
        }
    }

    fn browser_hash(&self, user_id: UserId, browser: Uuid) -> Vec<u8> {
        keyed_hash(self.keys(), "guesses", &[user_id.0.as_bytes().as_slice(), browser.as_bytes()].concat())
    }

    /// Gives a user who has proved the address by mail free tries at this browser again.
    ///
    /// # Errors
    /// The database.
    pub async fn forgive(&self, user_id: UserId, browser: Uuid) -> Result<(), Error> {
        store::throttle::delete(&self.db, Counted::Browser, &self.browser_hash(user_id, browser)).await
    }

    // A hash of today's cost under today's pepper, in place of an older one. A busy lane leaves it for another time.
    async fn hashed_anew(
        &self,
        password: Password,
        stored: &StoredPassword,
    ) -> Result<Option<StoredPassword>, Error> {
        let pepper_id = self.keys().pepper_id();
        if password::is_current(&stored.phc) && stored.pepper_id == pepper_id {
            return Ok(None);
        }
        match self.lane.hash(Class::Throttled, password, self.pepper(&pepper_id)?).await {
            Ok(phc) => Ok(Some(StoredPassword { phc, pepper_id })),
            Err(Error::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn end_sign_in(
        &self,
        user: &User,
        current: Option<Session>,
        counters: &[(Counted, Option<Vec<u8>>)],
        (stored, fresh): (&StoredPassword, Option<&StoredPassword>),
        origin: Origin,
    ) -> Result<Option<Session>, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        // A password that was changed while this one was checked ends all sessions, and would not see this one.
        if !store::recovery::keep_password(&mut tx, user.user_id, stored, fresh).await? {
            return Ok(None);
        }
        let session = self.let_in(&mut tx, user, current, Shown::Password, origin).await?;
        for (counted, key_hash) in counters {
            // The network's counter stays: others behind it may still be guessing.
            if let (Counted::Account | Counted::Browser, Some(key_hash)) = (counted, key_hash) {
                store::throttle::delete(&mut *tx, *counted, key_hash).await?;
            }
        }
        tx.commit().await?;
        self.nudges.logout.notify_one();
        Ok(Some(session))
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
