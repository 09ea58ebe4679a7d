use axum::{body::Bytes, response::Response};
use minijinja::{Value, context};
use qrcodegen::{QrCode, QrCodeEcc};

use super::{Account, done, fresh_session, write};
use crate::{
    http::{
        Page, page,
        page::{Failure, View},
        passkey::refused,
        sign_in::wrong,
        sign_up::digits_of,
        visitor::Visitor,
    },
    pages::FieldError,
    progress::{Progress, Step},
    session::Session,
    totp::Secret,
    words,
};

/// GET `/account/security/totp`: a secret for the user's app.
pub async fn show(visitor: Visitor) -> Page {
    let session = match fresh_session(&visitor).await? {
        Ok(session) => session,
        Err(elsewhere) => return Ok(elsewhere),
    };
    if visitor.app().second_factor(session.user_id).await?.is_some() {
        return page::see_other("/account/security");
    }
    let (secret, sealed) = visitor.app().new_secret(session.user_id, visitor.browser())?;
    write_secret(&visitor, &session, &secret, &sealed, Vec::new()).await
}

/// POST `/account/security/totp`: turns the codes on or off.
pub async fn change(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Account, fields.get("ctx"))?;
    let session = match fresh_session(&visitor).await? {
        Ok(session) => session,
        Err(elsewhere) => return Ok(elsewhere),
    };
    if fields.get("action") == Some("remove") {
        visitor.app().turn_codes_off(session.user_id, visitor.origin).await?;
        return done("codes_off");
    }
    let sealed = fields.get("secret").unwrap_or_default();
    let secret = visitor.app().open_new_secret(session.user_id, visitor.browser(), sealed);
    let secret = secret.ok_or(Failure::Refused("error_expired"))?;
    let locale = visitor.locale(None);
    let name = match digits_of(fields.get("code").unwrap_or_default()) {
        None => "invalid_totp",
        Some(digits) => {
            match visitor.app().turn_codes_on(&session, &secret, &digits, visitor.origin).await? {
                Some(on) => {
                    let mut page = write_codes(&visitor, &on.recovery_codes).await?;
                    visitor.keep_session(&mut page, &on.session);
                    return Ok(page);
                }
                None => "wrong_totp",
            }
        }
    };
    write_secret(&visitor, &session, &secret, sealed, vec![wrong(locale, "code", name)]).await
}

/// POST `/account/security/recovery-codes`: new ones in the place of the old.
pub async fn renew(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Account, fields.get("ctx"))?;
    let session = match fresh_session(&visitor).await? {
        Ok(session) => session,
        Err(elsewhere) => return Ok(elsewhere),
    };
    match visitor.app().renew_recovery_codes(session.user_id, visitor.origin).await? {
        Some(codes) => write_codes(&visitor, &codes).await,
        None => write(&visitor, &session, refused(visitor.locale(None), "error_request")).await,
    }
}

// The answer to a post, and never again.
async fn write_codes(visitor: &Visitor, codes: &[String]) -> Result<Response, Failure> {
    let locale = visitor.locale(None);
    let content = context! { codes => codes.to_vec() };
    let view = View::new("recovery_codes.html", locale, "recovery_codes_title", content);
    visitor.write(locale, view).await
}

async fn write_secret(
    visitor: &Visitor,
    session: &Session,
    secret: &Secret,
    sealed: &str,
    errors: Vec<FieldError>,
) -> Page {
    let locale = visitor.locale(None);
    let user = visitor.app().own_user(session.user_id).await?;
    let address = user.email.as_str().unwrap_or_default();
    let uri = secret.to_uri(words::text(locale, "site"), address);
    let content = context! {
        ctx => visitor.seal(Step::Account, Progress::default())?,
        secret => secret.to_text(), picture => picture(&uri), uri, sealed,
    };
    let view = View::new("totp.html", locale, "totp_set_up_title", content);
    visitor.write(locale, view.with_errors(errors)).await
}

/// The path of a QR code's dark modules (SVG), and its width with the quiet zone; nothing when the text is too long.
fn picture(text: &str) -> Option<Value> {
    const QUIET: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    Some(context! { path, width => code.size() + 2 * QUIET })
}

/// What the user's page says of the codes.
pub async fn content(visitor: &Visitor, account: &Account<'_>) -> Result<Option<Value>, Failure> {
    let own = visitor.app().second_factor(account.session.user_id).await?;
    Ok(own.map(|own| context! { since => own.since.timestamp(), left => own.codes_left }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_quiet_zone_and_a_limit() {
        let found =
            picture("otpauth://totp/Kotinos%20ID:alice%40example.jp?secret=GEZDGNBVGY3TQOJQ").unwrap();
        let path = found.get_attr("path").unwrap().to_string();
        // The corner of the first finder pattern.
        assert!(path.starts_with("M4 4h1v1h-1zM5 4h1v1h-1z"), "{path}");
        assert!(picture(&"x".repeat(5_000)).is_none());
    }
}
