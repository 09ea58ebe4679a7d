//! Sign-up: an address, a mail that proves it, a password, a user. Known and unknown addresses get the same answer after
//! as many statements; what differs is the mail. The proof by mail serves recovery too.

use std::time::Duration;

use domain::{EmailAddress, Locale, Service, UserId, Uuid};
use tokio::time::{Instant, sleep_until};

use super::{App, Entered, Entering, MadePasskey, Origin};
use crate::{
    acr::Shown,
    authorization::Request,
    ceremony::Ceremony,
    challenge::{Challenge, CodeCheck, Purpose},
    error::Error,
    events,
    handle::{Handle, Kind, mail_code},
    hash_queue::Class,
    passkey::Passkey,
    password::Password,
    progress::{Progress, Step},
    store::{self, record::AuditRecord, user::StoredPassword},
    throttle::Counted,
    user::User,
};

/// Sooner than this nobody learns anything.
const SOONEST: Duration = Duration::from_millis(250);

/// Somebody asks for a proof of an address.
#[derive(Debug)]
pub struct NewChallenge {
    /// The address.
    pub address: EmailAddress,
    /// Language of the mail.
    pub locale: Locale,
    /// The authorization request that waits.
    pub request: Option<Request>,
    /// The browser that may go on with it.
    pub browser: Uuid,
}

/// What asking leads to.
#[derive(Debug)]
pub enum Asked {
    /// A mail goes out.
    Mailed(Uuid),
    /// Not now: too many mails to this address or from this network.
    Wait(Duration),
}

/// What six digits lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeAnswer {
    /// The address is proved.
    Right,
    /// They may be tried again.
    Wrong,
    /// These digits are over; a new mail brings new ones.
    Over,
}

/// A link that proves an address.
#[derive(Debug)]
pub struct OpenLink {
    /// The challenge behind it.
    pub challenge: Challenge,
    /// The request that waits, if this is its browser.
    pub request: Option<Request>,
}

/// What a password or a passkey for a proved address leads to.
#[derive(Debug)]
pub enum Completed {
    /// There is a user, who is in.
    Done(Box<Entered>),
    /// The passkey's answer is not to be believed.
    Wrong,
    /// The proof is too old, or a user came of it or of the same address.
    Over,
}

impl App {
    /// Asks for a proof of an address by mail, to sign up or to recover. Whether the address is known shows in the mail
    /// only.
    ///
    /// # Errors
    /// The database.
    pub async fn ask_for_proof(
        &self,
        purpose: Purpose,
        new: NewChallenge,
        origin: Origin,
    ) -> Result<Asked, Error> {
        let answer_at = Instant::now() + SOONEST;
        let asked = self.challenge(purpose, new, origin).await;
        sleep_until(answer_at).await;
        asked
    }

    async fn challenge(&self, asked: Purpose, new: NewChallenge, origin: Origin) -> Result<Asked, Error> {
        let counters = [
            (Counted::ChallengeAddress, Some(self.address_hash(&new.address.key()))),
            (Counted::ChallengeNetwork, self.network_hash(origin)),
        ];
        if let Some(wait) = self.wait(&counters).await? {
            return Ok(Asked::Wait(wait));
        }
        let known = store::user::find_by_address(&self.db, &new.address).await?;
        let purpose = asked.at_address(known.as_ref().map(|user| user.status));
        let client_id = new.request.as_ref().map(|request| request.client_id.clone()).unwrap_or_default();
        let mut challenge = Challenge::new(purpose, new.address, new.locale, client_id, self.now());
        if purpose == Purpose::Recover {
            challenge.user_id = known.map(|user| user.user_id);
        }
        let progress =
            Progress::of(new.request).seal(self.keys(), waiting(asked), new.browser, self.now())?;
        challenge.progress = Some(progress.into_bytes());
        let mut tx = chassis::begin(&self.db).await?;
        if let Some(wait) = self.count_unless_over(&mut tx, &counters).await? {
            return Ok(Asked::Wait(wait));
        }
        store::challenge::insert(&mut *tx, &challenge).await?;
        tx.commit().await?;
        self.nudges.mail.notify_one();
        tracing::info!(challenge_id = %challenge.challenge_id, "proof of an address asked for");
        Ok(Asked::Mailed(challenge.challenge_id))
    }

    /// A challenge, for the page that shows its address.
    ///
    /// # Errors
    /// The database.
    pub async fn find_challenge(&self, challenge_id: Uuid) -> Result<Option<Challenge>, Error> {
        store::challenge::load(&self.db, challenge_id).await
    }

