//! DPoP proofs (RFC 9449 4): whoever shows one holds a key. Here is what a proof must say; whether it came before, and
//! whether it must have a nonce, is the caller's business.

mod key;
mod nonce;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use url::Url;

use key::Key;
pub use nonce::{is_fresh, mint as mint_nonce};

/// How proofs may be signed (FAPI 2.0 5.4.1).
pub const ALGORITHMS: [&str; 3] = ["ES256", "PS256", "EdDSA"];
/// How far `iat` may lie from our clock, in seconds.
const WINDOW: i64 = 60;
/// Longest proof, in characters: one with an RSA key of 4096 bits has some 1,500.
const LONGEST: usize = 4_096;

/// What a proof must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// URL of the endpoint.
    pub url: &'a str,
    /// The access token that came along.
    pub access_token: Option<&'a str>,
    /// Our clock.
    pub now: DateTime<Utc>,
}

/// A right proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Thumbprint of its key (RFC 7638).
    pub jkt: String,
    /// Its id, which counts once.
    pub jti: String,
    /// The nonce that it was given, if any.
    pub nonce: Option<String>,
    /// Until when its id has to be remembered, in seconds since 1970.
    pub until: i64,
}

/// Why a proof does not count, for the client's engineers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProof(pub &'static str);

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    jwk: Map<String, Value>,
    // A header that we do not know but must is a reason to refuse (RFC 7515 4.1.11).
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    nbf: Option<i64>,
    exp: Option<i64>,
    ath: Option<String>,
    nonce: Option<String>,
}

const MALFORMED: InvalidProof =
    InvalidProof("the proof must be a JWT with typ, alg, jwk, jti, htm, htu and iat");

const fn wrong<T>(what: &'static str) -> Result<T, InvalidProof> {
    Err(InvalidProof(what))
}

/// Verifies a proof (RFC 9449 4.3), all but checks 10 and the second half of 11: nonce and replay.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(text: &str, expected: &Expected<'_>) -> Result<Proof, InvalidProof> {
    if text.len() > LONGEST {
        return wrong("the proof is longer than 4096 characters");
    }
    let (input, signature) = text.rsplit_once('.').ok_or(MALFORMED)?;
    let (header, claims) = input.split_once('.').ok_or(MALFORMED)?;
    let header: Header = read(header).ok_or(MALFORMED)?;
    if !header.typ.eq_ignore_ascii_case("dpop+jwt") {
        return wrong("typ must be dpop+jwt");
    }
    if header.crit.is_some() {
        return wrong("crit is not supported");
    }
    let key = Key::read(&header.alg, &header.jwk)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
    if !key.verifies(input.as_bytes(), &signature) {
        return wrong("the signature is not of the key in jwk");
    }
    let claims: Claims = read(claims).ok_or(MALFORMED)?;
    claims.check(expected)?;
    Ok(Proof {
        jkt: key.thumbprint(),
        jti: claims.jti,
        nonce: claims.nonce,
        until: claims.iat.saturating_add(WINDOW),
    })
}

/// Whether a text can be a thumbprint: asked of `dpop_jkt`.
pub fn is_thumbprint(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

fn read<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), InvalidProof> {
        let now = expected.now.timestamp();
        if !(1..=256).contains(&self.jti.len()) {
            return wrong("jti must have 1 to 256 bytes");
        }
        if self.htm != expected.method {
            return wrong("htm is not the method of the request");
        }
        if !is_same_url(&self.htu, expected.url) {
            return wrong("htu is not the URL of the endpoint");
        }
        if self.iat.saturating_sub(now).saturating_abs() > WINDOW {
            return wrong("iat is further than 60 seconds away");
        }
        if self.exp.is_some_and(|exp| exp <= now.saturating_sub(WINDOW))
            || self.nbf.is_some_and(|nbf| nbf > now.saturating_add(WINDOW))
        {
            return wrong("the proof counts at another time");
        }
        let hash = expected
            .access_token
            .map(|token| URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes())));
        if hash.is_some() && self.ath != hash {
            return wrong("ath is not the hash of the access token");
        }
        Ok(())
    }
}

// Without query and fragment, normalised by syntax and scheme (RFC 3986 6.2.2, 6.2.3): a client's library may write the
// host in capitals, the default port, or a letter as %XX.
fn is_same_url(given: &str, own: &str) -> bool {
    let (Ok(given), Ok(own)) = (Url::parse(given), Url::parse(own)) else { return false };
    given.username().is_empty()
        && given.password().is_none()
        && given.scheme() == own.scheme()
        && given.host() == own.host()
        && given.port_or_known_default() == own.port_or_known_default()
        && normal(given.path()) == normal(own.path())
}

// Unreserved characters stand for themselves; digits of what stays encoded are capitals.
fn normal(path: &str) -> String {
    let mut parts = path.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let encoded = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match encoded.map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                normal.push(plain);
                normal.push_str(&part[2..]);
            }
            Some(_) => {
                normal.push('%');
                normal.push_str(&part[..2].to_ascii_uppercase());
                normal.push_str(&part[2..]);
            }
            None => {
                normal.push('%');
                normal.push_str(part);
            }
        }
    }
    normal
}

#[cfg(test)]
#[path = "dpop_tests.rs"]
mod tests;
