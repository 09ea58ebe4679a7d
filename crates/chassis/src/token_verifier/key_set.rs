use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;

use crate::{Denied, StartError, read_bounded};

/// Keys are fetched anew so often.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// While the issuer is away its keys serve for so long.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two fetches, so that made-up key ids do not become requests to the issuer.
const PAUSE: Duration = Duration::from_secs(30);
/// The same while there are no keys at all: the issuer may just be starting.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(1);
const LARGEST_SET: usize = 64 * 1024;

/// A key of the issuer, and what it is for.
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) algorithms: &'static [Algorithm],
}

/// The keys that the issuer publishes (RFC 7517 5).
pub(super) struct KeySet {
    url: String,
    http: reqwest::Client,
    fetched: RwLock<Fetched>,
    // Whoever holds it fetches; the others wait for what comes of it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Fetched {
    keys: HashMap<String, Arc<Key>>,
    at: Option<Instant>,
    tried_at: Option<Instant>,
    failure: Option<String>,
}

enum Plan {
    Use(Arc<Key>),
    UseAndRefresh(Arc<Key>),
    Fetch,
    Refuse(Denied),
}

impl KeySet {
    pub(super) fn new(url: String, http: reqwest::Client) -> Self {
        Self { url, http, fetched: RwLock::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key of this id; fetches when it must.
    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Result<Arc<Key>, Denied> {
        match self.plan(kid) {
            Plan::Use(key) => return Ok(key),
            Plan::Refuse(denied) => return Err(denied),
            Plan::UseAndRefresh(key) => {
                let set = Arc::clone(self);
                tokio::spawn(async move {
                    if let Ok(_alone) = set.fetching.try_lock() {
                        set.fetch().await;
                    }
                });
                return Ok(key);
            }
            Plan::Fetch => {}
        }
        let _alone = self.fetching.lock().await;
        if matches!(self.plan(kid), Plan::Fetch) {
            self.fetch().await;
        }
        match self.plan(kid) {
            Plan::Use(key) | Plan::UseAndRefresh(key) => Ok(key),
            Plan::Refuse(denied) => Err(denied),
            Plan::Fetch => Err(Denied::UnknownKey),
        }
    }

    /// That there are keys to check with.
    pub(super) async fn ready(&self) -> Result<(), Denied> {
        if self.usable() {
            return Ok(());
        }
        let _alone = self.fetching.lock().await;
        if !self.usable() && self.read().has_rested(Instant::now(), PAUSE_WITHOUT_KEYS) {
            self.fetch().await;
        }
        if self.usable() { Ok(()) } else { Err(self.read().no_keys()) }
    }

    fn usable(&self) -> bool {
        self.read().is_usable(Instant::now())
    }

    fn plan(&self, kid: &str) -> Plan {
        self.read().plan(kid, Instant::now())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Fetched> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) {
        let outcome = self.download().await;
        let now = Instant::now();
        let mut fetched = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
        fetched.tried_at = Some(now);
        match outcome {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the issuer's keys");
                fetched.keys = keys;
                fetched.at = Some(now);
                fetched.failure = None;
            }
            Err(error) => {
                let error = crate::code::chain(&*error);
                tracing::warn!(url = self.url, error, "the issuer's keys cannot be fetched");
                fetched.failure = Some(error);
            }
        }
    }

    async fn download(&self) -> Result<HashMap<String, Arc<Key>>, StartError> {
        let answer = self.http.get(&self.url).send().await?.error_for_status()?;
        let keys = parse(&read_bounded(answer, LARGEST_SET).await?)?;
        if keys.is_empty() {
            return Err("no key of the set can be used".into());
        }
        Ok(keys)
    }
}

impl Fetched {
    fn plan(&self, kid: &str, now: Instant) -> Plan {
        if !self.is_usable(now) {
            let rested = self.has_rested(now, PAUSE_WITHOUT_KEYS);
            return if rested { Plan::Fetch } else { Plan::Refuse(self.no_keys()) };
        }
        let rested = self.has_rested(now, PAUSE);
        let fresh = self.at.is_some_and(|at| now.duration_since(at) < FRESH);
        match self.keys.get(kid) {
            Some(key) if fresh || !rested => Plan::Use(Arc::clone(key)),
            Some(key) => Plan::UseAndRefresh(Arc::clone(key)),
            None if rested => Plan::Fetch,
            None => Plan::Refuse(Denied::UnknownKey),
        }
    }

    fn is_usable(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.duration_since(at) < OLDEST)
    }

    fn has_rested(&self, now: Instant, pause: Duration) -> bool {
        self.tried_at.is_none_or(|at| now.duration_since(at) >= pause)
    }

    fn no_keys(&self) -> Denied {
        Denied::NoKeys(self.failure.clone().unwrap_or_else(|| "nobody fetched them yet".to_owned()))
    }
}

fn parse(body: &[u8]) -> Result<HashMap<String, Arc<Key>>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }

    let set: Set = serde_json::from_slice(body)?;
    // A key that is not for us, or not known to us, does not spoil the others (RFC 7517 5).
    Ok(set.keys.into_iter().filter_map(usable_key).collect())
}

fn usable_key(value: serde_json::Value) -> Option<(String, Arc<Key>)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithms = algorithms(&jwk)?;
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id?, Arc::new(Key { decoding, algorithms })))
}

