mod key_set;
#[cfg(test)]
pub(crate) mod test_issuer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use domain::{Clock, DateTime, TimeDelta, Utc};
use jsonwebtoken::{Validation, errors::ErrorKind};
use serde::Deserialize;

use crate::{Actor, AuthSettings, Denied, token_verifier::key_set::KeySet};

/// Clocks of issuer and reader may differ by this much.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);
/// The issuer's clock may be ahead by this much: a token that is younger than it says lives no longer for it.
const AHEAD: TimeDelta = TimeDelta::seconds(120);
/// A token that was good is not checked again for so long: a key or token that is withdrawn lives on this much at most.
const TRUST: Duration = Duration::from_secs(60);
const MOST_TRUSTED: usize = 10_000;
const LARGEST_TOKEN: usize = 16 * 1024;

/// Tells from an access token who calls: a JWT as RFC 9068 has it, signed by the issuer. Clones share keys and cache.
#[derive(Clone)]
pub(crate) struct TokenVerifier(Arc<Inner>);

struct Inner {
    issuer: String,
    keys: Arc<KeySet>,
    clock: Clock,
    trusted: Trusted,
}

impl TokenVerifier {
    pub(crate) fn new(auth: &AuthSettings, http: reqwest::Client, clock: Clock) -> Self {
        let issuer = auth.issuer_text().to_owned();
        let url = auth
            .jwks_url
            .as_ref()
            .map_or_else(|| format!("{issuer}/oauth2/keys.json"), |url| url.as_str().to_owned());
        let keys = Arc::new(KeySet::new(url, http));
        Self(Arc::new(Inner { issuer, keys, clock, trusted: Trusted::default() }))
    }

    /// That keys are there, or can be had now. Tells readiness.
    pub(crate) async fn ready(&self) -> Result<(), Denied> {
        self.0.keys.ready().await
    }

    /// Who the token is of, when it is good for this audience.
    ///
    /// # Errors
    /// The first reason why it is not.
    pub(crate) async fn verify(&self, token: &str, audience: &str) -> Result<Actor, Denied> {
        let inner = &*self.0;
        if token.is_empty() {
            return Err(Denied::NoToken);
        }
        if token.len() > LARGEST_TOKEN {
            return Err(Denied::Malformed);
        }
        let now = inner.clock.now();
        let fingerprint = fingerprint(token, audience);
        if let Some(actor) = inner.trusted.get(&fingerprint, Instant::now())
            && now < actor.expires_at + LEEWAY
        {
            return Ok(actor);
        }
        let claims = inner.signed_claims(token).await?;
        let actor = claims.check(&inner.issuer, audience, now)?;
        inner.trusted.insert(fingerprint, actor.clone(), Instant::now());
        Ok(actor)
    }
}

impl Inner {
    async fn signed_claims(&self, token: &str) -> Result<Claims, Denied> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Denied::Malformed)?;
        if !is_access_token(header.typ.as_deref()) {
            return Err(Denied::WrongType);
        }
        // What must be understood is not (RFC 7515 4.1.11).
        if header.crit.is_some() {
            return Err(Denied::Malformed);
        }
        let key = self.keys.find(header.kid.as_deref().ok_or(Denied::UnknownKey)?).await?;
        // The key says what it is for. A header that could choose might make a secret of a public key.
        if !key.algorithms.contains(&header.alg) {
            return Err(Denied::WrongAlgorithm);
        }
        let mut only_signature = Validation::new(header.alg);
        only_signature.required_spec_claims.clear();
        // These read the machine's clock and skip absent claims; `Claims::check` does it all.
        only_signature.validate_exp = false;
        only_signature.validate_aud = false;
        let decoded = jsonwebtoken::decode(token, &key.decoding, &only_signature);
        decoded.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Denied::WrongSignature,
            _ => Denied::Malformed,
        })
    }
}

