//! A soft authenticator: it reads what a page asks of the browser, and answers as a security key does. It writes its CBOR
//! by hand, so that it shares no code with what reads it.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use scraper::{Html, Selector};

use crate::{
    browser::{Arrived, Browser, Form, Page},
    world::ISSUER,
};

pub const PRESENT: u8 = 0x01;
pub const VERIFIED: u8 = 0x04;
pub const ELIGIBLE: u8 = 0x08;
const HAS_CREDENTIAL: u8 = 0x40;

/// How it answers; wrongly in a test of refusals.
#[derive(Debug, Clone)]
pub struct Manner {
    pub origin: &'static str,
    pub rp: &'static str,
    pub flags: u8,
    pub kind: Option<&'static str>,
    pub challenge: Option<String>,
    pub count: Option<u32>,
    pub user: Option<Vec<u8>>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            origin: ISSUER,
            rp: "id.example",
            flags: PRESENT | VERIFIED,
            kind: None,
            challenge: None,
            count: None,
            user: None,
        }
    }
}

/// With one passkey.
pub struct Authenticator {
    pair: EcdsaKeyPair,
    pub credential_id: Vec<u8>,
    pub user: Vec<u8>,
    pub count: u32,
}

type Fields = Vec<(&'static str, String)>;

impl Authenticator {
    pub fn new() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            credential_id: domain::new_id().as_bytes().to_vec(),
            user: Vec::new(),
            count: 0,
        }
    }

    /// Makes its passkey for the page's form and sends the form off.
    pub async fn register(&mut self, browser: &mut Browser<'_>, page: &Page) -> Arrived {
        self.register_as(browser, page, &Manner::default()).await
    }

    pub async fn register_as(&mut self, browser: &mut Browser<'_>, page: &Page, manner: &Manner) -> Arrived {
        let fields = self.made(page, manner);
        browser.submit(&form_with(page, "create", &fields), None).await
    }

    /// Signs the page's challenge and sends the form off.
    pub async fn sign_in(&mut self, browser: &mut Browser<'_>, page: &Page) -> Arrived {
        self.sign_in_as(browser, page, &Manner::default()).await
    }

    pub async fn sign_in_as(&mut self, browser: &mut Browser<'_>, page: &Page, manner: &Manner) -> Arrived {
        let fields = self.signed(page, manner);
        browser.submit(&form_with(page, "get", &fields), None).await
    }

    pub fn made(&mut self, page: &Page, manner: &Manner) -> Fields {
        assert_eq!(data(page, "create", "rp"), "id.example");
        assert!(data(page, "create", "algorithms").split(' ').any(|alg| alg == "-7"));
        self.user = URL_SAFE_NO_PAD.decode(data(page, "create", "user")).unwrap();
        let mut credential = vec![0; 16];
        credential.extend_from_slice(&u16::try_from(self.credential_id.len()).unwrap().to_be_bytes());
        credential.extend_from_slice(&self.credential_id);
        credential.extend_from_slice(&self.cose_key());
        let data = self.data(manner, HAS_CREDENTIAL, &credential);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend_from_slice(&data);
        let client = client_data(page, "create", "webauthn.create", manner);
        vec![("client_data", URL_SAFE_NO_PAD.encode(client)), ("attestation", URL_SAFE_NO_PAD.encode(object))]
    }

    pub fn signed(&mut self, page: &Page, manner: &Manner) -> Fields {
        assert_eq!(data(page, "get", "rp"), "id.example");
        let client = client_data(page, "get", "webauthn.get", manner);
        let data = self.data(manner, 0, &[]);
        let message = [data.as_slice(), digest(&SHA256, client.as_bytes()).as_ref()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &message).unwrap();
        let user = manner.user.as_ref().unwrap_or(&self.user);
        vec![
            ("credential_id", URL_SAFE_NO_PAD.encode(&self.credential_id)),
            ("user_handle", URL_SAFE_NO_PAD.encode(user)),
            ("client_data", URL_SAFE_NO_PAD.encode(client)),
            ("authenticator_data", URL_SAFE_NO_PAD.encode(data)),
            ("signature", URL_SAFE_NO_PAD.encode(signature)),
        ]
    }

    // {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    fn cose_key(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let mut key = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".to_vec();
        key.extend_from_slice(&point[1..33]);
        key.extend_from_slice(b"\x22\x58\x20");
        key.extend_from_slice(&point[33..]);
        key
    }

    fn data(&mut self, manner: &Manner, more: u8, rest: &[u8]) -> Vec<u8> {
        self.count += 1;
        let mut data = digest(&SHA256, manner.rp.as_bytes()).as_ref().to_vec();
        data.push(manner.flags | more);
        data.extend_from_slice(&manner.count.unwrap_or(self.count).to_be_bytes());
        data.extend_from_slice(rest);
        data
    }
}

fn client_data(page: &Page, form: &str, kind: &str, manner: &Manner) -> String {
    let challenge = manner.challenge.clone().unwrap_or_else(|| data(page, form, "challenge"));
    let (kind, origin) = (manner.kind.unwrap_or(kind), manner.origin);
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#)
}

/// What the page's script would read.
pub fn data(page: &Page, form: &str, name: &str) -> String {
    let html = Html::parse_document(&page.html);
    let forms = Selector::parse(&format!("form[data-passkey={form}]")).unwrap();
    let form = html.select(&forms).next().unwrap_or_else(|| panic!("no form: {}", page.html));
    form.attr(&format!("data-{name}")).unwrap_or_default().to_owned()
}

/// The page's form with what the script would add.
pub fn form_with(page: &Page, form: &str, fields: &[(&str, String)]) -> Form {
    let mut all = page.forms().into_iter();
    let mut form = all.find(|own| own.passkey.as_deref() == Some(form)).expect("a form for a passkey");
    for (name, value) in fields {
        form.set(name, value);
    }
    form
}
