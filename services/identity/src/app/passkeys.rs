//! Passkeys: signing in by one, and adding, naming and removing a user's own.

use domain::{UserId, Uuid};

use super::{App, Entering, Origin, SignIn};
use crate::{
    acr::Shown,
    ceremony::{self, Ceremony},
    change::Change,
    error::Error,
    passkey::{self, Passkey},
    store,
    throttle::Counted,
    user::{Status, User},
    webauthn::{self, Assertion, RelyingParty},
};

/// What an authenticator answered at sign-in.
#[derive(Debug, Clone)]
pub struct SignedChallenge {
    /// Which passkey signed.
    pub credential_id: Vec<u8>,
    /// Whose it is, by the authenticator's word.
    pub user_handle: Vec<u8>,
    /// clientDataJSON.
    pub client_data: Vec<u8>,
    /// authenticatorData.
    pub authenticator_data: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// What an authenticator answered when it made a passkey.
#[derive(Debug, Clone)]
pub struct MadePasskey {
    /// clientDataJSON.
    pub client_data: Vec<u8>,
    /// The attestation object.
    pub attestation: Vec<u8>,
    /// The user's name for it.
    pub name: String,
}

/// What adding a passkey leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It may be used from now on.
    Done,
    /// The answer is not to be believed, or was taken before.
    Wrong,
    /// The user has as many as one may have.
    TooMany,
}

/// What taking a way to sign in away leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// It is the user's last way in.
    LastWayIn,
}

impl App {
    /// A new challenge for this browser.
    ///
    /// # Errors
    /// No random bytes.
    pub fn ceremony(&self, user_id: Option<UserId>) -> Result<Ceremony, Error> {
        Ok(Ceremony::new(user_id, self.now())?)
    }

