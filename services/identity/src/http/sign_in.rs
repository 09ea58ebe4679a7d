use std::time::Duration;

use axum::{
    body::Bytes,
    http::{HeaderValue, StatusCode, header},
};
use domain::Locale;
use minijinja::context;

use super::{
    Page, authorize, device,
    page::{self, View},
    passkey,
    visitor::Visitor,
};
use crate::{
    app::{Entering, SignIn},
    pages::FieldError,
    progress::{Progress, Step},
    words,
};

/// Longest text of a field that comes back to its form, in characters.
const LONGEST_KEPT: usize = 320;

/// GET `/login`
pub async fn show(visitor: Visitor) -> Page {
    let (progress, ctx) = carried_or_new(&visitor)?;
    let mut hint =
        progress.request.as_ref().and_then(|request| request.login_hint.clone()).unwrap_or_default();
    if progress.request.is_none()
        && let Some(session) = visitor.session().await?
    {
        if !progress.again {
            let way_back = device::way_back(&visitor, &progress)?;
            return page::see_other(way_back.as_deref().unwrap_or("/account/security"));
        }
        let user = visitor.app().own_user(session.user_id).await?;
        hint = user.email.as_str().unwrap_or_default().to_owned();
    }
    write(&visitor, &progress, &ctx, &hint, Vec::new()).await
}

/// POST `/login`
pub async fn submit(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let ctx = fields.get("ctx").unwrap_or_default();
    let progress = visitor.open(Step::SignIn, Some(ctx))?;
    let way_back = device::way_back(&visitor, &progress)?;
    let locale = visitor.locale(progress.request.as_ref());
    let (email, password) =
        (fields.get("email").unwrap_or_default(), fields.get("password").unwrap_or_default());
    let mut errors = Vec::new();
    if email.trim().is_empty() {
        errors.push(wrong(locale, "email", "invalid_email"));
    }
    if password.is_empty() {
        errors.push(wrong(locale, "password", "missing_password"));
    }
    if !errors.is_empty() {
        return write(&visitor, &progress, ctx, email, errors).await;
    }
    let current = visitor.session().await?;
    let entering = Entering { current, request: progress.request.clone(), origin: visitor.origin };
    match visitor.app().sign_in(email, password, entering).await? {
        SignIn::Done(entered) => {
            authorize::enter(&visitor, *entered, way_back.as_deref().unwrap_or("/account/security")).await
        }
        SignIn::AskCode(proved) => {
            let (proved, params) = (Some(proved), progress.params);
            let progress = Progress { proved, params, ..Progress::of(progress.request) };
            visitor.go_on("/login/totp", Step::SecondFactor, progress)
        }
        SignIn::Wrong => {
            write(&visitor, &progress, ctx, email, vec![wrong(locale, "email", "wrong_password")]).await
        }
        SignIn::MailProof => {
            let error = FieldError { field: "", text: words::text(locale, "mail_proof").to_owned() };
            let mut page = write(&visitor, &progress, ctx, email, vec![error]).await?;
            *page.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            Ok(page)
        }
        SignIn::Wait(wait) => {
            let page = write(&visitor, &progress, ctx, email, vec![too_many(locale, wait)]).await?;
            Ok(with_wait(page, wait))
        }
    }
}

/// What the URL carries; a visit without it is a new one.
pub fn carried_or_new(visitor: &Visitor) -> Result<(Progress, String), page::Failure> {
    if visitor.query.get("ctx").is_some() {
        return visitor.carried(Step::SignIn);
    }
    Ok((Progress::default(), visitor.seal(Step::SignIn, Progress::default())?))
}

async fn write(
    visitor: &Visitor,
    progress: &Progress,
    ctx: &str,
    email: &str,
    errors: Vec<FieldError>,
) -> Page {
    let request = progress.request.as_ref();
    let locale = visitor.locale(request);
    let changed = progress.has_new_password() && errors.is_empty();
    let passkey = passkey::to_sign_in(visitor)?;
    let content = context! { ctx, changed, email => kept(email), passkey };
    let view = View {
        here: Some(format!("/login?ctx={ctx}")),
        leads_to: request.map(|request| request.redirect_uri.as_str()),
        ..View::new("login.html", locale, "login_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

/// The beginning of what somebody entered.
pub fn kept(text: &str) -> String {
    text.chars().take(LONGEST_KEPT).collect()
}

/// A field that breaks a rule.
pub fn wrong(locale: Locale, field: &'static str, name: &'static str) -> FieldError {
    FieldError { field, text: words::text(locale, name).to_owned() }
}

/// A counter says: not now.
pub fn too_many(locale: Locale, wait: Duration) -> FieldError {
    let text = words::text(locale, "wait_seconds").replace("{seconds}", &wait.as_secs().to_string());
    FieldError { field: "", text }
}

/// 429, and when to come again.
pub fn with_wait(mut page: axum::response::Response, wait: Duration) -> axum::response::Response {
    *page.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    page
}
