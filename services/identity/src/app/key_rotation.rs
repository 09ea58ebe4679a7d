//! The shell around `rotation::plan`, and the change of key encryption keys. Whoever finds something due takes the lock of
//! keys, looks again and does it; every instance reads the outcome within a second. A key is known everywhere before it
//! is used, so that no two instances disagree.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use chassis::Shutdown;
use domain::{DateTime, Utc};
use sqlx::PgTransaction;
use zeroize::Zeroizing;

use super::{
    App,
    keys::{Held, SECRET_PURPOSE, SIGNING_PURPOSE, open_row, secret_context},
};
use crate::{
    error::Error,
    jws::{Algorithm, SigningKey},
    keyring::{self, Master},
    rotation::{self, HANDLES, Planned, SIGNING, State, Step},
    sealed::{self, SealError},
    store::{
        secret_key::{self, Purpose, StoredSecret},
        signing_key::{self, StoredKey},
    },
};

const EVERY: Duration = Duration::from_secs(1);

impl App {
    /// Keeps keys as they must be, until the process ends.
    pub async fn run_keys(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.soft() => return,
            }
            if let Err(error) = self.refresh_keys().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "keys stay as they are");
            }
        }
    }

    /// Reads the KEK file and the keys of the database, and changes what is due. The first time it makes the first keys;
    /// of two instances that start at once, the second one reads what the first one made.
    ///
    /// # Errors
    /// The database; the first time, a key that no line of the KEK file opens.
    pub async fn refresh_keys(&self) -> Result<(), Error> {
        // One at a time in this process.
        let mut held = self.held.lock().await;
        self.reread_keks(&mut held);
        let (mut signing, mut secrets) = self.key_rows().await?;
        let asked = signing_key::asked_by_clients(&self.db).await?;
        let now = self.now();
        if self.is_due(&held, &signing, &secrets, &asked, now) {
            self.turn_keys(&held, &asked, now).await?;
            (signing, secrets) = self.key_rows().await?;
        }
        self.install(&mut held, signing, secrets)
    }

    async fn key_rows(&self) -> Result<(Vec<StoredKey>, Vec<StoredSecret>), Error> {
        Ok((signing_key::list(&self.db).await?, secret_key::list(&self.db).await?))
    }

    // A file that cannot be used leaves the lines that were read last.
    fn reread_keks(&self, held: &mut Held) {
        let text = Zeroizing::new(self.settings.kek.expose());
        if *text == held.kek_text {
            return;
        }
        match keyring::parse(&text) {
            Ok(keks) => {
                let lines: Vec<&str> = keks.iter().map(|kek| kek.label()).collect();
                tracing::info!(active = lines[0], lines = lines.len(), "key encryption keys read");
                held.keks = keks;
                held.is_looked_at = false;
            }
            Err(error) => tracing::error!(%error, "the KEK file cannot be used, its former lines stay"),
        }
        held.kek_text.clone_from(&text);
    }

    fn is_due(
        &self,
        held: &Held,
        signing: &[StoredKey],
        secrets: &[StoredSecret],
        asked: &[Algorithm],
        now: DateTime<Utc>,
    ) -> bool {
        let Some(kek) = held.keks.first() else { return true };
        let old = |sealed: &[u8]| {
            let line = sealed::master_of(sealed);
            line != Some(kek.id()) && held.keks.iter().any(|known| Some(known.id()) == line)
        };
        secrets.is_empty()
            || !rotation::plan(&HANDLES, &handles(secrets), now).is_empty()
            || algorithms(signing, asked)
                .iter()
                .any(|algorithm| !rotation::plan(&SIGNING, &of(signing, *algorithm), now).is_empty())
            || signing.iter().any(|row| old(&row.sealed_private))
            || secrets.iter().any(|row| old(&row.sealed))
    }

    async fn turn_keys(&self, held: &Held, asked: &[Algorithm], now: DateTime<Utc>) -> Result<(), Error> {
        let mut rings = (*self.keys().rings()).clone();
        rings.keks.clone_from(&held.keks);
        self.keys().replace(rings);
        let mut tx = chassis::begin(&self.db).await?;
        secret_key::lock_keys(&mut tx).await?;
        let signing = signing_key::list(&mut *tx).await?;
        let secrets = secret_key::list(&mut *tx).await?;
        if secrets.is_empty() {
            self.make_secrets(&mut tx, held, signing.is_empty(), now).await?;
        } else {
            for step in rotation::plan(&HANDLES, &handles(&secrets), now) {
                self.turn_handle(&mut tx, step, now).await?;
            }
        }
        for algorithm in algorithms(&signing, asked) {
            for step in rotation::plan(&SIGNING, &of(&signing, algorithm), now) {
                self.turn_signing(&mut tx, algorithm, step, now).await?;
            }
        }
        let rewrapped = self.rewrap(&mut tx, &signing, &secrets).await?;
        tx.commit().await?;
        if rewrapped > 0 {
            tracing::info!(kek = self.keys().kek().label(), rows = rewrapped, "keys are sealed anew");
        }
        Ok(())
    }

    // A new database gets random secrets. One of an older version goes on with the lines of its KEK file, which were the
    // secrets themselves: its cookies, subjects and passwords stay good.
    async fn make_secrets(
        &self,
        tx: &mut PgTransaction<'_>,
        held: &Held,
        is_new: bool,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let drawn;
        let (lines, root): (&[Arc<Master>], _) = if is_new {
            drawn = [Arc::new(draw()?)];
            (&drawn, Arc::new(draw()?))
        } else {
            (&held.keks, held.keks.last().cloned().ok_or(Error::NotReady)?)
        };
        secret_key::insert(&mut **tx, &self.secret_row(Purpose::Root, &root, State::Active, now)?).await?;
        for (at, line) in lines.iter().enumerate() {
            let state = if at == 0 { State::Active } else { State::Retired };
            for purpose in [Purpose::Handle, Purpose::Pepper] {
                // Never the same secret for two purposes, but where it was so.
                let secret =
                    if is_new && purpose == Purpose::Pepper { Arc::new(draw()?) } else { line.clone() };
                secret_key::insert(&mut **tx, &self.secret_row(purpose, &secret, state, now)?).await?;
            }
        }
        Ok(())
    }

    fn secret_row(
        &self,
        purpose: Purpose,
        secret: &Master,
        state: State,
        now: DateTime<Utc>,
    ) -> Result<StoredSecret, Error> {
        let kek = self.keys().kek();
        let mut row = StoredSecret {
            purpose,
            key_id: secret.label().to_owned(),
            sealed: Vec::new(),
            kek_id: kek.label().to_owned(),
            state,
            created_at: now,
            activated_at: (state != State::Staged).then_some(now),
            retired_at: (state == State::Retired).then_some(now),
        };
        let context = secret_context(&row);
        row.sealed = sealed::seal(self.keys(), SECRET_PURPOSE, &context, secret.secret().as_slice())?;
        Ok(row)
    }

    async fn turn_handle(
        &self,
        tx: &mut PgTransaction<'_>,
        step: Step,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        match step {
            Step::Create(state) => {
                let row = self.secret_row(Purpose::Handle, &draw()?, state, now)?;
                secret_key::insert(&mut **tx, &row).await?;
                tracing::info!(key_id = row.key_id, state = state.name(), "key of handles made");
            }
            Step::Promote(key_id) => {
                secret_key::promote(tx, &key_id, now).await?;
                tracing::info!(key_id, "key of handles is active");
            }
            Step::Delete(key_id) => {
                secret_key::delete(&mut **tx, &key_id).await?;
                tracing::info!(key_id, "key of handles deleted");
            }
        }
        Ok(())
    }

    async fn turn_signing(
        &self,
        tx: &mut PgTransaction<'_>,
        algorithm: Algorithm,
        step: Step,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        match step {
            Step::Create(state) => drop(self.make_signing_key(tx, algorithm, state, now).await?),
            Step::Promote(kid) => {
                signing_key::promote(tx, &kid, now).await?;
                tracing::info!(kid, alg = algorithm.name(), "signing key is active");
            }
            Step::Delete(kid) => {
                signing_key::delete(&mut **tx, &kid).await?;
                tracing::info!(kid, alg = algorithm.name(), "signing key deleted");
            }
        }
        Ok(())
    }

    /// Makes a key, under the lock of keys.
    pub(super) async fn make_signing_key(
        &self,
        tx: &mut PgTransaction<'_>,
        algorithm: Algorithm,
        state: State,
        now: DateTime<Utc>,
    ) -> Result<StoredKey, Error> {
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        // Only a torn down runtime loses it.
        let pkcs8 = made.map_err(|_| Error::NotReady)??;
        let key = SigningKey::from_pkcs8(algorithm, &pkcs8)?;
        let row = StoredKey {
            kid: key.kid().to_owned(),
            algorithm,
            public_jwk: key.public_jwk()?,
            sealed_private: sealed::seal(self.keys(), SIGNING_PURPOSE, key.kid(), &pkcs8)?,
            kek_id: Some(self.keys().kek().label().to_owned()),
            state,
            created_at: now,
            activated_at: (state == State::Active).then_some(now),
            retired_at: None,
        };
        signing_key::insert(&mut **tx, &row).await?;
        tracing::info!(kid = row.kid, alg = algorithm.name(), state = state.name(), "signing key made");
        Ok(row)
    }

    // Rows under a line that is not the first any more; those of a line that is gone are left to whoever has it.
    async fn rewrap(
        &self,
        tx: &mut PgTransaction<'_>,
        signing: &[StoredKey],
        secrets: &[StoredSecret],
    ) -> Result<u64, Error> {
        let (keys, kek) = (self.keys(), self.keys().kek());
        let mut done = 0;
        for row in signing.iter().filter(|row| sealed::master_of(&row.sealed_private) != Some(kek.id())) {
            let name = (row.kid.as_str(), row.kek_id.as_deref());
            let Ok(plain) = open_row(keys, SIGNING_PURPOSE, name, &row.sealed_private) else { continue };
            let anew = sealed::seal(keys, SIGNING_PURPOSE, &row.kid, &plain)?;
            done += u64::from(signing_key::reseal(&mut **tx, row, &anew, kek.label()).await?);
        }
        for row in secrets.iter().filter(|row| sealed::master_of(&row.sealed) != Some(kek.id())) {
            let context = secret_context(row);
            let name = (context.as_str(), Some(row.kek_id.as_str()));
            let Ok(plain) = open_row(keys, SECRET_PURPOSE, name, &row.sealed) else { continue };
            let anew = sealed::seal(keys, SECRET_PURPOSE, &context, &plain)?;
            done += u64::from(secret_key::reseal(&mut **tx, row, &anew, kek.label()).await?);
        }
        Ok(done)
    }
}

fn handles(secrets: &[StoredSecret]) -> Vec<Planned> {
    secrets.iter().filter(|row| row.purpose == Purpose::Handle).map(StoredSecret::planned).collect()
}

fn of(signing: &[StoredKey], algorithm: Algorithm) -> Vec<Planned> {
    signing.iter().filter(|row| row.algorithm == algorithm).map(StoredKey::planned).collect()
}

// ES256 for everybody; RSA once a client asks for it, and from then on.
fn algorithms(signing: &[StoredKey], asked: &[Algorithm]) -> Vec<Algorithm> {
    let needed = |algorithm: &Algorithm| {
        *algorithm == Algorithm::Es256
            || asked.contains(algorithm)
            || signing.iter().any(|row| row.algorithm == *algorithm)
    };
    Algorithm::ALL.into_iter().filter(needed).collect()
}

// A random secret under a random name.
fn draw() -> Result<Master, Error> {
    let mut secret = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(secret.as_mut_slice()).map_err(|_| SealError)?;
    let name = domain::new_id().simple().to_string();
    Master::new(&name, secret.as_slice()).ok_or_else(|| SealError.into())
}
