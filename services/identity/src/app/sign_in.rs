use std::time::Duration;

use domain::{EmailAddress, SessionId, UserId, Uuid};
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
    handle::keyed_hash,
    hash_queue::Class,
    password::{self, Password},
    progress::Proved,
    session::{Cause, Session},
    store::{self, record::AuditRecord, user::StoredPassword},
    throttle::{Counted, Verdict},
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
    /// The password is right, and the user has a second step.
    AskCode(Proved),
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
    pub async fn sign_in(&self, address: &str, entered: &str, entering: Entering) -> Result<SignIn, Error> {
        let origin = entering.origin;
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
        let user_id = user.as_ref().map_or_else(domain::UserId::new, |user| user.user_id);
        // Who guesses at others while signed in does not go before them.
        let renews = entering.current.as_ref().is_some_and(|current| current.user_id == user_id);
        let class = Class::of_sign_in(renews, account == Counted::Browser, is_throttled);
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
        if store::second_factor::find_totp(&self.db, user.user_id).await?.is_some() {
            return self.ask_code(&user, (&stored, fresh.as_ref())).await;
        }
        let entered = self.end_sign_in(&user, entering, &counters, (&stored, fresh.as_ref())).await?;
        Ok(entered.map_or(SignIn::Wrong, |entered| SignIn::Done(Box::new(entered))))
    }

    // The password may be hashed anew now: the second step does not see it.
    async fn ask_code(
        &self,
        user: &User,
        (stored, fresh): (&StoredPassword, Option<&StoredPassword>),
    ) -> Result<SignIn, Error> {
        if fresh.is_some() {
            let mut tx = chassis::begin(&self.db).await?;
            if !store::recovery::keep_password(&mut tx, user.user_id, stored, fresh).await? {
                return Ok(SignIn::Wrong);
            }
            tx.commit().await?;
        }
        Ok(SignIn::AskCode(Proved::now(user.user_id, self.now())))
    }

    // Which counter a guess belongs to: the account's, or the one that its user has at this browser.
    pub(super) fn guessed(
        &self,
        user: Option<&User>,
        address_key: &[u8],
        origin: Origin,
    ) -> (Counted, Vec<u8>) {
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
        entering: Entering,
        counters: &[(Counted, Option<Vec<u8>>)],
        (stored, fresh): (&StoredPassword, Option<&StoredPassword>),
    ) -> Result<Option<Entered>, Error> {
        let Entering { current, request, origin } = entering;
        let planned = self.plan_onward(user.user_id, current.as_ref(), Shown::Password, request).await;
        let mut tx = chassis::begin(&self.db).await?;
        // A password that was changed while this one was checked ends all sessions, and would not see this one.
        if !store::recovery::keep_password(&mut tx, user.user_id, stored, fresh).await? {
            return Ok(None);
        }
        let entered = self.let_in(&mut tx, user, current, Shown::Password, planned, origin).await?;
        for (counted, key_hash) in counters {
            // The network's counter stays: others behind it may still be guessing.
            if let (Counted::Account | Counted::Browser, Some(key_hash)) = (counted, key_hash) {
                store::throttle::delete(&mut *tx, *counted, key_hash).await?;
            }
        }
        tx.commit().await?;
        self.nudges.logout.notify_one();
        Ok(Some(entered))
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
        let detail = Some(json!({"amr": shown.methods()}));
        let record = AuditRecord { detail, ..self.by_user(user.user_id, "sign_in", origin) };
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
        self.plan_with(&session, request).await
    }

    pub(super) async fn plan_with(
        &self,
        session: &Session,
        request: Option<Request>,
    ) -> Option<Result<Planned, Error>> {
        Some(self.plan_to_resume(request?.signed_in(), Some(session)).await)
    }

    /// Writes the planned code of a user whose session this transaction has just written.
    pub(super) async fn take_up(
        &self,
        tx: &mut PgConnection,
        planned: Option<Result<Planned, Error>>,
        session: &Session,
    ) -> Result<Option<Result<Step, Error>>, Error> {
        match planned {
            Some(Ok(Planned::Code { mut grant, request, first_party, reached })) => {
                // The plan did not know yet which session it would be.
                grant.session_id = session.session_id;
                let step = self.carry_out(tx, Planned::Code { grant, request, first_party, reached }).await?;
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
