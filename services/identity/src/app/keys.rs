use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, PoisonError},
};

use domain::Uuid;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::App;
use crate::{
    error::Error,
    jws::{self, Algorithm, SigningKey},
    keyring::{Keyring, Master, Rings},
    rotation::State,
    sealed,
    store::{
        secret_key::{Purpose, StoredSecret},
        signing_key::StoredKey,
    },
};

/// Keys in memory: one of each algorithm signs, all verify.
#[derive(Clone)]
pub struct SigningKeys {
    keys: Arc<[SigningKey]>,
    active: Arc<[SigningKey]>,
    published: Arc<Value>,
}

impl SigningKeys {
    fn active(&self, algorithm: Algorithm) -> Option<&SigningKey> {
        self.active.iter().find(|key| key.algorithm() == algorithm)
    }
}

/// What was read last, and what was opened of it: a key that is in memory is never opened again.
#[derive(Default)]
pub struct Held {
    pub(super) kek_text: String,
    pub(super) keks: Vec<Arc<Master>>,
    // Whether the rows were looked at with these lines: what could not be opened may be now.
    pub(super) is_looked_at: bool,
    rows: Option<(Vec<StoredKey>, Vec<StoredSecret>)>,
    signing: HashMap<String, SigningKey>,
    secrets: HashMap<(&'static str, String), Arc<Master>>,
}

/// Of a private key at rest.
pub(super) const SIGNING_PURPOSE: &str = "signing key";
/// Of another secret at rest.
pub(super) const SECRET_PURPOSE: &str = "secret key";

impl App {
    /// The JWK set (RFC 7517 5): staged and retired keys too.
    ///
    /// # Errors
    /// Not loaded yet.
    pub fn published_keys(&self) -> Result<Arc<Value>, Error> {
        Ok(self.signing_keys()?.published)
    }

    pub(super) fn sign(&self, typ: &str, claims: &Value) -> Result<String, Error> {
        self.sign_as(Algorithm::Es256, typ, claims)
    }

    // A key of an algorithm other than ES256 may have to be made first: see `need_key`.
    pub(super) fn sign_as(&self, algorithm: Algorithm, typ: &str, claims: &Value) -> Result<String, Error> {
        let keys = self.signing_keys()?;
        let active = keys.active(algorithm).ok_or(Error::NotReady)?;
        Ok(active.sign(typ, claims)?)
    }

    /// Sees to a key of this algorithm: a client that registered a moment ago may be the first to need one.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn need_key(&self, algorithm: Algorithm) -> Result<(), Error> {
        if self.signing_keys()?.active(algorithm).is_some() {
            return Ok(());
        }
        self.refresh_keys().await
    }

    // Claims of one of our own tokens; whether its time is over is the caller's question.
    pub(super) fn read_token<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Result<Option<T>, Error> {
        let keys = self.signing_keys()?;
        let Some(kid) = jws::kid(token) else { return Ok(None) };
        let key = keys.keys.iter().find(|key| key.kid() == kid);
        Ok(key.and_then(|key| key.read(typ, token)))
    }

    fn signing_keys(&self) -> Result<SigningKeys, Error> {
        let keys = self.signing.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone().ok_or(Error::NotReady)
    }

    pub(super) fn pepper(&self, pepper_id: &str) -> Result<Vec<u8>, Error> {
        let pepper = self.keys().pepper(pepper_id).ok_or(Error::Stored { what: "pepper" })?;
        Ok(pepper.to_vec())
    }

    /// Takes rows into use. A row that cannot be opened stops a start; later it is passed over, since what is in memory
    /// goes on.
    pub(super) fn install(
        &self,
        held: &mut Held,
        signing: Vec<StoredKey>,
        secrets: Vec<StoredSecret>,
    ) -> Result<(), Error> {
        let ring = with_keks(self.keys(), &held.keks);
        let same = held.rows.as_ref().is_some_and(|(old, others)| *old == signing && *others == secrets);
        if same && held.is_looked_at {
            self.keys().replace(ring);
            return Ok(());
        }
        let starting = held.rows.is_none();
        self.keys().replace(ring);
        let mut failed = None;
        for row in &secrets {
            let place = (row.purpose.name(), row.key_id.clone());
            if let Entry::Vacant(place) = held.secrets.entry(place) {
                match open_secret(self.keys(), row) {
                    Ok(master) => drop(place.insert(Arc::new(master))),
                    Err(error) => failed = Some(error),
                }
            }
        }
        for row in &signing {
            if let Entry::Vacant(place) = held.signing.entry(row.kid.clone()) {
                match open_signing(self.keys(), row) {
                    Ok(key) => drop(place.insert(key)),
                    Err(error) => failed = Some(error),
                }
            }
        }
        if let Some(error) = failed {
            if starting {
                return Err(error);
            }
            tracing::error!(error = &error as &dyn std::error::Error, "a key cannot be opened");
        }
        held.forget(&signing, &secrets);
        self.keys().replace(held.rings(&secrets, &self.keys().rings()));
        let loaded = held.signing_keys(&signing);
        tracing::info!(signing = signing.len(), secrets = secrets.len(), "keys loaded");
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        held.rows = Some((signing, secrets));
        held.is_looked_at = true;
        Ok(())
    }
}

