//! `private_key_jwt`: an assertion signed with a registered key, used once (RFC 7523 3, OIDC Core 9).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Client, Profile};

/// How far clocks may stand apart, in seconds.
const LEEWAY: i64 = 30;
/// An assertion may not live longer than this, in seconds, since its `jti` is kept for as long.
const LONGEST_LIFE: i64 = 3_600;
/// Longest assertion, in characters.
const LONGEST: usize = 8_192;

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    // A header that we do not know but must is a reason to refuse (RFC 7515 4.1.11).
    crit: Option<Value>,
}

/// What a right assertion says.
#[derive(Debug, Deserialize)]
pub struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    iat: Option<i64>,
    nbf: Option<i64>,
    jti: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    List(Vec<String>),
}

impl Audience {
    // One value and no other: an assertion that several servers accept can be replayed among them. FAPI 2.0 takes no
    // list at all (5.3.2.1).
    fn is(&self, issuer: &str, profile: Profile) -> bool {
        match self {
            Self::One(one) => one == issuer,
            Self::List(list) => {
                profile == Profile::Oauth && matches!(list.as_slice(), [one] if one == issuer)
            }
        }
    }
}

impl Claims {
    /// Its id, and until when it has to be remembered.
    pub fn once(&self) -> (&str, i64) {
        (&self.jti, self.exp.saturating_add(LEEWAY))
    }
}

/// Whom an assertion names, before anything of it is proved.
pub fn named(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        sub: String,
    }
    if text.len() > LONGEST {
        return None;
    }
    let claims = text.split('.').nth(1)?;
    let named: Named = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(named.sub)
}

/// The key that an assertion names, before anything of it is proved.
pub fn key_id(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let header = URL_SAFE_NO_PAD.decode(text.split('.').next()?).ok()?;
    serde_json::from_slice::<Header>(&header).ok()?.kid
}

