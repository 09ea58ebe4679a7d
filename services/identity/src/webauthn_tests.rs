use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use ciborium::Value;
use proptest::prelude::*;

use super::*;
use crate::cose::tests::es256;

const PARTY: RelyingParty<'static> = RelyingParty { id: "id.example", origin: "https://id.example" };
const CHALLENGE: &[u8] = b"0123456789abcdef0123456789abcdef";
const GOOD: u8 = PRESENT | VERIFIED;

fn client_data(kind: &str, challenge: &[u8], origin: &str, more: &str) -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more}}}"#).into_bytes()
}

fn authenticator_data(party: &str, flags: u8, sign_count: u32, rest: &[u8]) -> Vec<u8> {
    let mut data = digest(&SHA256, party.as_bytes()).as_ref().to_vec();
    data.push(flags);
    data.extend_from_slice(&sign_count.to_be_bytes());
    data.extend_from_slice(rest);
    data
}

fn attestation(data: &[u8]) -> Vec<u8> {
    let map = vec![
        (Value::from("fmt"), Value::from("none")),
        (Value::from("attStmt"), Value::Map(vec![])),
        (Value::from("authData"), Value::from(data.to_vec())),
    ];
    let mut bytes = Vec::new();
    ciborium::into_writer(&Value::Map(map), &mut bytes).unwrap();
    bytes
}

fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
}

fn credential(pair: &EcdsaKeyPair) -> Vec<u8> {
    let mut bytes = vec![7; 16];
    bytes.extend_from_slice(&[0, 3, 1, 2, 3]);
    bytes.extend_from_slice(&es256(pair.public_key().as_ref()));
    bytes
}

fn registered(flags: u8, rest: &[u8]) -> Result<Registered, Invalid> {
    let data = authenticator_data("id.example", flags, 0, rest);
    let client = client_data("webauthn.create", CHALLENGE, PARTY.origin, "");
    register(PARTY, CHALLENGE, &client, &attestation(&data))
}

struct Signed {
    client: Vec<u8>,
    data: Vec<u8>,
    signature: Vec<u8>,
}

fn signed(pair: &EcdsaKeyPair, client: Vec<u8>, data: Vec<u8>) -> Signed {
    let message = [data.as_slice(), digest(&SHA256, &client).as_ref()].concat();
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec();
    Signed { client, data, signature }
}

fn judged(pair: &EcdsaKeyPair, sign_count: u32, eligible: bool, signed: &Signed) -> Result<Used, Invalid> {
    let public_key = es256(pair.public_key().as_ref());
    let known = Known { public_key: &public_key, sign_count, backup_eligible: eligible };
    let assertion = Assertion {
        client_data: &signed.client,
        authenticator_data: &signed.data,
        signature: &signed.signature,
    };
    sign_in(PARTY, CHALLENGE, known, assertion)
}

