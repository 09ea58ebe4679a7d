//! The second step of a sign-in by password: a one-time code or a recovery code; and how a user turns it on and off.

use std::time::Duration;

use domain::{DateTime, UserId, Utc, Uuid};

use super::{App, Entered, Entering, Origin, SignIn, authorize::Planned};
use crate::{
    acr::Shown,
    change::Change,
    error::Error,
    progress::Proved,
    recovery_code,
    sealed::{self, SealError},
    session::Session,
    store::{self, second_factor::Totp},
    throttle::Counted,
    totp::Secret,
    user::{Status, User},
};

/// What somebody shows as the second step.
#[derive(Debug, Clone, Copy)]
pub enum Code<'a> {
    /// Six digits of an app.
    Totp(&'a str),
    /// A recovery code, as it was written.
    Recovery(&'a str),
}

/// Whether a user has a second step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondFactor {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Recovery codes that were not used.
    pub codes_left: i64,
}

/// The second step is on.
#[derive(Debug)]
pub struct TurnedOn {
    /// The session, which has a new cookie.
    pub session: Session,
    /// Shown once.
    pub recovery_codes: Vec<String>,
}

const AT_REST: &str = "totp";
const SET_UP: &str = "totp set-up";

impl App {
    /// The second step of a user, if it is on.
    ///
    /// # Errors
    /// The database.
    pub async fn second_factor(&self, user_id: UserId) -> Result<Option<SecondFactor>, Error> {
        let Some(totp) = store::second_factor::find_totp(&self.db, user_id).await? else { return Ok(None) };
        let codes_left = store::second_factor::count_recovery_codes(&self.db, user_id).await?;
        Ok(Some(SecondFactor { since: totp.created_at, codes_left }))
    }

    /// Judges the second step of a user who has proved the first one, and signs the user in.
    ///
    /// # Errors
    /// The database; a stored secret that no key opens.
    pub async fn sign_in_by_code(
        &self,
        proved: Proved,
        code: Code<'_>,
        entering: Entering,
    ) -> Result<SignIn, Error> {
        let Entering { current, request, origin } = entering;
        let user_id: UserId = proved.user_id.into();
        let user_hash = self.user_hash(user_id);
        let Some(_turn) = self.guesses.take(&user_hash).await else {
            return Ok(SignIn::Wait(Duration::from_secs(1)));
        };
        let counters =
            [(Counted::SecondFactor, Some(user_hash.clone())), (Counted::Network, self.network_hash(origin))];
        // The network's counter makes nobody wait.
        if let Some(wait) = self.wait(&counters[..1]).await? {
            return Ok(SignIn::Wait(wait));
        }
        let planned = match current.as_ref().filter(|current| proved.adds && current.user_id == user_id) {
            Some(current) => self.plan_with(&current.clone().stepped_up(self.now()), request).await,
            None => self.plan_onward(user_id, current.as_ref(), Shown::PasswordAndCode, request).await,
        };
        let mut tx = chassis::begin(&self.db).await?;
        if let Some(user) = self.still_proved(&mut tx, proved).await?
            && self.take(&mut tx, user_id, code).await?
            && let Some(entered) = self.enter(&mut tx, &user, proved, current, planned, origin).await?
        {
            let (account, key_hash) = self.guessed(Some(&user), &user.email.key(), origin);
            store::throttle::delete(&mut *tx, account, &key_hash).await?;
            store::throttle::delete(&mut *tx, Counted::SecondFactor, &user_hash).await?;
            tx.commit().await?;
            self.nudges.logout.notify_one();
            return Ok(SignIn::Done(Box::new(entered)));
        }
        tx.rollback().await?;
        self.keep_out(&counters, origin).await?;
        Ok(SignIn::Wrong)
    }

    // The first step is worth nothing once the user is shut out or the password is another one. The user's row is locked,
    // since whoever changes that ends all sessions, and would not see this one.
    async fn still_proved(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        proved: Proved,
    ) -> Result<Option<User>, Error> {
        let user = store::user::load_for_update(tx, proved.user_id.into()).await?;
        let Some(user) = user.filter(|user| user.status == Status::Active) else { return Ok(None) };
        if proved.adds {
            return Ok(Some(user));
        }
        let set_at = store::recovery::password_set_at(tx, user.user_id).await?;
        Ok(set_at.is_some_and(|set_at| set_at.timestamp() <= proved.at).then_some(user))
    }

    async fn take(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user_id: UserId,
        code: Code<'_>,
    ) -> Result<bool, Error> {
        match code {
            Code::Totp(digits) => {
                let Some(totp) = store::second_factor::find_totp(&mut **tx, user_id).await? else {
                    return Ok(false);
                };
                match self.open_secret(user_id, &totp)?.check(digits, totp.last_step, self.now()) {
                    Some(step) => store::second_factor::take_step(&mut **tx, user_id, step).await,
                    None => Ok(false),
                }
            }
            Code::Recovery(written) => match recovery_code::hash(self.keys(), user_id, written) {
                Some(hmac) => {
                    store::second_factor::use_recovery_code(&mut **tx, user_id, &hmac, self.now()).await
                }
                None => Ok(false),
            },
        }
    }

