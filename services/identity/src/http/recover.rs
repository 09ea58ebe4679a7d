//! A way back in by mail, for who has lost the password. Known and unknown addresses get the same pages.

use axum::body::Bytes;
use domain::{AddressClass, EmailAddress};
use minijinja::context;

use super::{
    Page, new_password,
    page::{Failure, View},
    sign_in::{carried_or_new, kept, too_many, with_wait, wrong},
    sign_up::{challenge_of, digits_of},
    visitor::Visitor,
};
use crate::{
    app::{Asked, CodeAnswer, NewChallenge, Recovered},
    authorization::Request,
    challenge::{Challenge, Purpose},
    pages::FieldError,
    params::Params,
    progress::{Progress, Step},
};

/// GET `/recover`
pub async fn show(visitor: Visitor) -> Page {
    let (progress, ctx) = carried_or_new(&visitor)?;
    let hint = progress.request.as_ref().and_then(|request| request.login_hint.clone()).unwrap_or_default();
    write_form(&visitor, progress.request.as_ref(), &ctx, &hint, Vec::new()).await
}

/// POST `/recover`
pub async fn submit(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let ctx = fields.get("ctx").unwrap_or_default();
    let request = visitor.open(Step::SignIn, Some(ctx))?.request;
    let locale = visitor.locale(request.as_ref());
    let email = fields.get("email").unwrap_or_default();
    // Some users have an address that nobody could sign up with any more.
    let address = EmailAddress::classify(email.trim().as_bytes()).ok();
    let Some(address) = address.filter(|address| address.class() != AddressClass::Unroutable) else {
        let errors = vec![wrong(locale, "email", "invalid_email")];
        return write_form(&visitor, request.as_ref(), ctx, email, errors).await;
    };
    let new = NewChallenge { address, locale, request: request.clone(), browser: visitor.browser() };
    match visitor.app().ask_for_proof(Purpose::Recover, new, visitor.origin).await? {
        Asked::Mailed(challenge_id) => {
            let progress = Progress { challenge_id: Some(challenge_id), ..Progress::of(request) };
            visitor.go_on("/recover/reset", Step::Recover, progress)
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
        here: Some(format!("/recover?ctx={ctx}")),
        ..View::new("recover.html", locale, "recover_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

/// GET `/recover/reset`: waits for the mail, is what its link opens, or takes a new password once the address is proved.
/// It never consumes a link, since scanners follow links too.
pub async fn show_reset(visitor: Visitor) -> Page {
    if let Some(link) = visitor.query.get("t") {
        return show_link(&visitor, link).await;
    }
    if let Ok((progress, ctx)) = visitor.carried(Step::Reset) {
        let challenge = open_challenge(&visitor, &progress).await?;
        return write_password(&visitor, progress.request.as_ref(), &challenge, &ctx, Vec::new()).await;
    }
    let (progress, ctx) = visitor.carried(Step::Recover)?;
    write_wait(&visitor, &progress, &ctx, Vec::new()).await
}

async fn show_link(visitor: &Visitor, link: &str) -> Page {
    let open = visitor.app().find_link(Purpose::Recover, link, visitor.browser()).await?;
    let open = open.ok_or(Failure::Refused("error_link"))?;
    let locale = visitor.locale(open.request.as_ref());
    let content = context! { link, address => open.challenge.address.masked() };
    let view = View {
        here: Some(format!("/recover/reset?t={link}")),
        ..View::new("recover_link.html", locale, "recover_title", content).within(open.request.as_ref())
    };
    visitor.write(locale, view).await
}

/// POST `/recover/reset`: the button of a link's page, six digits, or a new password.
pub async fn reset(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    if let Some(link) = fields.get("t") {
        let open = visitor.app().find_link(Purpose::Recover, link, visitor.browser()).await?;
        let open = open.ok_or(Failure::Refused("error_link"))?;
        return go_on_to_reset(&visitor, &open.challenge, open.request).await;
    }
    let ctx = fields.get("ctx").unwrap_or_default();
    if let Ok(progress) = visitor.open(Step::Reset, Some(ctx)) {
        return set_password(&visitor, progress, &fields, ctx).await;
    }
    let progress = visitor.open(Step::Recover, Some(ctx))?;
    let challenge_id = progress.challenge_id.ok_or(Failure::Refused("error_expired"))?;
    let locale = visitor.locale(progress.request.as_ref());
    let words = match digits_of(fields.get("code").unwrap_or_default()) {
        None => "invalid_code",
        Some(digits) => match visitor.app().check_code(challenge_id, &digits).await? {
            CodeAnswer::Right => {
                let challenge = challenge_of(&visitor, &progress).await?;
                return go_on_to_reset(&visitor, &challenge, progress.request).await;
            }
            CodeAnswer::Wrong => "wrong_code",
            CodeAnswer::Over => "code_over",
        },
    };
    write_wait(&visitor, &progress, ctx, vec![wrong(locale, "code", words)]).await
}

// Who holds the mailbox may go on here also with the old password, however many others guess at it.
async fn go_on_to_reset(visitor: &Visitor, challenge: &Challenge, request: Option<Request>) -> Page {
    let progress = Progress { challenge_id: Some(challenge.challenge_id), ..Progress::of(request) };
    let mut response = visitor.go_on("/recover/reset", Step::Reset, progress)?;
    if let Some(user_id) = challenge.user_id {
        visitor.app().forgive(user_id, visitor.browser()).await?;
        visitor.know(&mut response, user_id);
    }
    Ok(response)
}

async fn write_wait(visitor: &Visitor, progress: &Progress, ctx: &str, errors: Vec<FieldError>) -> Page {
    let challenge = challenge_of(visitor, progress).await?;
    let request = progress.request.as_ref();
    let locale = visitor.locale(request);
    let again = visitor.seal(Step::SignIn, Progress::of(request.cloned()))?;
    let content = context! { ctx, again, address => challenge.address.as_str() };
    let view = View {
        here: Some(format!("/recover/reset?ctx={ctx}")),
        ..View::new("recover_sent.html", locale, "verify_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

async fn open_challenge(visitor: &Visitor, progress: &Progress) -> Result<Challenge, Failure> {
    let challenge = challenge_of(visitor, progress).await?;
    let open = challenge.is_open(Purpose::Recover, visitor.app().now());
    if open { Ok(challenge) } else { Err(Failure::Refused("error_link")) }
}

// The user signs in with the new password next: whoever holds the mailbox alone does not pass a second factor.
async fn set_password(visitor: &Visitor, progress: Progress, fields: &Params, ctx: &str) -> Page {
    let challenge = open_challenge(visitor, &progress).await?;
    let request = progress.request;
    let locale = visitor.locale(request.as_ref());
    let password = match new_password::read(visitor, fields, &challenge.address, locale).await? {
        Ok(password) => password,
        Err(error) => {
            return write_password(visitor, request.as_ref(), &challenge, ctx, vec![error]).await;
        }
    };
    match visitor.app().recover(&challenge, password, visitor.origin).await? {
        Recovered::Done => visitor.go_on("/login", Step::SignIn, Progress::of(request).after_new_password()),
        Recovered::Over => Err(Failure::Refused("error_link")),
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
    let keep = visitor.seal(Step::SignIn, Progress::of(request.cloned()))?;
    let content = context! { ctx, keep, address => challenge.address.as_str() };
    let view = View {
        here: Some(format!("/recover/reset?ctx={ctx}")),
        ..View::new("reset.html", locale, "reset_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}
