use std::time::Duration;

use domain::{EmailAddress, SessionId, UserId};
use serde_json::json;
use sqlx::PgConnection;

use super::{
    App, Origin,
    authorize::{Planned, Step},
};
use crate::{
    acr::Shown,
    authorization::Request,
    error::Error,
    events,
    hash_queue::Class,
    password::{self, Password},
    session::{Cause, Session},
    store::{self, record::AuditRecord},
    throttle::Counted,
    user::{Status, User},
};

/// With what somebody comes to sign in.
#[derive(Debug, Default)]
pub struct Entering {
    /// The browser's live session.
    pub current: Option<Session>,
    /// The authorization request that waits.
    pub request: Option<Request>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A user who has just signed in.
#[derive(Debug)]
pub struct Entered {
    /// The user's session.
    pub session: Session,
    /// Where the request goes that waited. The user is in, even where it fails.
    pub onward: Option<Result<Step, Error>>,
}

/// What an attempt to sign in leads to.
#[derive(Debug)]
pub enum SignIn {
    /// The user is in.
    Done(Box<Entered>),
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
    pub async fn sign_in(&self, address: &str, entered: &str, entering: Entering) -> Result<SignIn, Error> {
        let origin = entering.origin;
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
            .map_or((password::NOBODY.to_owned(), self.keys().active().name().to_owned()), |stored| {
                (stored.phc, stored.pepper_id)
            });
        // A password longer than any that was taken is as wrong as any other, and costs as much.
        let password = Password::entered(entered).or_else(|| Password::entered(""));
        let Some(password) = password else { return Ok(SignIn::Wrong) };
        // No browser is known to its user yet, and a network that guessed too often has been sent away.
        let class = Class::of_sign_in(entering.current.is_some(), false, false);
        let pepper = self.pepper(&pepper_id)?;
        let right = self.lane.verify(class, password, phc, pepper).await?;
        match user.filter(|user| right && user.status == Status::Active) {
            Some(user) => self.end_sign_in(&user, entering, &counters).await.map(Box::new).map(SignIn::Done),
            None => self.keep_out(&counters, origin).await.map(|()| SignIn::Wrong),
        }
    }

    async fn end_sign_in(
        &self,
        user: &User,
        entering: Entering,
        counters: &[(Counted, Option<Vec<u8>>)],
    ) -> Result<Entered, Error> {
        let Entering { current, request, origin } = entering;
        let planned = self.plan_onward(user.user_id, current.as_ref(), Shown::Password, request).await;
        let mut tx = chassis::begin(&self.db).await?;
        let entered = self.let_in(&mut tx, user, current, Shown::Password, planned, origin).await?;
        for (counted, key_hash) in counters {
            // The network's counter stays: others behind it may still be guessing.
            if let (Counted::Account, Some(key_hash)) = (counted, key_hash) {
                store::throttle::delete(&mut *tx, *counted, key_hash).await?;
            }
        }
        tx.commit().await?;
        self.nudges.logout.notify_one();
        Ok(entered)
    }

    /// Gives a user who showed enough a session and the planned code, within a transaction. Nudge `logout` after the commit.
    pub(super) async fn let_in(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user: &User,
        current: Option<Session>,
        shown: Shown,
        planned: Option<Result<Planned, Error>>,
        origin: Origin,
    ) -> Result<Entered, Error> {
        let session = self.renew_or_start(tx, user, current, shown).await?;
        let onward = self.take_up(tx, planned, &session).await?;
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
        Ok(Entered { session, onward })
    }

    /// Where a waiting request goes once this user is in. It is asked before the transaction of the sign-in, which
    /// [`App::take_up`] then uses for the code too: session and code are one commit.
    pub(super) async fn plan_onward(
        &self,
        user_id: UserId,
        current: Option<&Session>,
        shown: Shown,
        request: Option<Request>,
    ) -> Option<Result<Planned, Error>> {
        let now = self.now();
        let session = match current {
            Some(current) if current.user_id == user_id => current.clone().renewed(shown, now),
            _ => Session::start(SessionId::new(), user_id, shown, now),
        };
        Some(self.plan_to_resume(request?.signed_in(), Some(&session)).await)
    }

    /// Writes the planned code of a user whose session this transaction has just written.
    pub(super) async fn take_up(
        &self,
        tx: &mut PgConnection,
        planned: Option<Result<Planned, Error>>,
        session: &Session,
    ) -> Result<Option<Result<Step, Error>>, Error> {
        match planned {
            Some(Ok(Planned::Code { mut grant, request, first_party })) => {
                // The plan did not know yet which session it would be.
                grant.session_id = session.session_id;
                let step = self.carry_out(tx, Planned::Code { grant, request, first_party }).await?;
                Ok(Some(Ok(step)))
            }
            Some(Ok(Planned::Step(step))) => Ok(Some(Ok(step))),
            Some(Err(error)) => Ok(Some(Err(error))),
            None => Ok(None),
        }
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