fn right_client() -> Vec<u8> {
    client_data("webauthn.get", CHALLENGE, PARTY.origin, r#","crossOrigin":false,"other_keys":{"a":[1]}"#)
}

#[test]
fn a_new_passkey_is_taken_with_its_key_and_flags() {
    let pair = pair();
    let eligible =
        registered(GOOD | HAS_CREDENTIAL | BACKUP_ELIGIBLE | BACKED_UP, &credential(&pair)).unwrap();
    assert_eq!(eligible.credential_id, [1, 2, 3]);
    assert_eq!(eligible.public_key, es256(pair.public_key().as_ref()));
    assert!(eligible.backup_eligible && eligible.backed_up);
    // Extensions that nobody asked for follow the key.
    let mut extended = credential(&pair);
    extended.extend_from_slice(&[0xa1, 0x61, 0x61, 0xf5]);
    let with_extensions = registered(GOOD | HAS_CREDENTIAL | HAS_EXTENSIONS, &extended).unwrap();
    assert_eq!(with_extensions.public_key, eligible.public_key);
    assert!(!with_extensions.backup_eligible);
}

#[test]
fn a_registration_that_breaks_a_rule_is_refused_for_it() {
    let credential = credential(&pair());
    assert_eq!(registered(VERIFIED | HAS_CREDENTIAL, &credential), Err(Invalid::NotPresent));
    assert_eq!(registered(PRESENT | HAS_CREDENTIAL, &credential), Err(Invalid::NotVerified));
    assert_eq!(registered(GOOD | HAS_CREDENTIAL | BACKED_UP, &credential), Err(Invalid::Backup));
    assert_eq!(registered(GOOD, &[]), Err(Invalid::Garbage));
    assert_eq!(registered(GOOD, &credential), Err(Invalid::Garbage));
    assert_eq!(registered(GOOD | HAS_CREDENTIAL, &credential[..30]), Err(Invalid::Garbage));
    assert_eq!(registered(GOOD | HAS_CREDENTIAL | HAS_EXTENSIONS, &credential), Err(Invalid::Garbage));
    let mut no_id = vec![0; 18];
    no_id.extend_from_slice(&credential[21..]);
    assert_eq!(registered(GOOD | HAS_CREDENTIAL, &no_id), Err(Invalid::Garbage));
    let mut no_key = credential[..21].to_vec();
    no_key.push(0xa0);
    assert_eq!(registered(GOOD | HAS_CREDENTIAL, &no_key), Err(Invalid::Key));
    let data = authenticator_data("id.example", GOOD | HAS_CREDENTIAL, 0, &credential);
    let client = client_data("webauthn.get", CHALLENGE, PARTY.origin, "");
    assert_eq!(register(PARTY, CHALLENGE, &client, &attestation(&data)), Err(Invalid::Type));
    let client = client_data("webauthn.create", CHALLENGE, PARTY.origin, "");
    assert_eq!(register(PARTY, CHALLENGE, &client, &data), Err(Invalid::Garbage));
    assert_eq!(register(PARTY, CHALLENGE, &client, &vec![0; LONGEST + 1]), Err(Invalid::Garbage));
}

#[test]
fn a_right_assertion_gives_counter_and_backup_state() {
    let pair = pair();
    let used = |count, known| {
        let data = authenticator_data("id.example", GOOD, count, &[]);
        judged(&pair, known, false, &signed(&pair, right_client(), data))
    };
    assert_eq!(used(0, 0), Ok(Used { sign_count: 0, backed_up: false }));
    assert_eq!(used(8, 7), Ok(Used { sign_count: 8, backed_up: false }));
    for (count, known) in [(7, 7), (6, 7), (0, 7)] {
        assert_eq!(used(count, known), Err(Invalid::Counter));
    }
    let data = authenticator_data("id.example", GOOD | BACKUP_ELIGIBLE | BACKED_UP, 0, &[]);
    let synced = signed(&pair, right_client(), data);
    assert_eq!(judged(&pair, 0, true, &synced), Ok(Used { sign_count: 0, backed_up: true }));
    assert_eq!(judged(&pair, 0, false, &synced), Err(Invalid::Backup));
}

#[test]
fn an_assertion_that_breaks_a_rule_is_refused_for_it() {
    let pair = pair();
    let right = authenticator_data("id.example", GOOD, 0, &[]);
    let by = |client: Vec<u8>, data: Vec<u8>| judged(&pair, 0, false, &signed(&pair, client, data));
    let client =
        |kind, challenge, origin, more| by(client_data(kind, challenge, origin, more), right.clone());
    let own = PARTY.origin;
    assert_eq!(client("webauthn.create", CHALLENGE, own, ""), Err(Invalid::Type));
    assert_eq!(client("webauthn.get", b"another", own, ""), Err(Invalid::Challenge));
    for origin in ["https://id.example.evil.example", "http://id.example", "https://id.example:8443", ""] {
        assert_eq!(client("webauthn.get", CHALLENGE, origin, ""), Err(Invalid::Origin));
    }
    for framed in [r#","crossOrigin":true"#, r#","topOrigin":"https://evil.example""#] {
        assert_eq!(client("webauthn.get", CHALLENGE, own, framed), Err(Invalid::Origin));
    }
    assert_eq!(by(b"{".to_vec(), right.clone()), Err(Invalid::Garbage));
    let data = |party, flags| by(right_client(), authenticator_data(party, flags, 0, &[]));
    assert_eq!(data("example", GOOD), Err(Invalid::RelyingParty));
    assert_eq!(data("id.example", VERIFIED), Err(Invalid::NotPresent));
    assert_eq!(data("id.example", PRESENT), Err(Invalid::NotVerified));
    assert_eq!(data("id.example", GOOD | BACKED_UP), Err(Invalid::Backup));
    assert_eq!(by(right_client(), right[..36].to_vec()), Err(Invalid::Garbage));
    let mut longer = right.clone();
    longer.push(0);
    assert_eq!(by(right_client(), longer), Err(Invalid::Garbage));
}

#[test]
fn a_signature_of_another_key_or_over_other_bytes_is_refused() {
    let (pair, other) = (pair(), self::pair());
    let right = authenticator_data("id.example", GOOD, 5, &[]);
    let foreign = signed(&other, right_client(), right.clone());
    assert_eq!(judged(&pair, 0, false, &foreign), Err(Invalid::Signature));
    let mut changed = signed(&pair, right_client(), right);
    changed.data[36] = 9;
    assert_eq!(judged(&pair, 0, false, &changed), Err(Invalid::Signature));
    changed.signature.clear();
    assert_eq!(judged(&pair, 0, false, &changed), Err(Invalid::Signature));
}

proptest! {
    #[test]
    fn no_bytes_panic_or_pass(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let client = client_data("webauthn.create", CHALLENGE, PARTY.origin, "");
        prop_assert!(register(PARTY, CHALLENGE, &client, &bytes).is_err());
        prop_assert!(register(PARTY, CHALLENGE, &client, &attestation(&bytes)).is_err());
        let data = authenticator_data("id.example", 0xff, 0, &bytes);
        prop_assert!(register(PARTY, CHALLENGE, &client, &attestation(&data)).is_err());
    }
}