fn is_access_token(typ: Option<&str>) -> bool {
    let typ = typ.unwrap_or_default().to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == "at+jwt"
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    sub: String,
    client_id: String,
    scope: Option<String>,
    acr: Option<String>,
    cnf: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    fn check(self, issuer: &str, audience: &str, now: DateTime<Utc>) -> Result<Actor, Denied> {
        if self.iss != issuer {
            return Err(Denied::ForeignIssuer);
        }
        let is_ours = match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Many(many) => many.iter().any(|one| one == audience),
        };
        if !is_ours {
            return Err(Denied::WrongAudience);
        }
        if self.cnf.is_some() {
            return Err(Denied::SenderConstrained);
        }
        let expires_at = time(self.exp)?;
        if now >= expires_at + LEEWAY {
            return Err(Denied::Expired);
        }
        for (begins, leeway) in [(self.nbf, LEEWAY), (self.iat, AHEAD)] {
            if let Some(begins) = begins
                && time(begins)? > now + leeway
            {
                return Err(Denied::NotYetValid);
            }
        }
        if self.sub.is_empty() || self.client_id.is_empty() {
            return Err(Denied::Malformed);
        }
        Ok(Actor {
            subject: self.sub,
            client_id: self.client_id,
            scopes: self.scope.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect(),
            acr: self.acr,
            expires_at,
        })
    }
}

// Between 1970 and the year 9999: arithmetic with it stays inside what a date can be.
fn time(seconds: i64) -> Result<DateTime<Utc>, Denied> {
    let seconds = Some(seconds).filter(|seconds| (0..253_402_300_800).contains(seconds));
    seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).ok_or(Denied::Malformed)
}

type Fingerprint = [u8; digest::SHA256_OUTPUT_LEN];

fn fingerprint(token: &str, audience: &str) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(token.as_bytes());
    // Neither half has a zero byte, so no two pairs look alike.
    context.update(&[0]);
    context.update(audience.as_bytes());
    let mut fingerprint = [0; digest::SHA256_OUTPUT_LEN];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// Tokens that were good a moment ago, by their fingerprint.
#[derive(Default)]
struct Trusted(Mutex<HashMap<Fingerprint, (Actor, Instant)>>);

impl Trusted {
    fn get(&self, fingerprint: &Fingerprint, now: Instant) -> Option<Actor> {
        let trusted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.get(fingerprint).filter(|(_, until)| now < *until).map(|(actor, _)| actor.clone())
    }

    fn insert(&self, fingerprint: Fingerprint, actor: Actor, now: Instant) {
        let mut trusted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if trusted.len() >= MOST_TRUSTED {
            // All at once: signatures are checked anew for a moment, and nothing is kept in order for it.
            trusted.clear();
        }
        trusted.insert(fingerprint, (actor, now + TRUST));
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::{test_issuer::TestIssuer, *};

    const AUDIENCE: &str = "kotinos.profile";

    async fn refusal(issuer: &TestIssuer, token: &str) -> Denied {
        issuer.verifier().verify(token, AUDIENCE).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_good_token_tells_who_calls() {
        let issuer = TestIssuer::start().await;
        let mut claims = issuer.claims(AUDIENCE);
        claims["acr"] = json!("urn:kotinos:passkey");
        claims["aud"] = json!(["kotinos.mailer", AUDIENCE]);
        let actor = issuer.verifier().verify(&issuer.sign(&claims), AUDIENCE).await.unwrap();
        assert_eq!(
            (actor.subject.as_str(), actor.client_id.as_str()),
            (claims["sub"].as_str().unwrap(), "portal")
        );
        assert_eq!(actor.scopes, ["profile.read", "profile.write"]);
        assert_eq!(actor.acr.as_deref(), Some("urn:kotinos:passkey"));
        assert_eq!(actor.expires_at.timestamp(), claims["exp"].as_i64().unwrap());
    }

    #[tokio::test]
    async fn each_wrong_claim_is_refused_by_its_name() {
        let issuer = TestIssuer::start().await;
        let now = issuer.clock.now().timestamp();
        let table: [(&str, Value, Denied); 14] = [
            ("iss", json!("https://elsewhere.example"), Denied::ForeignIssuer),
            ("iss", json!(format!("{}/", issuer.url)), Denied::ForeignIssuer),
            ("aud", json!("kotinos.mailer"), Denied::WrongAudience),
            ("aud", json!([]), Denied::WrongAudience),
            ("aud", json!("kotinos.profile.v1"), Denied::WrongAudience),
            ("exp", json!(now - 31), Denied::Expired),
            ("exp", json!(i64::MAX), Denied::Malformed),
            ("exp", json!("soon"), Denied::Malformed),
            ("nbf", json!(now + 31), Denied::NotYetValid),
            ("iat", json!(now + 121), Denied::NotYetValid),
            ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), Denied::SenderConstrained),
            ("sub", json!(""), Denied::Malformed),
            ("client_id", json!(""), Denied::Malformed),
            ("scope", json!(["profile.read"]), Denied::Malformed),
        ];
        for (claim, value, denied) in table {
            let mut claims = issuer.claims(AUDIENCE);
            claims[claim] = value;
            assert_eq!(refusal(&issuer, &issuer.sign(&claims)).await, denied, "{claim}: {}", claims[claim]);
        }
        for claim in ["iss", "aud", "exp", "sub", "client_id"] {
            let mut claims = issuer.claims(AUDIENCE);
            claims.as_object_mut().unwrap().remove(claim);
            assert_eq!(refusal(&issuer, &issuer.sign(&claims)).await, Denied::Malformed, "without {claim}");
        }
    }

