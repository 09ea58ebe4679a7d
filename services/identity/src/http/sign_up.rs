use axum::body::Bytes;
use domain::{EmailAddress, UserId};
use minijinja::context;

use super::{
    Page, authorize, new_password,
    page::{Failure, View},
    passkey,
    sign_in::{carried_or_new, kept, too_many, with_wait, wrong},
    visitor::Visitor,
};
use crate::{
    app::{Asked, CodeAnswer, Completed, Entering, NewChallenge},
    authorization::Request,
    ceremony,
    challenge::{Challenge, Purpose},
    pages::FieldError,
    params::Params,
    progress::{Progress, Step},
    words,
};

/// Where a new user without a client's request goes.
const WELCOME: &str = "/account/security?welcome=1";

/// GET `/signup`
pub async fn show(visitor: Visitor) -> Page {
    let (progress, ctx) = carried_or_new(&visitor)?;
    let hint = progress.request.as_ref().and_then(|request| request.login_hint.clone()).unwrap_or_default();
    write_form(&visitor, progress.request.as_ref(), &ctx, &hint, Vec::new()).await
}

/// POST `/signup`: known and unknown addresses get the same answer.
pub async fn submit(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let ctx = fields.get("ctx").unwrap_or_default();
    let request = visitor.open(Step::SignIn, Some(ctx))?.request;
    let locale = visitor.locale(request.as_ref());
    let email = fields.get("email").unwrap_or_default();
    let Ok(address) = EmailAddress::conforming(email) else {
        let errors = vec![wrong(locale, "email", "invalid_email")];
        return write_form(&visitor, request.as_ref(), ctx, email, errors).await;
    };
    let new = NewChallenge { address, locale, request: request.clone(), browser: visitor.browser() };
    match visitor.app().ask_for_proof(Purpose::SignUp, new, visitor.origin).await? {
        Asked::Mailed(challenge_id) => {
            let progress = Progress { challenge_id: Some(challenge_id), ..Progress::of(request) };
            visitor.go_on("/signup/verify", Step::Verify, progress)
        }
        Asked::Wait(wait) => {
            let page =
                write_form(&visitor, request.as_ref(), ctx, email, vec![too_many(locale, wait)]).await?;
            Ok(with_wait(page, wait))
        }
    }
}

