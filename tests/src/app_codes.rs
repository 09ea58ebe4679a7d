//! An app for one-time codes (RFC 6238), as somebody has it on the phone.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use domain::Clock;
use url::Url;

use crate::WebVisitor;

/// The letters of base32 (RFC 4648 6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Turns codes on for somebody who has just signed in at identity: the app reads the key off the page and shows a code.
///
/// # Errors
/// A page that is not as expected.
pub async fn turn_on(browser: &mut WebVisitor, issuer: &str) -> Result<()> {
    let address = Url::parse(issuer)?.join("/account/security/totp")?;
    let page = browser.visit(address.as_str()).await?.ok()?;
    let key = page.texts("main code").into_iter().next().context("the page shows no key")?;
    let mut form = page.form_with("input[autocomplete=one-time-code]")?;
    form.fill("code", &code(&secret(&key)?, Clock::system().now().timestamp()))?;
    let page = browser.submit(form).await?.ok()?;
    let codes = page.texts("main ol code");
    ensure!(codes.len() == 10, "identity shows {} recovery codes", codes.len());
    Ok(())
}

fn secret(key: &str) -> Result<Vec<u8>> {
    let (mut bits, mut held, mut secret) = (0_u32, 0, Vec::new());
    for letter in key.bytes().filter(|letter| *letter != b' ') {
        let value = BASE32.iter().position(|own| *own == letter).context("a key is base32")?;
        bits = (bits << 5 | u32::try_from(value)?) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            secret.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(secret)
}

fn code(secret: &[u8], at: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &(at / 30).to_be_bytes());
    let tag = tag.as_ref();
    let from = usize::from(tag[tag.len() - 1] & 15);
    let number = tag[from..].iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238 appendix B.
        let secret = secret("GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ").unwrap();
        assert_eq!(secret, b"12345678901234567890");
        assert_eq!(code(&secret, 1_111_111_109), "081804");
        assert_eq!(code(&secret, 59), "287082");
    }
}