    #[tokio::test]
    async fn clocks_may_differ_by_half_a_minute() {
        let issuer = TestIssuer::start().await;
        let now = issuer.clock.now().timestamp();
        let mut claims = issuer.claims(AUDIENCE);
        claims["exp"] = json!(now - 29);
        assert!(issuer.verifier().verify(&issuer.sign(&claims), AUDIENCE).await.is_ok());
        claims["exp"] = json!(now + 60);
        claims["nbf"] = json!(now + 30);
        assert!(issuer.verifier().verify(&issuer.sign(&claims), AUDIENCE).await.is_ok());
    }

    #[tokio::test]
    async fn only_access_tokens_are_access_tokens() {
        let issuer = TestIssuer::start().await;
        let claims = issuer.claims(AUDIENCE);
        for (typ, good) in [("at+jwt", true), ("AT+JWT", true), ("application/at+jwt", true), ("JWT", false)]
        {
            let token = issuer.sign_with(&json!({"alg": "ES256", "typ": typ, "kid": issuer.kid}), &claims);
            let verified = issuer.verifier().verify(&token, AUDIENCE).await;
            assert_eq!(verified.err(), (!good).then_some(Denied::WrongType), "{typ}");
        }
        let token = issuer.sign_with(&json!({"alg": "ES256", "kid": issuer.kid}), &claims);
        assert_eq!(refusal(&issuer, &token).await, Denied::WrongType);
        let crit = json!({"alg": "ES256", "typ": "at+jwt", "kid": issuer.kid, "crit": ["b64"], "b64": true});
        assert_eq!(refusal(&issuer, &issuer.sign_with(&crit, &claims)).await, Denied::Malformed);
    }

    #[tokio::test]
    async fn the_key_and_not_the_header_chooses_the_algorithm() {
        let issuer = TestIssuer::start().await;
        let claims = issuer.claims(AUDIENCE);
        // The public key, which everybody has, taken for the secret of an HMAC.
        for secret in [issuer.public_point(), issuer.jwk.to_string().into_bytes()] {
            let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
            (header.typ, header.kid) = (Some("at+jwt".to_owned()), Some(issuer.kid.clone()));
            let key = jsonwebtoken::EncodingKey::from_secret(&secret);
            let forged = jsonwebtoken::encode(&header, &claims, &key).unwrap();
            assert_eq!(refusal(&issuer, &forged).await, Denied::WrongAlgorithm);
        }
        for (algorithm, denied) in [
            ("none", Denied::Malformed),
            ("ES384", Denied::WrongAlgorithm),
            ("RS256", Denied::WrongAlgorithm),
            ("EdDSA", Denied::WrongAlgorithm),
        ] {
            let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": issuer.kid});
            assert_eq!(refusal(&issuer, &issuer.sign_with(&header, &claims)).await, denied, "{algorithm}");
            let unsigned = format!("{}.", issuer.sign_with(&header, &claims).rsplit_once('.').unwrap().0);
            assert_eq!(refusal(&issuer, &unsigned).await, denied, "{algorithm}");
        }
    }