/// Verifies an assertion but for its being used a second time.
pub fn verify(client: &Client, text: &str, issuer: &str, now: DateTime<Utc>) -> Option<Claims> {
    if text.len() > LONGEST {
        return None;
    }
    let header = URL_SAFE_NO_PAD.decode(text.split('.').next()?).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    let typ = header.typ.as_deref().unwrap_or("JWT");
    let typed = ["JWT", "client-authentication+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known));
    if header.crit.is_some() || !typed {
        return None;
    }
    let algorithm = match header.alg.as_str() {
        alg if !client.may_sign_with(alg) => return None,
        "ES256" => Algorithm::ES256,
        "PS256" => Algorithm::PS256,
        "RS256" => Algorithm::RS256,
        _ => return None,
    };
    let keys: JwkSet = serde_json::from_value(client.jwks.clone()?).ok()?;
    let claims =
        keys.keys.iter().filter(|key| fits(key, &header)).find_map(|key| read(key, algorithm, text))?;
    is_right(&claims, client, issuer, now.timestamp()).then_some(claims)
}

fn fits(key: &Jwk, header: &Header) -> bool {
    // The name only chooses among keys; a key that was registered without one is tried.
    let named = match (&header.kid, &key.common.key_id) {
        (Some(asked), Some(own)) => asked == own,
        _ => true,
    };
    let algorithm = key.common.key_algorithm.is_none_or(|own| own.to_string() == header.alg);
    let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    named && algorithm && signs
}

// Only the signature: times and names are judged below, by our own clock.
fn read(key: &Jwk, algorithm: Algorithm, text: &str) -> Option<Claims> {
    let key = DecodingKey::from_jwk(key).ok()?;
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(text, &key, &rules).ok().map(|token| token.claims)
}

fn is_right(claims: &Claims, client: &Client, issuer: &str, now: i64) -> bool {
    claims.iss == client.client_id
        && claims.sub == client.client_id
        && (claims.aud.is(issuer, client.profile)
            || client.token_url_audience && claims.aud.is(&format!("{issuer}/oauth2/token"), client.profile))
        && claims.exp > now.saturating_sub(LEEWAY)
        && claims.exp <= now.saturating_add(LONGEST_LIFE + LEEWAY)
        && [claims.iat, claims.nbf].into_iter().flatten().all(|at| at <= now.saturating_add(LEEWAY))
        && claims.iat.is_none_or(|at| at >= now.saturating_sub(LONGEST_LIFE + LEEWAY))
        && (1..=256).contains(&claims.jti.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        client::{AuthMethod, tests::client},
        jws::{Algorithm::Es256, SigningKey},
    };

    const ISSUER: &str = "https://id.example";

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    fn registered(key: &SigningKey) -> Client {
        let mut client = client();
        client.auth_method = AuthMethod::PrivateKeyJwt;
        client.jwks = Some(json!({"keys": [key.public_jwk().unwrap()]}));
        client
    }

    fn claims() -> Value {
        let at = now().timestamp();
        json!({"iss": "portal", "sub": "portal", "aud": ISSUER, "iat": at, "exp": at + 60, "jti": "1"})
    }

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(Es256, &SigningKey::generate(Es256).unwrap()).unwrap()
    }

    #[test]
    fn a_right_assertion_is_remembered_for_as_long_as_it_counts() {
        let key = key();
        let text = key.sign("JWT", &claims()).unwrap();
        assert_eq!(named(&text).as_deref(), Some("portal"));
        let claims = verify(&registered(&key), &text, ISSUER, now()).unwrap();
        assert_eq!(claims.once(), ("1", now().timestamp() + 90));
    }

    #[test]
    fn the_token_endpoint_is_an_audience_for_those_who_are_let() {
        let key = key();
        let mut client = registered(&key);
        let mut claims = claims();
        claims["aud"] = json!("https://id.example/oauth2/token");
        let text = key.sign("JWT", &claims).unwrap();
        assert!(verify(&client, &text, ISSUER, now()).is_none());
        client.token_url_audience = true;
        assert!(verify(&client, &text, ISSUER, now()).is_some());
    }

    #[test]
    fn fapi2_takes_the_issuer_as_a_string_only() {
        let key = key();
        let mut client = registered(&key);
        let mut claims = claims();
        claims["aud"] = json!([ISSUER]);
        let text = key.sign("JWT", &claims).unwrap();
        assert!(verify(&client, &text, ISSUER, now()).is_some());
        client.profile = Profile::Fapi2;
        assert!(verify(&client, &text, ISSUER, now()).is_none());
    }

    #[test]
    fn an_assertion_with_one_wrong_claim_is_refused() {
        let key = key();
        let client = registered(&key);
        let at = now().timestamp();
        for (name, wrong) in [
            ("iss", json!("shop")),
            ("sub", json!("shop")),
            ("aud", json!("https://id.example/oauth2/token")),
            ("aud", json!([ISSUER, "https://other.example"])),
            ("aud", json!([])),
            ("aud", json!(null)),
            ("exp", json!(at - 30)),
            ("exp", json!(at + 3_631)),
            ("exp", json!("soon")),
            ("exp", json!(i64::MIN)),
            ("iat", json!(at + 31)),
            ("iat", json!(at - 3_631)),
            ("nbf", json!(at + 31)),
            ("jti", json!("")),
            ("jti", json!("x".repeat(257))),
            ("jti", json!(null)),
        ] {
            let mut claims = claims();
            claims[name] = wrong.clone();
            let text = key.sign("JWT", &claims).unwrap();
            assert!(verify(&client, &text, ISSUER, now()).is_none(), "{name} {wrong}");
        }
    }

    #[test]
    fn only_a_registered_key_and_a_signature_count() {
        let (own, foreign) = (key(), key());
        let client = registered(&own);
        assert!(verify(&client, &foreign.sign("JWT", &claims()).unwrap(), ISSUER, now()).is_none());
        assert!(verify(&client, &own.sign("at+jwt", &claims()).unwrap(), ISSUER, now()).is_none());
        let right = own.sign("JWT", &claims()).unwrap();
        let (input, signature) = right.rsplit_once('.').unwrap();
        let body = input.split_once('.').unwrap().1;
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "ES384"}),
            json!({"alg": "RS256", "kid": own.kid()}),
            json!({"alg": "ES256", "kid": "other"}),
            json!({"alg": "ES256", "crit": ["exp"]}),
            json!({}),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            for signature in ["", signature] {
                let text = format!("{header}.{body}.{signature}");
                assert!(verify(&client, &text, ISSUER, now()).is_none(), "{text}");
            }
        }
        for garbage in ["", ".", "..", "a.b.c", "é.é.é", &"x".repeat(9_000)] {
            assert!(verify(&client, garbage, ISSUER, now()).is_none());
            assert!(named(garbage).is_none());
        }
    }
}
