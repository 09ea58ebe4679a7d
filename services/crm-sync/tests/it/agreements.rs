//! Signed agreements.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

fn signing_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// The setting that trusts them.
pub fn agreement_keys() -> String {
    format!("legal-1:{}", BASE64_STANDARD.encode(signing_pair().public_key().as_ref()))
}

/// Signs an agreement as the README tells people to.
pub fn sign(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "legal-1" })), part(claims));
    let signature = signing_pair().sign(signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

/// The claims of the agreement with the IOC: every field of the shipped mapping, with what it needs.
pub fn agreement() -> Value {
    let (offers, profiling) = (json!(["partner_offers(ioc)"]), json!(["profiling"]));
    json!({
        "agreement_id": id(), "recipient": "ioc", "purposes": ["ioc_newsletter"], "legal_basis": "consent",
        "not_before": "2026-01-01T00:00:00Z", "not_after": "2034-01-01T00:00:00Z", "on_end": "delete",
        "fields": {
            "Kotinos_Id__c": [], "Email": [], "Email_Raw__c": [], "Email_Class__c": [], "MailingCountryCode": [],
            "Consent_Communication__c": [], "Email_Language__c": [], "Direct_Marketing__c": [],
            "FirstName": offers, "LastName": offers, "MailingPostalCode": offers, "Prefecture__c": offers,
            "Address_1__c": offers, "Address_2__c": offers, "Phone": offers,
            "Birthdate": profiling, "Gender__c": profiling, "Favourite_Olympic__c": profiling,
            "Favourite_Paralympic__c": profiling,
        }
    })
}

pub fn id() -> String {
    domain::new_id().to_string()
}