    async fn enter(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user: &User,
        proved: Proved,
        current: Option<Session>,
        planned: Option<Result<Planned, Error>>,
        origin: Origin,
    ) -> Result<Option<Entered>, Error> {
        if !proved.adds {
            let shown = Shown::PasswordAndCode;
            return self.let_in(tx, user, current, shown, planned, origin).await.map(Some);
        }
        let Some(current) = current.filter(|current| current.user_id == user.user_id) else {
            return Ok(None);
        };
        let session = current.stepped_up(self.now());
        if !store::session::renew(&mut **tx, &session).await? {
            return Ok(None);
        }
        let onward = self.take_up(tx, planned, &session).await?;
        self.note(tx, user, "step_up", origin).await?;
        Ok(Some(Entered { session, onward }))
    }

    /// A new secret for a user's app, and the same sealed for the user and this browser.
    ///
    /// # Errors
    /// No random bytes.
    pub fn new_secret(&self, user_id: UserId, browser: Uuid) -> Result<(Secret, String), Error> {
        let secret = Secret::generate()?;
        let context = format!("{user_id} {browser}");
        let sealed = sealed::seal_text(self.keys(), SET_UP, &context, &secret.as_bytes())?;
        Ok((secret, sealed))
    }

    /// The secret that this browser carried here for the same user.
    pub fn open_new_secret(&self, user_id: UserId, browser: Uuid, text: &str) -> Option<Secret> {
        let context = format!("{user_id} {browser}");
        let bytes: Vec<u8> = sealed::open_text(self.keys(), SET_UP, &context, text)?;
        Secret::from_bytes(&bytes)
    }

    /// Turns the second step on for a user whose app shows a right code; the session steps up by it. Nothing when the
    /// code is wrong or the step is on already.
    ///
    /// # Errors
    /// The database.
    pub async fn turn_codes_on(
        &self,
        session: &Session,
        secret: &Secret,
        digits: &str,
        origin: Origin,
    ) -> Result<Option<TurnedOn>, Error> {
        let (user_id, now) = (session.user_id, self.now());
        let Some(last_step) = secret.check(digits, 0, now) else { return Ok(None) };
        let sealed_secret =
            sealed::seal_to_stay(self.keys(), AT_REST, &user_id.to_string(), secret.as_bytes())?;
        let totp = Totp { sealed_secret, last_step, created_at: now };
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        let session = session.clone().stepped_up(now);
        if !store::second_factor::insert_totp(&mut *tx, user_id, &totp).await?
            || !store::session::renew(&mut *tx, &session).await?
        {
            return Ok(None);
        }
        let recovery_codes = self.new_recovery_codes(&mut tx, user_id).await?;
        self.note_change(&mut tx, &mut user, Change::CodesOn, origin).await?;
        tx.commit().await?;
        self.nudges.mail.notify_one();
        Ok(Some(TurnedOn { session, recovery_codes }))
    }

    /// Turns the second step off, with its recovery codes. A second time changes nothing.
    ///
    /// # Errors
    /// The database.
    pub async fn turn_codes_off(&self, user_id: UserId, origin: Origin) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        if store::second_factor::delete_totp(&mut tx, user_id).await? {
            self.note_change(&mut tx, &mut user, Change::CodesOff, origin).await?;
        }
        tx.commit().await?;
        self.nudges.mail.notify_one();
        Ok(())
    }

    /// New recovery codes in the place of the old ones; nothing for a user without a second step.
    ///
    /// # Errors
    /// The database.
    pub async fn renew_recovery_codes(
        &self,
        user_id: UserId,
        origin: Origin,
    ) -> Result<Option<Vec<String>>, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        if store::second_factor::find_totp(&mut *tx, user_id).await?.is_none() {
            return Ok(None);
        }
        let codes = self.new_recovery_codes(&mut tx, user_id).await?;
        self.note_change(&mut tx, &mut user, Change::RecoveryCodesRenewed, origin).await?;
        tx.commit().await?;
        self.nudges.mail.notify_one();
        Ok(Some(codes))
    }

    async fn new_recovery_codes(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        user_id: UserId,
    ) -> Result<Vec<String>, Error> {
        let codes = recovery_code::generate()?;
        let hmacs: Vec<Vec<u8>> =
            codes.iter().filter_map(|code| recovery_code::hash(self.keys(), user_id, code)).collect();
        store::second_factor::replace_recovery_codes(tx, user_id, &hmacs).await?;
        Ok(codes)
    }

    fn open_secret(&self, user_id: UserId, totp: &Totp) -> Result<Secret, Error> {
        let bytes = sealed::open_to_stay(self.keys(), AT_REST, &user_id.to_string(), &totp.sealed_secret);
        bytes.and_then(|bytes| Secret::from_bytes(&bytes)).ok_or(Error::Seal(SealError))
    }
}
