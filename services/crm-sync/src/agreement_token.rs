//! The signed form of an agreement: a compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037).

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use domain::{ConsentKey, DateTime, InvalidValue, Utc, Uuid};
use serde::Deserialize;

use crate::agreement::{Claims, LegalBasis, OnEnd, parse_key};

/// Longest token in bytes.
pub const LONGEST_TOKEN: usize = 64 * 1024;
const MOST_KEYS: usize = 50;
const MOST_PURPOSES: usize = 20;
const MOST_NOTICES: usize = 1_000;
const LONGEST_FIELD: usize = 80;

/// Public keys whose agreements count, by id.
#[derive(Debug, Clone, Default)]
pub struct AgreementKeys(BTreeMap<String, [u8; 32]>);

/// A claim or part of the token that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// `token`, or `token.<claim>`.
    pub field: String,
    /// What must hold.
    pub rule: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    // RFC 7515 section 4.1.11: what must be understood and is not makes the JWS invalid.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaims {
    agreement_id: String,
    recipient: String,
    purposes: Vec<String>,
    fields: BTreeMap<String, Vec<String>>,
    legal_basis: String,
    not_before: String,
    not_after: String,
    #[serde(default)]
    accepted_notices: Vec<String>,
    on_end: String,
}

impl AgreementKeys {
    /// Reads lines of `id:base64`, where base64 holds the 32 bytes of an Ed25519 public key. Empty lines and lines that
    /// begin with `#` are passed over.
    ///
    /// # Errors
    /// The rule that a line breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let wrong =
            InvalidValue { rule: "must hold lines of id:base64, an Ed25519 public key of 32 bytes each" };
        let mut keys = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, key) = line.split_once(':').ok_or_else(|| wrong.clone())?;
            let key = BASE64_STANDARD.decode(key.trim()).map_err(|_| wrong.clone())?;
            let key: [u8; 32] = key.as_slice().try_into().map_err(|_| wrong.clone())?;
            if id.is_empty() || keys.insert(id.to_owned(), key).is_some() || keys.len() > MOST_KEYS {
                return Err(wrong);
            }
        }
        Ok(Self(keys))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signature, then the claims. Returns them with the SHA-256 of the token.
    ///
    /// # Errors
    /// The part of the token that is wrong. A wrong signature says nothing about the claims: they are not looked at.
    pub fn verify(&self, token: &str) -> Result<(Claims, [u8; 32]), Wrong> {
        let payload = self.signed(token)?;
        let raw: RawClaims = serde_json::from_slice(&payload)
            .map_err(|_| wrong("token", "must hold the claims of an agreement, and no others"))?;
        let claims = raw.parse()?;
        if let Some((claim, rule)) = claims.check() {
            return Err(wrong(&format!("token.{claim}"), rule));
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Ok((claims, sha256))
    }

    fn signed(&self, token: &str) -> Result<Vec<u8>, Wrong> {
        let form = || wrong("token", "must be a compact JWS of at most 65,536 bytes");
        if token.len() > LONGEST_TOKEN {
            return Err(form());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(form)?;
        let (header, payload) = signed.split_once('.').ok_or_else(form)?;
        let bytes = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| form());
        let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| form())?;
        // The algorithm is ours to say, never the token's.
        if header.alg != "EdDSA" || header.crit.is_some() {
            return Err(wrong("token", "must be signed with EdDSA, without critical headers"));
        }
        let key = header.kid.and_then(|kid| self.0.get(&kid));
        let key = key.ok_or_else(|| wrong("token", "must name one of the agreement keys as kid"))?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(signed.as_bytes(), &bytes(signature)?)
            .map_err(|_| wrong("token", "must carry a valid signature"))?;
        bytes(payload)
    }
}

/// The claims of a token whose signature was verified when it was stored: the key may have been retired since.
///
/// # Errors
/// A token that this service did not store.
pub fn stored_claims(token: &str) -> Result<Claims, Wrong> {
    let form = || wrong("token", "must be a compact JWS");
    let payload = token.split('.').nth(1).ok_or_else(form)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| form())?;
    serde_json::from_slice::<RawClaims>(&payload).map_err(|_| form())?.parse()
}