    #[tokio::test]
    async fn a_foreign_key_or_an_altered_token_is_refused() {
        let issuer = TestIssuer::start().await;
        let stranger = TestIssuer::start().await;
        let claims = issuer.claims(AUDIENCE);
        assert_eq!(refusal(&issuer, &stranger.sign(&claims)).await, Denied::UnknownKey);
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": issuer.kid});
        assert_eq!(refusal(&issuer, &stranger.sign_with(&header, &claims)).await, Denied::WrongSignature);
        let without_kid = json!({"alg": "ES256", "typ": "at+jwt"});
        assert_eq!(refusal(&issuer, &issuer.sign_with(&without_kid, &claims)).await, Denied::UnknownKey);

        let token = issuer.sign(&claims);
        let parts: Vec<&str> = token.split('.').collect();
        let mut richer = claims.clone();
        richer["scope"] = json!("profile.read profile.write profile.search");
        let richer = URL_SAFE_NO_PAD.encode(richer.to_string());
        let altered = format!("{}.{richer}.{}", parts[0], parts[2]);
        assert_eq!(refusal(&issuer, &altered).await, Denied::WrongSignature);
    }

    #[tokio::test]
    async fn garbage_is_refused() {
        let issuer = TestIssuer::start().await;
        let long = "a".repeat(LARGEST_TOKEN + 1);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt"}"#);
        for token in ["a", ".", "..", "...", "a.b.c", "%.%.%", "\u{1f3c5}.\u{1f3c5}.\u{1f3c5}", &long] {
            assert_eq!(refusal(&issuer, token).await, Denied::Malformed, "{token}");
        }
        assert_eq!(refusal(&issuer, "").await, Denied::NoToken);
        assert_eq!(refusal(&issuer, &format!("{header}.e30.")).await, Denied::UnknownKey);
        let token =
            issuer.sign_with(&json!({"alg": "ES256", "typ": "at+jwt", "kid": issuer.kid}), &json!([1]));
        assert_eq!(refusal(&issuer, &token).await, Denied::Malformed);
    }

    #[tokio::test]
    async fn a_token_is_trusted_for_its_own_audience_and_until_its_own_end() {
        let issuer = TestIssuer::start().await;
        let verifier = issuer.verifier();
        let token = issuer.sign(&issuer.claims(AUDIENCE));
        for _ in 0..3 {
            assert!(verifier.verify(&token, AUDIENCE).await.is_ok());
        }
        assert_eq!(verifier.verify(&token, "kotinos.mailer").await, Err(Denied::WrongAudience));
        issuer.clock.advance(TimeDelta::seconds(300 + 31));
        assert_eq!(verifier.verify(&token, AUDIENCE).await, Err(Denied::Expired));
    }

    #[test]
    fn trust_ends_after_a_minute_and_does_not_grow_without_bound() {
        let trusted = Trusted::default();
        let actor = Actor {
            subject: "portal".to_owned(),
            client_id: "portal".to_owned(),
            scopes: Vec::new(),
            acr: None,
            expires_at: DateTime::UNIX_EPOCH,
        };
        let now = Instant::now();
        let first = fingerprint("first", AUDIENCE);
        trusted.insert(first, actor.clone(), now);
        assert!(trusted.get(&first, now + Duration::from_secs(59)).is_some());
        assert!(trusted.get(&first, now + TRUST).is_none());
        for number in 0..MOST_TRUSTED {
            trusted.insert(fingerprint(&number.to_string(), AUDIENCE), actor.clone(), now);
        }
        assert!(trusted.get(&first, now).is_none());
        assert!(trusted.0.lock().unwrap().len() <= MOST_TRUSTED);
    }
}
