use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256,
    },
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const URL: &str = "https://id.example/oauth2/token";

fn now() -> DateTime<Utc> {
    "2026-07-24T10:00:00Z".parse().unwrap()
}

fn expected() -> Expected<'static> {
    Expected { method: "POST", url: URL, access_token: None, now: now() }
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Sign = dyn Fn(&[u8]) -> Vec<u8>;

struct Signer {
    jwk: Value,
    alg: &'static str,
    sign: Box<Sign>,
}

impl Signer {
    fn es256() -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])});
        let sign = move |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        Self { jwk, alg: "ES256", sign: Box::new(sign) }
    }

    fn ps256() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
        let jwk = json!({
            "kty": "RSA", "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero()),
        });
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        Self { jwk, alg: "PS256", sign: Box::new(sign) }
    }

    fn eddsa() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key())});
        Self { jwk, alg: "EdDSA", sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()) }
    }

    fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk})
    }

    fn proof(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        format!("{input}.{}", text((self.sign)(input.as_bytes())))
    }
}

fn claims() -> Value {
    json!({"jti": "1", "htm": "POST", "htu": URL, "iat": now().timestamp()})
}

#[test]
fn a_proof_of_each_algorithm_counts() {
    for signer in [Signer::es256(), Signer::ps256(), Signer::eddsa()] {
        let proof = verify(&signer.proof(&signer.header(), &claims()), &expected()).unwrap();
        assert!(is_thumbprint(&proof.jkt));
        assert_eq!((proof.jti.as_str(), proof.nonce), ("1", None));
        assert_eq!(proof.until, now().timestamp() + 60);
    }
    let names: Vec<_> = [Signer::es256(), Signer::ps256(), Signer::eddsa()].map(|signer| signer.alg).to_vec();
    assert_eq!(names, ALGORITHMS);
}

#[test]
fn the_proof_of_the_standard_counts() {
    // RFC 9449 4.1, figure 1.
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let at = DateTime::from_timestamp(1_562_262_616, 0).unwrap();
    let expected = Expected { url: "https://server.example.com/token", now: at, ..expected() };
    let proof = verify(proof, &expected).unwrap();
    assert_eq!(proof.jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn one_wrong_claim_is_enough() {
    let signer = Signer::es256();
    let at = now().timestamp();
    for (name, wrong) in [
        ("jti", json!(null)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("htm", json!(null)),
        ("htm", json!("GET")),
        ("htm", json!("post")),
        ("htu", json!(null)),
        ("htu", json!("https://id.example/oauth2/par")),
        ("iat", json!(null)),
        ("iat", json!("now")),
        ("iat", json!(at - 61)),
        ("iat", json!(at + 61)),
        ("iat", json!(i64::MIN)),
        ("iat", json!(i64::MAX)),
        ("exp", json!(at - 60)),
        ("nbf", json!(at + 61)),
        ("nonce", json!(1)),
    ] {
        let mut claims = claims();
        claims[name] = wrong.clone();
        assert!(verify(&signer.proof(&signer.header(), &claims), &expected()).is_err(), "{name} {wrong}");
    }
    for at in [at - 60, at + 60] {
        let mut claims = claims();
        claims["iat"] = json!(at);
        assert!(verify(&signer.proof(&signer.header(), &claims), &expected()).is_ok(), "{at}");
    }
}

#[test]
fn one_wrong_header_is_enough() {
    let signer = Signer::es256();
    let mut with_private = signer.jwk.clone();
    with_private["d"] = json!("AAAA");
    for (name, wrong) in [
        ("typ", json!(null)),
        ("typ", json!("JWT")),
        ("alg", json!(null)),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("PS256")),
        ("jwk", json!(null)),
        ("jwk", json!("key")),
        ("jwk", with_private),
        ("jwk", Signer::es256().jwk),
        ("crit", json!(["exp"])),
    ] {
        let mut header = signer.header();
        header[name] = wrong.clone();
        assert!(verify(&signer.proof(&header, &claims()), &expected()).is_err(), "{name} {wrong}");
    }
    let mut header = signer.header();
    header["new"] = json!(true);
    assert!(verify(&signer.proof(&header, &claims()), &expected()).is_ok(), "unknown members do no harm");
}

#[test]
fn the_access_token_belongs_to_the_proof() {
    let signer = Signer::es256();
    let with = Expected { access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"), ..expected() };
    let mut claims = claims();
    assert!(verify(&signer.proof(&signer.header(), &claims), &with).is_err());
    // RFC 9449 7.1
    claims["ath"] = json!("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    let proof = signer.proof(&signer.header(), &claims);
    assert!(verify(&proof, &with).is_ok());
    assert!(verify(&proof, &Expected { access_token: Some("another"), ..with }).is_err());
}

#[test]
fn a_url_is_compared_in_its_normal_form() {
    for same in [
        URL,
        "https://id.example/oauth2/token?x=1#y",
        "HTTPS://ID.Example/oauth2/token",
        "https://id.example:443/oauth2/token",
        "https://id.example/oauth2/%74oken",
        "https://id.example/x/../oauth2/token",
    ] {
        assert!(is_same_url(same, URL), "{same}");
    }
    for other in [
        "",
        "/oauth2/token",
        "http://id.example/oauth2/token",
        "https://id.example:8443/oauth2/token",
        "https://id.example/oauth2/token/",
        "https://id.example/OAUTH2/token",
        "https://id.example/oauth2%2Ftoken",
        "https://id.example.evil.example/oauth2/token",
        "https://id.example@evil.example/oauth2/token",
        "https://user@id.example/oauth2/token",
        "https://id.example/oauth2/token%00",
        "https://id.example/oauth2/tok%é",
    ] {
        assert!(!is_same_url(other, URL), "{other}");
    }
    assert!(is_same_url("https://id.example/%c3%a9", "https://id.example/%C3%A9"));
}

#[test]
fn garbage_is_refused() {
    for garbage in ["", ".", "..", "a.b.c", "é.é.é", &"x".repeat(5_000), &"e30.".repeat(3)] {
        assert!(verify(garbage, &expected()).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,300}") {
        prop_assert!(verify(&text, &expected()).is_err());
    }

    #[test]
    fn no_header_or_claims_panic(header in ".{0,200}", claims in ".{0,200}", signature in any::<[u8; 64]>()) {
        let proof = format!("{}.{}.{}", text(header), text(claims), text(signature));
        prop_assert!(verify(&proof, &expected()).is_err());
    }

    #[test]
    fn no_key_panics(x in any::<[u8; 32]>(), y in any::<[u8; 32]>(), signature in any::<[u8; 64]>()) {
        for jwk in [
            json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": text(x)}),
            json!({"kty": "RSA", "n": text([&x[..], &y[..]].concat().repeat(4)), "e": text(&x[..3])}),
        ] {
            for alg in ALGORITHMS {
                let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk});
                let proof = format!("{}.{}.{}", text(header.to_string()), text(claims().to_string()), text(signature));
                prop_assert!(verify(&proof, &expected()).is_err());
            }
        }
    }

    #[test]
    fn no_changed_byte_passes(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let signer = Signer::es256();
        let right = signer.proof(&signer.header(), &claims());
        let mut bytes = right.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(verify(&changed, &expected()).is_err());
        }
    }
}