async fn write_form(
    visitor: &Visitor,
    request: Option<&Request>,
    ctx: &str,
    email: &str,
    errors: Vec<FieldError>,
) -> Page {
    let locale = visitor.locale(request);
    let content = context! { ctx, email => kept(email) };
    let view = View {
        here: Some(format!("/signup?ctx={ctx}")),
        ..View::new("signup.html", locale, "signup_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

/// GET `/signup/verify`: waits for the mail, or is what its link opens. It never consumes a link, since scanners follow
/// links too.
pub async fn show_proof(visitor: Visitor) -> Page {
    if let Some(link) = visitor.query.get("t") {
        return show_link(&visitor, link).await;
    }
    let (progress, ctx) = visitor.carried(Step::Verify)?;
    write_wait(&visitor, &progress, &ctx, Vec::new()).await
}

async fn show_link(visitor: &Visitor, link: &str) -> Page {
    let open = visitor
        .app()
        .find_link(Purpose::SignUp, link, visitor.browser())
        .await?
        .ok_or(Failure::Refused("error_link"))?;
    let locale = visitor.locale(open.request.as_ref());
    let content = context! { link, address => open.challenge.address.masked() };
    let view = View {
        here: Some(format!("/signup/verify?t={link}")),
        ..View::new("link.html", locale, "link_title", content).within(open.request.as_ref())
    };
    visitor.write(locale, view).await
}

/// POST `/signup/verify`: the button of a link's page, or six digits.
pub async fn prove(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    if let Some(link) = fields.get("t") {
        let open = visitor
            .app()
            .find_link(Purpose::SignUp, link, visitor.browser())
            .await?
            .ok_or(Failure::Refused("error_link"))?;
        let progress =
            Progress { challenge_id: Some(open.challenge.challenge_id), ..Progress::of(open.request) };
        return visitor.go_on("/signup/complete", Step::Complete, progress);
    }
    let ctx = fields.get("ctx").unwrap_or_default();
    let progress = visitor.open(Step::Verify, Some(ctx))?;
    let challenge_id = progress.challenge_id.ok_or(Failure::Refused("error_expired"))?;
    let locale = visitor.locale(progress.request.as_ref());
    let digits = digits_of(fields.get("code").unwrap_or_default());
    let name = match digits {
        None => "invalid_code",
        Some(digits) => match visitor.app().check_code(challenge_id, &digits).await? {
            CodeAnswer::Right => return visitor.go_on("/signup/complete", Step::Complete, progress),
            CodeAnswer::Wrong => "wrong_code",
            CodeAnswer::Over => "code_over",
        },
    };
    write_wait(&visitor, &progress, ctx, vec![wrong(locale, "code", name)]).await
}

async fn write_wait(visitor: &Visitor, progress: &Progress, ctx: &str, errors: Vec<FieldError>) -> Page {
    let challenge = challenge_of(visitor, progress).await?;
    let request = progress.request.as_ref();
    let locale = visitor.locale(request);
    let again = visitor.seal(Step::SignIn, Progress::of(request.cloned()))?;
    let content = context! { ctx, again, address => challenge.address.as_str() };
    let view = View {
        here: Some(format!("/signup/verify?ctx={ctx}")),
        ..View::new("verify.html", locale, "verify_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

/// The challenge that a page is about.
pub async fn challenge_of(visitor: &Visitor, progress: &Progress) -> Result<Challenge, Failure> {
    let expired = Failure::Refused("error_expired");
    let Some(challenge_id) = progress.challenge_id else { return Err(expired) };
    visitor.app().find_challenge(challenge_id).await?.ok_or(expired)
}

/// GET `/signup/complete`: the address is proved.
pub async fn show_password(visitor: Visitor) -> Page {
    let (progress, ctx) = visitor.carried(Step::Complete)?;
    let challenge = challenge_of(&visitor, &progress).await?;
    if !challenge.is_open(Purpose::SignUp, visitor.app().now()) {
        return Err(Failure::Refused("error_link"));
    }
    write_password(&visitor, progress.request.as_ref(), &challenge, &ctx, Vec::new()).await
}

/// POST `/signup/complete`: makes the user.
pub async fn complete(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let ctx = fields.get("ctx").unwrap_or_default();
    let progress = visitor.open(Step::Complete, Some(ctx))?;
    let challenge = challenge_of(&visitor, &progress).await?;
    let locale = visitor.locale(progress.request.as_ref());
    if fields.get("attestation").is_some() {
        return complete_by_passkey(&visitor, &fields, progress, &challenge).await;
    }
    let password = match new_password::read(&visitor, &fields, &challenge.address, locale).await? {
        Ok(password) => password,
        Err(error) => {
            return write_password(&visitor, progress.request.as_ref(), &challenge, ctx, vec![error]).await;
        }
    };
    let current = visitor.session().await?;
    let entering = Entering { current, request: progress.request, origin: visitor.origin };
    match visitor.app().complete_sign_up(&challenge, password, entering).await? {
        Completed::Done(entered) => authorize::enter(&visitor, *entered, WELCOME).await,
        Completed::Wrong | Completed::Over => Err(Failure::Refused("error_link")),
    }
}

async fn complete_by_passkey(
    visitor: &Visitor,
    fields: &Params,
    progress: Progress,
    challenge: &Challenge,
) -> Page {
    let locale = visitor.locale(progress.request.as_ref());
    let ceremony = passkey::ceremony(visitor, fields, ceremony::Purpose::SignUp);
    let made = passkey::made(fields, words::text(locale, "passkey_unnamed").to_owned());
    let completed = match (ceremony, made) {
        (Some(ceremony), Some(made)) => {
            let (app, current) = (visitor.app(), visitor.session().await?);
            let entering = Entering { current, request: progress.request.clone(), origin: visitor.origin };
            app.complete_sign_up_by_passkey(challenge, &ceremony, &made, entering).await?
        }
        _ => Completed::Wrong,
    };
    match completed {
        Completed::Done(entered) => authorize::enter(visitor, *entered, WELCOME).await,
        Completed::Wrong => {
            let (request, ctx) = (progress.request.as_ref(), fields.get("ctx").unwrap_or_default());
            let refused = passkey::refused(locale, "passkey_not_made");
            write_password(visitor, request, challenge, ctx, refused).await
        }
        Completed::Over => Err(Failure::Refused("error_link")),
    }
}

async fn write_password(
    visitor: &Visitor,
    request: Option<&Request>,
    challenge: &Challenge,
    ctx: &str,
    errors: Vec<FieldError>,
) -> Page {
    let locale = visitor.locale(request);
    let address = challenge.address.as_str().unwrap_or_default();
    let purpose = ceremony::Purpose::SignUp;
    let passkey = passkey::to_make(visitor, locale, purpose, UserId::new(), address, &[])?;
    let content = context! { ctx, address, passkey };
    let view = View {
        here: Some(format!("/signup/complete?ctx={ctx}")),
        leads_to: request.map(|request| request.redirect_uri.as_str()),
        ..View::new("complete.html", locale, "complete_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

/// Six digits, also full-width ones and with spaces between, as input methods and people write them.
pub fn digits_of(text: &str) -> Option<String> {
    let narrow = |letter: char| match letter {
        '０'..='９' => char::from_digit(letter as u32 - '０' as u32, 10).unwrap_or(letter),
        _ => letter,
    };
    let digits: String = text.chars().take(40).filter(|letter| !letter.is_whitespace()).map(narrow).collect();
    (digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_people_write_them() {
        for right in ["123456", " 123 456 ", "１２３４５６", "１２３　４５６"] {
            assert_eq!(digits_of(right).as_deref(), Some("123456"), "{right}");
        }
        for wrong in ["", "12345", "1234567", "12345a", "'; drop", "٣٤٥٦٧٨"] {
            assert_eq!(digits_of(wrong), None, "{wrong}");
        }
    }
}