    /// The host that passkeys are bound to.
    pub fn relying_party(&self) -> RelyingParty<'_> {
        let origin = self.issuer();
        let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let id = host.rsplit_once(':').map_or(host, |(id, _)| id);
        RelyingParty { id, origin }
    }

    /// A challenge that this browser carried here for the same purpose.
    pub fn open_ceremony(&self, purpose: ceremony::Purpose, browser: Uuid, text: &str) -> Option<Ceremony> {
        Ceremony::open(self.keys(), purpose, browser, text, self.now())
    }

    /// Signs in the user of a passkey. Unknown passkeys, wrong answers and disabled users look alike.
    ///
    /// # Errors
    /// The database.
    pub async fn sign_in_by_passkey(
        &self,
        ceremony: &Ceremony,
        signed: &SignedChallenge,
        entering: Entering,
    ) -> Result<SignIn, Error> {
        let Entering { current, request, origin } = entering;
        // Asked for whom the answer names, before the transaction; whether it is that user is judged within it.
        let named = Uuid::from_slice(&signed.user_handle).map(UserId::from);
        let planned = match named {
            Ok(user_id) => self.plan_onward(user_id, current.as_ref(), Shown::Passkey, request).await,
            Err(_) => None,
        };
        let mut tx = chassis::begin(&self.db).await?;
        if let Some((user, passkey)) = self.judge_passkey(&mut tx, ceremony, signed).await? {
            store::passkey::save_use(&mut *tx, &passkey).await?;
            let entered = self.let_in(&mut tx, &user, current, Shown::Passkey, planned, origin).await?;
            tx.commit().await?;
            self.nudges.logout.notify_one();
            return Ok(SignIn::Done(Box::new(entered)));
        }
        tx.rollback().await?;
        // Nobody finds a key by trying: the network is counted, and nobody waits.
        self.keep_out(&[(Counted::Network, self.network_hash(origin))], origin).await?;
        Ok(SignIn::Wrong)
    }

    async fn judge_passkey(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        ceremony: &Ceremony,
        signed: &SignedChallenge,
    ) -> Result<Option<(User, Passkey)>, Error> {
        let Some(passkey) = store::passkey::load_for_update(tx, &signed.credential_id).await? else {
            return Ok(None);
        };
        let assertion = Assertion {
            client_data: &signed.client_data,
            authenticator_data: &signed.authenticator_data,
            signature: &signed.signature,
        };
        let judged = webauthn::sign_in(self.relying_party(), &ceremony.challenge, passkey.known(), assertion);
        let used = match judged {
            Ok(used) if signed.user_handle == passkey.user_id.0.as_bytes() => used,
            Ok(_) => return Ok(None),
            Err(reason) => {
                tracing::warn!(user_id = %passkey.user_id, %reason, "passkey refused");
                return Ok(None);
            }
        };
        if !store::passkey::spend(&mut **tx, ceremony.ceremony_id).await? {
            return Ok(None);
        }
        let user = store::user::load(&mut **tx, passkey.user_id).await?;
        let user = user.filter(|user| user.status == Status::Active);
        Ok(user.map(|user| (user, passkey.used(used, self.now()))))
    }

    /// The passkey that an authenticator made for this challenge; nothing when it is not to be believed.
    pub(super) fn read_made(&self, ceremony: &Ceremony, made: &MadePasskey) -> Option<Passkey> {
        let user_id: UserId = ceremony.user_id?.into();
        let (party, challenge) = (self.relying_party(), &ceremony.challenge);
        match webauthn::register(party, challenge, &made.client_data, &made.attestation) {
            Ok(registered) => Some(Passkey::new(registered, user_id, made.name.clone(), self.now())),
            Err(reason) => {
                tracing::warn!(%user_id, %reason, "new passkey refused");
                None
            }
        }
    }

    /// The user of a live session.
    ///
    /// # Errors
    /// No such user.
    pub async fn own_user(&self, user_id: UserId) -> Result<User, Error> {
        store::user::load(&self.db, user_id).await?.ok_or(Error::NotFound { what: "user" })
    }

    /// Passkeys of a user, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn list_passkeys(&self, user_id: UserId) -> Result<Vec<Passkey>, Error> {
        store::passkey::list(&self.db, user_id).await
    }

    /// Adds a passkey to its user.
    ///
    /// # Errors
    /// The database.
    pub async fn add_passkey(
        &self,
        ceremony: &Ceremony,
        made: &MadePasskey,
        origin: Origin,
    ) -> Result<Added, Error> {
        let Some(passkey) = self.read_made(ceremony, made) else { return Ok(Added::Wrong) };
        let mut tx = chassis::begin(&self.db).await?;
        let Some(mut user) = store::user::load_for_update(&mut tx, passkey.user_id).await? else {
            return Ok(Added::Wrong);
        };
        // The user's row is locked, so that nobody adds one beside.
        if store::passkey::list(&mut *tx, user.user_id).await?.len() >= passkey::MOST {
            return Ok(Added::TooMany);
        }
        let fresh = store::passkey::spend(&mut *tx, ceremony.ceremony_id).await?;
        if !fresh || !store::passkey::insert(&mut *tx, &passkey).await? {
            return Ok(Added::Wrong);
        }
        self.note_change(&mut tx, &mut user, Change::PasskeyAdded, origin).await?;
        tx.commit().await?;
        self.nudges.mail.notify_one();
        Ok(Added::Done)
    }

    /// Gives a user's own passkey another name.
    ///
    /// # Errors
    /// The user has no such passkey.
    pub async fn rename_passkey(
        &self,
        user_id: UserId,
        credential_id: &[u8],
        name: &str,
    ) -> Result<(), Error> {
        if store::passkey::rename(&self.db, user_id, credential_id, name).await? {
            Ok(())
        } else {
            Err(NO_PASSKEY)
        }
    }

    /// Removes a user's own passkey, unless nothing else lets the user in.
    ///
    /// # Errors
    /// The user has no such passkey.
    pub async fn remove_passkey(
        &self,
        user_id: UserId,
        credential_id: &[u8],
        origin: Origin,
    ) -> Result<Removed, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        if !store::passkey::delete(&mut *tx, user_id, credential_id).await? {
            return Err(NO_PASSKEY);
        }
        let has_password = store::user::load_password(&mut *tx, user_id).await?.is_some();
        if !has_password && store::passkey::list(&mut *tx, user_id).await?.is_empty() {
            return Ok(Removed::LastWayIn);
        }
        self.note_change(&mut tx, &mut user, Change::PasskeyRemoved, origin).await?;
        tx.commit().await?;
        self.nudges.mail.notify_one();
        Ok(Removed::Done)
    }
}

const NO_PASSKEY: Error = Error::NotFound { what: "passkey" };