    /// Judges six digits. The count comes first, under the row's lock, so that guesses side by side all count.
    ///
    /// # Errors
    /// The database.
    pub async fn check_code(&self, challenge_id: Uuid, digits: &str) -> Result<CodeAnswer, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        store::challenge::count_failure(&mut *tx, challenge_id).await?;
        let Some(mut challenge) = store::challenge::load(&mut *tx, challenge_id).await? else {
            return Ok(CodeAnswer::Over);
        };
        challenge.failures = challenge.failures.saturating_sub(1);
        // Only a wrong try stays counted: the others roll back.
        match challenge.check_code(&mail_code(self.keys(), challenge_id), digits, self.now()) {
            CodeCheck::Right => Ok(CodeAnswer::Right),
            CodeCheck::Over => Ok(CodeAnswer::Over),
            CodeCheck::Wrong => {
                tx.commit().await?;
                Ok(CodeAnswer::Wrong)
            }
        }
    }

    /// What a mail's link leads to, without consuming it: scanners follow links. Nothing when it is forged or over.
    ///
    /// # Errors
    /// The database.
    pub async fn find_link(
        &self,
        purpose: Purpose,
        link: &str,
        browser: Uuid,
    ) -> Result<Option<OpenLink>, Error> {
        let Some(handle) = Handle::read(self.keys(), Kind::MailLink, link) else { return Ok(None) };
        let Some(challenge) = store::challenge::load(&self.db, handle.id).await? else { return Ok(None) };
        if !challenge.is_open(purpose, self.now()) {
            return Ok(None);
        }
        let sealed = challenge.progress.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let progress =
            sealed.and_then(|text| Progress::open(self.keys(), waiting(purpose), browser, text, self.now()));
        Ok(Some(OpenLink { request: progress.and_then(|progress| progress.request), challenge }))
    }

    /// Makes a user of a proved address and a password, and signs the user in.
    ///
    /// # Errors
    /// A full hash lane; the database.
    pub async fn complete_sign_up(
        &self,
        challenge: &Challenge,
        password: Password,
        entering: Entering,
    ) -> Result<Completed, Error> {
        if !challenge.is_open(Purpose::SignUp, self.now()) {
            return Ok(Completed::Over);
        }
        let pepper_id = self.keys().pepper_id();
        let phc = self.lane.hash(Class::Normal, password, self.pepper(&pepper_id)?).await?;
        let first = FirstCredential::Password(StoredPassword { phc, pepper_id });
        self.enrol(challenge, first, entering).await
    }

    /// Makes a user of a proved address and a passkey, and signs the user in: the authenticator has just verified who
    /// it is.
    ///
    /// # Errors
    /// The database.
    pub async fn complete_sign_up_by_passkey(
        &self,
        challenge: &Challenge,
        ceremony: &Ceremony,
        made: &MadePasskey,
        entering: Entering,
    ) -> Result<Completed, Error> {
        if !challenge.is_open(Purpose::SignUp, self.now()) {
            return Ok(Completed::Over);
        }
        match self.read_made(ceremony, made) {
            Some(passkey) => self.enrol(challenge, FirstCredential::Passkey(passkey), entering).await,
            None => Ok(Completed::Wrong),
        }
    }

    async fn enrol(
        &self,
        challenge: &Challenge,
        first: FirstCredential,
        entering: Entering,
    ) -> Result<Completed, Error> {
        let now = self.now();
        let (user_id, shown) = match &first {
            FirstCredential::Password(_) => (UserId::new(), Shown::Password),
            FirstCredential::Passkey(passkey) => (passkey.user_id, Shown::Passkey),
        };
        let (address, client_id) = (challenge.address.clone(), challenge.client_id.clone());
        let (user, event) = User::register(user_id, address, challenge.locale, client_id, now);
        let Entering { current, request, origin } = entering;
        let planned = self.plan_onward(user_id, current.as_ref(), shown, request).await;
        let mut tx = chassis::begin(&self.db).await?;
        let consumed = store::challenge::consume(&mut tx, challenge.challenge_id, now).await?;
        if !consumed || !store::user::insert(&mut tx, &user).await? {
            return Ok(Completed::Over);
        }
        match &first {
            FirstCredential::Password(password) => {
                store::recovery::save_password(&mut tx, user_id, password, now).await?;
            }
            FirstCredential::Passkey(passkey) => {
                if !store::passkey::insert(&mut *tx, passkey).await? {
                    return Ok(Completed::Wrong);
                }
            }
        }
        if let Some(key) = store::user::address_key(&user.email) {
            store::staff::apply_nominations(&mut tx, &key, now).await?;
        }
        let session = self.renew_or_start(&mut tx, &user, current, shown).await?;
        let onward = self.take_up(&mut tx, planned, &session).await?;
        outbox::append(&mut tx, Service::Identity, &events::user_changed(&user, event, now)).await?;
        outbox::append(&mut tx, Service::Identity, &events::user_seen(user.user_id, now)).await?;
        let record = AuditRecord {
            client_id: user.client_id.clone(),
            ..self.by_user(user.user_id, "sign_up", origin)
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        self.nudges.logout.notify_one();
        tracing::info!(user_id = %user.user_id, session_id = %session.session_id, "user registered");
        Ok(Completed::Done(Box::new(Entered { session, onward })))
    }
}

// By what a new user will sign in.
enum FirstCredential {
    Password(StoredPassword),
    Passkey(Passkey),
}

// The page that waits for the mail, and goes on with the request that waits meanwhile.
const fn waiting(purpose: Purpose) -> Step {
    match purpose {
        Purpose::Recover => Step::Recover,
        _ => Step::Verify,
    }
}