impl Held {
    // The rows' order holds: the active ones come first.
    fn rings(&self, rows: &[StoredSecret], before: &Rings) -> Rings {
        let of = |purpose: Purpose| -> Vec<Arc<Master>> {
            let rows = rows.iter().filter(|row| row.purpose == purpose);
            rows.filter_map(|row| self.secrets.get(&(purpose.name(), row.key_id.clone())).cloned()).collect()
        };
        let or = |found: Vec<Arc<Master>>, before: &Vec<Arc<Master>>| {
            if found.is_empty() { before.clone() } else { found }
        };
        Rings {
            keks: before.keks.clone(),
            handles: or(of(Purpose::Handle), &before.handles),
            peppers: or(of(Purpose::Pepper), &before.peppers),
            root: of(Purpose::Root).into_iter().next().unwrap_or_else(|| before.root.clone()),
        }
    }

    fn signing_keys(&self, rows: &[StoredKey]) -> SigningKeys {
        let of = |rows: &mut dyn Iterator<Item = &StoredKey>| -> Arc<[SigningKey]> {
            rows.filter_map(|row| self.signing.get(&row.kid).cloned()).collect()
        };
        let published: Vec<&Value> = rows.iter().map(|row| &row.public_jwk).collect();
        SigningKeys {
            keys: of(&mut rows.iter()),
            active: of(&mut rows.iter().filter(|row| row.state == State::Active)),
            published: Arc::new(json!({ "keys": published })),
        }
    }

    fn forget(&mut self, signing: &[StoredKey], secrets: &[StoredSecret]) {
        self.signing.retain(|kid, _| signing.iter().any(|row| row.kid == *kid));
        self.secrets.retain(|(purpose, key_id), _| {
            secrets.iter().any(|row| row.purpose.name() == *purpose && row.key_id == *key_id)
        });
    }
}

fn with_keks(keys: &Keyring, keks: &[Arc<Master>]) -> Rings {
    let mut rings = (*keys.rings()).clone();
    if !keks.is_empty() {
        rings.keks = keks.to_vec();
    }
    rings
}

/// What stands in a row, opened.
pub(super) fn open_row(
    keys: &Keyring,
    purpose: &'static str,
    (name, kek_id): (&str, Option<&str>),
    sealed: &[u8],
) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
    let line = sealed::master_of(sealed).ok_or(Error::Stored { what: purpose })?;
    if keys.kek_by_id(line).is_none() {
        // An older version wrote no name beside the seal.
        let line = kek_id.map_or_else(|| format!("of short id {}", u32::from_be_bytes(line)), str::to_owned);
        return Err(Error::MissingKek { what: format!("{purpose} {name}"), line });
    }
    let plain = sealed::open(keys, purpose, name, sealed).ok_or(Error::Stored { what: purpose })?;
    Ok(zeroize::Zeroizing::new(plain))
}

fn open_signing(keys: &Keyring, row: &StoredKey) -> Result<SigningKey, Error> {
    let pkcs8 = open_row(keys, SIGNING_PURPOSE, (&row.kid, row.kek_id.as_deref()), &row.sealed_private)?;
    let key = SigningKey::from_pkcs8(row.algorithm, &pkcs8)?;
    // The row's name and its sealed content belong together, or somebody moved one of them.
    if key.kid() != row.kid {
        return Err(Error::Stored { what: SIGNING_PURPOSE });
    }
    Ok(key)
}

fn open_secret(keys: &Keyring, row: &StoredSecret) -> Result<Master, Error> {
    let name = secret_context(row);
    let secret = open_row(keys, SECRET_PURPOSE, (&name, Some(&row.kek_id)), &row.sealed)?;
    Master::new(&row.key_id, &secret).ok_or(Error::Stored { what: SECRET_PURPOSE })
}

/// To what the seal of a secret is bound.
pub(super) fn secret_context(row: &StoredSecret) -> String {
    format!("{} {}", row.purpose.name(), row.key_id)
}

/// The family inside a token's `jti`: `<family>.<random>`.
pub fn family_of(jti: &str) -> Option<Uuid> {
    let (family, _) = jti.split_once('.')?;
    Uuid::try_parse(family).ok()
}