impl RawClaims {
    fn parse(self) -> Result<Claims, Wrong> {
        if self.purposes.len() > MOST_PURPOSES || self.accepted_notices.len() > MOST_NOTICES {
            return Err(wrong("token", "must name at most 20 purposes and 1,000 notices"));
        }
        let mut fields = BTreeMap::new();
        for (name, needs) in self.fields {
            let path = "token.fields";
            if name.is_empty()
                || name.len() > LONGEST_FIELD
                || !name.bytes().all(is_name)
                || needs.len() > MOST_PURPOSES
            {
                return Err(wrong(
                    path,
                    "must name fields of letters, digits and `_` with at most 20 purposes each",
                ));
            }
            fields.insert(name, keys(path, &needs)?);
        }
        let recipient = self.recipient;
        if recipient.is_empty() || ConsentKey::new(domain::Purpose::PartnerOffers, &recipient).is_err() {
            return Err(wrong("token.recipient", "must be 1 to 40 lower-case letters, digits or `-`"));
        }
        let notice = |hash: &String| {
            hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !self.accepted_notices.iter().all(notice) {
            return Err(wrong("token.accepted_notices", "must be SHA-256 in lower-case hex"));
        }
        Ok(Claims {
            agreement_id: self
                .agreement_id
                .parse::<Uuid>()
                .map_err(|_| wrong("token.agreement_id", "must be a UUID"))?,
            recipient,
            purposes: keys("token.purposes", &self.purposes)?,
            fields,
            legal_basis: LegalBasis::find(&self.legal_basis)
                .ok_or_else(|| wrong("token.legal_basis", "must be consent, contract, entrusted or duty"))?,
            not_before: time("token.not_before", &self.not_before)?,
            not_after: time("token.not_after", &self.not_after)?,
            accepted_notices: self.accepted_notices.into_iter().collect::<BTreeSet<_>>(),
            on_end: OnEnd::find(&self.on_end)
                .ok_or_else(|| wrong("token.on_end", "must be keep or delete"))?,
        })
    }
}

fn keys(field: &str, texts: &[String]) -> Result<Vec<ConsentKey>, Wrong> {
    texts.iter().map(|text| parse_key(text).map_err(|error| wrong(field, error.rule))).collect()
}

fn time(field: &str, text: &str) -> Result<DateTime<Utc>, Wrong> {
    let rule = "must be a time of RFC 3339 between 2000 and 2200";
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| wrong(field, rule))?.to_utc();
    let sane = 946_684_800..7_258_118_400;
    if sane.contains(&at.timestamp()) { Ok(at) } else { Err(wrong(field, rule)) }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn wrong(field: &str, rule: &str) -> Wrong {
    Wrong { field: field.to_owned(), rule: rule.to_owned() }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn trusted() -> AgreementKeys {
        let line = format!("# staff\nlegal-1:{}\n", BASE64_STANDARD.encode(pair().public_key().as_ref()));
        AgreementKeys::parse(&line).unwrap()
    }

    fn claims() -> Value {
        json!({
            "agreement_id": "01890a5d-ac96-774b-bcce-b302099a8057", "recipient": "ioc",
            "purposes": ["ioc_newsletter"], "fields": { "Email": [], "FirstName": ["partner_offers(ioc)"] },
            "legal_basis": "consent", "not_before": "2026-01-01T00:00:00Z", "not_after": "2028-01-01T00:00:00Z",
            "on_end": "delete"
        })
    }

    fn sign(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = pair().sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "kid": "legal-1" })
    }

    #[test]
    fn a_signed_agreement_is_read() {
        let (claims, _) = trusted().verify(&sign(&header(), &claims())).unwrap();
        assert_eq!(claims.recipient, "ioc");
        assert_eq!(claims.fields["FirstName"], [parse_key("partner_offers(ioc)").unwrap()]);
    }

    #[test]
    fn a_changed_byte_breaks_the_signature() {
        let token = sign(&header(), &claims());
        let forged = token.replacen(&token[60..61], if &token[60..61] == "A" { "B" } else { "A" }, 1);
        assert!(trusted().verify(&forged).is_err());
        let mut parts: Vec<&str> = token.split('.').collect();
        parts[2] = "";
        assert_eq!(trusted().verify(&parts.join(".")).unwrap_err().field, "token");
    }

    #[test]
    fn other_algorithms_keys_and_critical_headers_are_refused() {
        for header in [
            json!({ "alg": "none", "kid": "legal-1" }),
            json!({ "alg": "HS256", "kid": "legal-1" }),
            json!({ "alg": "EdDSA" }),
            json!({ "alg": "EdDSA", "kid": "legal-2" }),
            json!({ "alg": "EdDSA", "kid": "legal-1", "crit": ["b64"], "b64": false }),
        ] {
            assert!(trusted().verify(&sign(&header, &claims())).is_err(), "{header}");
        }
        assert!(AgreementKeys::default().verify(&sign(&header(), &claims())).is_err());
    }

    #[test]
    fn each_wrong_claim_is_named() {
        let cases = [
            ("agreement_id", json!("42"), "token.agreement_id"),
            ("recipient", json!("IOC; drop table"), "token.recipient"),
            ("recipient", json!(""), "token.recipient"),
            ("purposes", json!(["newsletter"]), "token.purposes"),
            ("purposes", json!([]), "token.purposes"),
            ("fields", json!({ "E mail": [] }), "token.fields"),
            ("fields", json!({}), "token.fields"),
            ("legal_basis", json!("interest"), "token.legal_basis"),
            ("not_before", json!("yesterday"), "token.not_before"),
            ("not_after", json!("9999-01-01T00:00:00Z"), "token.not_after"),
            ("not_after", json!("2025-01-01T00:00:00Z"), "token.not_after"),
            ("accepted_notices", json!(["XYZ"]), "token.accepted_notices"),
            ("on_end", json!("sell"), "token.on_end"),
            ("more", json!(1), "token"),
        ];
        for (claim, value, field) in cases {
            let mut claims = claims();
            claims[claim] = value;
            assert_eq!(trusted().verify(&sign(&header(), &claims)).unwrap_err().field, field, "{claim}");
        }
    }

    #[test]
    fn key_lines_are_checked() {
        for wrong in ["legal-1", "legal-1:AAAA", ":AAAA", "a:not base64"] {
            assert!(AgreementKeys::parse(wrong).is_err(), "{wrong}");
        }
        assert!(AgreementKeys::parse("\n# none yet\n").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            prop_assert!(trusted().verify(&text).is_err());
        }
    }
}
