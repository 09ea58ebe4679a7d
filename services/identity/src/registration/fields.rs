use jsonwebtoken::jwk::JwkSet;
use serde_json::{Map, Value};

use super::is_redirect_uri;
use crate::{client::is_url, jws::Algorithm};

/// Metadata that breaks a rule: the field and the rule (RFC 7591 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidMetadata {
    /// The registered code.
    pub error: &'static str,
    field: &'static str,
    rule: &'static str,
}

impl InvalidMetadata {
    pub(super) const fn redirect(rule: &'static str) -> Self {
        Self { error: "invalid_redirect_uri", field: "redirect_uris", rule }
    }

    /// A field that breaks a rule.
    pub const fn field(field: &'static str, rule: &'static str) -> Self {
        Self { error: "invalid_client_metadata", field, rule }
    }
}

/// Longest URI, in bytes.
const LONGEST_URI: usize = 1_000;
/// Largest `jwks`, in bytes of JSON.
const LARGEST_KEYS: usize = 16_384;
const MOST_KEYS: usize = 20;
/// Longest `default_max_age`: a year.
const LONGEST_AGE: i64 = 31_536_000;

/// Members of a metadata document, each read as its type. `null` counts as absent (RFC 7592 2.2).
pub struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub fn absent(&self, field: &'static str, rule: &'static str) -> Result<(), InvalidMetadata> {
        if self.get(field).is_some() { Err(InvalidMetadata::field(field, rule)) } else { Ok(()) }
    }

    pub fn text(&self, field: &'static str, longest: usize) -> Result<Option<&'a str>, InvalidMetadata> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if is_text(text, longest) => Ok(Some(text)),
            Some(_) => Err(InvalidMetadata::field(field, "must be a text, not empty and not too long")),
        }
    }

    pub fn texts(
        &self,
        field: &'static str,
        most: usize,
        longest: usize,
    ) -> Result<Option<Vec<String>>, InvalidMetadata> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let texts: Option<Vec<String>> = value.as_array().filter(|all| all.len() <= most).and_then(|all| {
            all.iter()
                .map(|one| one.as_str().filter(|one| is_text(one, longest)).map(str::to_owned))
                .collect()
        });
        texts
            .map(Some)
            .ok_or(InvalidMetadata::field(field, "must be an array of texts, not too many or too long"))
    }

    pub fn one_of(
        &self,
        field: &'static str,
        known: &[&'static str],
    ) -> Result<Option<&'static str>, InvalidMetadata> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let one = known.iter().find(|known| value.as_str() == Some(known));
        one.map(|one| Some(*one)).ok_or(InvalidMetadata::field(field, "has a value that is not supported"))
    }

    pub fn flag(&self, field: &'static str) -> Result<Option<bool>, InvalidMetadata> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(InvalidMetadata::field(field, "must be true or false")),
        }
    }

    pub fn seconds(&self, field: &'static str) -> Result<Option<i64>, InvalidMetadata> {
        match self.get(field).map(Value::as_i64) {
            None => Ok(None),
            Some(Some(seconds @ 0..=LONGEST_AGE)) => Ok(Some(seconds)),
            Some(_) => Err(InvalidMetadata::field(field, "must be a number of seconds, at most a year")),
        }
    }

    pub fn https(&self, field: &'static str) -> Result<Option<String>, InvalidMetadata> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let right = value.as_str().filter(|uri| is_url(uri, &["https"]));
        let uri = right.map(|uri| Some(uri.to_owned()));
        uri.ok_or(InvalidMetadata::field(field, "must be an https URL without fragment or credentials"))
    }

    /// A URL that we shall call: whether we may is asked of the way out.
    pub fn called(&self, field: &'static str) -> Result<Option<String>, InvalidMetadata> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let right = value.as_str().filter(|uri| is_url(uri, &["https", "http"]));
        let uri = right.map(|uri| Some(uri.to_owned()));
        uri.ok_or(InvalidMetadata::field(field, "must be a URL without fragment or credentials"))
    }

    pub fn redirects(
        &self,
        field: &'static str,
        most: usize,
    ) -> Result<Option<Vec<String>>, InvalidMetadata> {
        let error = if field == "redirect_uris" { "invalid_redirect_uri" } else { "invalid_client_metadata" };
        let rule =
            "must be at most 20 absolute URIs: https, loopback http or a private scheme, without fragment";
        let wrong = InvalidMetadata { error, field, rule };
        let Some(uris) = self.texts(field, most, LONGEST_URI).map_err(|_| wrong)? else { return Ok(None) };
        if uris.iter().all(|uri| is_redirect_uri(uri)) { Ok(Some(uris)) } else { Err(wrong) }
    }

    pub fn jwks(&self) -> Result<Option<Value>, InvalidMetadata> {
        let Some(jwks) = self.get("jwks") else { return Ok(None) };
        check_keys(jwks).map_err(|rule| InvalidMetadata::field("jwks", rule))?;
        Ok(Some(jwks.clone()))
    }

    /// RS256 where nothing is asked for (OIDC Registration 2). `none` is no signature, and never was.
    pub fn id_token_alg(&self) -> Result<Algorithm, InvalidMetadata> {
        const FIELD: &str = "id_token_signed_response_alg";
        let Some(value) = self.get(FIELD) else { return Ok(Algorithm::Rs256) };
        let known = value.as_str().and_then(|name| name.parse().ok());
        known.ok_or(InvalidMetadata::field(FIELD, "must be ES256, RS256 or PS256"))
    }
}

/// A set of public keys: at most 20 of 16 KiB, elliptic or RSA of at least 2,048 bits.
///
/// # Errors
/// The rule that it breaks.
pub fn check_keys(jwks: &Value) -> Result<(), &'static str> {
    let keys = jwks["keys"].as_array().ok_or("must be an object with an array of keys")?;
    if !(1..=MOST_KEYS).contains(&keys.len()) || jwks.to_string().len() > LARGEST_KEYS {
        return Err("must have 1 to 20 keys in 16 KiB");
    }
    for key in keys {
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|member| key.get(*member).is_some()) {
            return Err("must have public keys only");
        }
        match key["kty"].as_str() {
            Some("EC" | "OKP") => {}
            // 256 bytes in base64url.
            Some("RSA") if key["n"].as_str().is_some_and(|n| n.len() >= 342) => {}
            Some("RSA") => return Err("must have RSA keys of at least 2048 bits"),
            _ => return Err("must have EC, OKP or RSA keys"),
        }
    }
    serde_json::from_value::<JwkSet>(jwks.clone()).map(|_| ()).map_err(|_| "has a key that cannot be read")
}

fn is_text(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}
