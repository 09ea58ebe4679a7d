//! The sharing agreement with the IOC, signed as crm-sync's README tells people to.

use anyhow::{Context, Result};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::suite::{AGREEMENT_KEY_ID, Keys};

/// Signs the agreement: every field of the shipped mapping, with the consents that each needs.
///
/// # Errors
/// The key is not there.
pub fn signed(keys: &Keys) -> Result<String> {
    let pem = keys.read("agreement.pem")?;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&STANDARD.decode(body)?);
    let key = key.ok().context("agreement.pem is no Ed25519 key")?;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": AGREEMENT_KEY_ID })), part(&claims()));
    let signature = key.sign(text.as_bytes());
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
}

fn claims() -> Value {
    let (none, offers, profiling) = (json!([]), json!(["partner_offers(ioc)"]), json!(["profiling"]));
    json!({
        "agreement_id": domain::new_id(), "recipient": "ioc", "purposes": ["ioc_newsletter"],
        "legal_basis": "consent", "not_before": "2026-01-01T00:00:00Z", "not_after": "2034-01-01T00:00:00Z",
        "on_end": "delete",
        "fields": {
            "Kotinos_Id__c": none, "Email": none, "Email_Raw__c": none, "Email_Class__c": none,
            "MailingCountryCode": none, "Consent_Communication__c": none, "Email_Language__c": none,
            "Direct_Marketing__c": none,
            "FirstName": offers, "LastName": offers, "MailingPostalCode": offers, "Prefecture__c": offers,
            "Address_1__c": offers, "Address_2__c": offers, "Phone": offers,
            "Birthdate": profiling, "Gender__c": profiling, "Favourite_Olympic__c": profiling,
            "Favourite_Paralympic__c": profiling,
        }
    })
}
