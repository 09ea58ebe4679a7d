//! An app for one-time codes (RFC 6238), as a user has it on the phone.

use aws_lc_rs::hmac;
use domain::{DateTime, Utc};
use scraper::{Html, Selector};

use crate::{
    browser::{Asks, Browser, Page},
    world::World,
};

/// One entry of the app.
#[derive(Debug, Clone)]
pub struct AppCodes {
    secret: Vec<u8>,
}

impl AppCodes {
    /// Reads the key off the page that sets codes up.
    pub fn scan(page: &Page) -> Self {
        let text = texts(page, "code").remove(0);
        let mut bits = (0_u64, 0);
        let mut secret = Vec::new();
        for letter in text.bytes().filter(|byte| *byte != b' ') {
            let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|own| *own == letter).unwrap();
            bits = (bits.0 << 5 | u64::try_from(value).unwrap(), bits.1 + 5);
            if bits.1 >= 8 {
                bits.1 -= 8;
                secret.push(u8::try_from(bits.0 >> bits.1 & 0xff).unwrap());
            }
        }
        Self { secret }
    }

    /// What it shows at a time.
    pub fn code(&self, at: DateTime<Utc>) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &(at.timestamp() / 30).to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

/// The texts of elements.
pub fn texts(page: &Page, selector: &str) -> Vec<String> {
    let html = Html::parse_document(&page.html);
    html.select(&Selector::parse(selector).unwrap()).map(|element| element.text().collect()).collect()
}

/// Turns codes on for a person who has just signed in; the app, and the recovery codes.
pub async fn turn_on(world: &World, browser: &mut Browser<'_>) -> (AppCodes, Vec<String>) {
    let page = browser.open("/account/security/totp").await.page();
    let app = AppCodes::scan(&page);
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, &app.code(world.app.clock.now()));
    let page = browser.submit(&form, None).await.page();
    assert_eq!(page.status, 200, "{}", page.text());
    (app, texts(&page, "ol code"))
}