// Asymmetric ones only: with an HMAC whoever can check can sign.
fn algorithms(jwk: &Jwk) -> Option<&'static [Algorithm]> {
    match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::EllipticCurve(ec), None | Some(KeyAlgorithm::ES256))
            if ec.curve == EllipticCurve::P256 =>
        {
            Some(&[Algorithm::ES256])
        }
        (AlgorithmParameters::OctetKeyPair(okp), None | Some(KeyAlgorithm::EdDSA))
            if okp.curve == EllipticCurve::Ed25519 =>
        {
            Some(&[Algorithm::EdDSA])
        }
        (AlgorithmParameters::RSA(_), None) => Some(&[Algorithm::PS256, Algorithm::RS256]),
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::PS256)) => Some(&[Algorithm::PS256]),
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS256)) => Some(&[Algorithm::RS256]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::{Value, json};

    use super::{super::test_issuer::TestIssuer, *};

    fn key() -> Arc<Key> {
        Arc::new(Key { decoding: DecodingKey::from_ec_der(&[4; 65]), algorithms: &[Algorithm::ES256] })
    }

    fn name(plan: &Plan) -> &'static str {
        match plan {
            Plan::Use(_) => "use",
            Plan::UseAndRefresh(_) => "use and refresh",
            Plan::Fetch => "fetch",
            Plan::Refuse(Denied::UnknownKey) => "unknown",
            Plan::Refuse(_) => "no keys",
        }
    }

    #[test]
    fn keys_are_fetched_when_they_must_and_not_more_often() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let day = 24 * 60 * 60;
        let table = [
            // (fetched, last tried, asked, known, plan)
            (None, None, 0, false, "fetch"),
            (None, Some(0), 0, false, "no keys"),
            (None, Some(0), 1, false, "fetch"),
            (Some(0), Some(0), 599, true, "use"),
            (Some(0), Some(0), 600, true, "use and refresh"),
            (Some(0), Some(590), 600, true, "use"),
            (Some(0), Some(0), 29, false, "unknown"),
            (Some(0), Some(0), 30, false, "fetch"),
            (Some(0), Some(day - 31), day - 1, true, "use and refresh"),
            (Some(0), Some(day - 31), day, true, "fetch"),
            (Some(0), Some(day), day, true, "no keys"),
        ];
        for (at, tried_at, asked, known, plan) in table {
            let mut fetched =
                Fetched { at: at.map(after), tried_at: tried_at.map(after), ..Fetched::default() };
            if known {
                fetched.keys.insert("a".to_owned(), key());
            }
            assert_eq!(name(&fetched.plan("a", after(asked))), plan, "{at:?} {tried_at:?} {asked} {known}");
        }
    }

    #[test]
    fn a_key_is_bound_to_the_algorithms_of_its_kind() {
        let point = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let ec = |extra: Value| {
            let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": "a"});
            jwk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            jwk
        };
        let rsa = |alg: &str| json!({"kty": "RSA", "n": point, "e": "AQAB", "kid": "a", "alg": alg});
        let table: [(Value, Option<&[Algorithm]>); 11] = [
            (ec(json!({})), Some(&[Algorithm::ES256])),
            (ec(json!({"alg": "ES256", "use": "sig"})), Some(&[Algorithm::ES256])),
            (ec(json!({"alg": "HS256"})), None),
            (ec(json!({"use": "enc"})), None),
            (ec(json!({"crv": "P-384"})), None),
            (ec(json!({"kid": null})), None),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": point, "kid": "a"}), Some(&[Algorithm::EdDSA])),
            (rsa("RS256"), Some(&[Algorithm::RS256])),
            (rsa("PS256"), Some(&[Algorithm::PS256])),
            (rsa("RSA-OAEP"), None),
            (json!({"kty": "oct", "k": point, "kid": "a", "alg": "HS256"}), None),
        ];
        for (jwk, algorithms) in table {
            let keys =
                parse(json!({"keys": [jwk, {"kty": "from the future"}]}).to_string().as_bytes()).unwrap();
            assert_eq!(keys.get("a").map(|key| key.algorithms), algorithms, "{jwk}");
        }
    }

    #[tokio::test]
    async fn many_callers_make_one_fetch() {
        let issuer = TestIssuer::start().await;
        let set = Arc::new(KeySet::new(issuer.jwks_url(), reqwest::Client::new()));
        let finds = (0..20).map(|_| set.find(&issuer.kid));
        for found in futures::future::join_all(finds).await {
            assert!(found.is_ok());
        }
        assert_eq!(set.find("another").await.err(), Some(Denied::UnknownKey));
        assert_eq!(issuer.fetches.load(Ordering::SeqCst), 1);
        assert_eq!(set.ready().await, Ok(()));
    }

    #[tokio::test]
    async fn keys_that_cannot_be_had_are_not_the_callers_fault() {
        let set = Arc::new(KeySet::new("http://127.0.0.1:9/keys.json".to_owned(), reqwest::Client::new()));
        for _ in 0..2 {
            assert!(matches!(set.find("a").await.err(), Some(Denied::NoKeys(_))));
        }
        assert!(matches!(set.ready().await, Err(Denied::NoKeys(_))));
    }
}
