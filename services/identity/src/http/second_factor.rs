//! The second step of a sign-in by password.

use axum::body::Bytes;
use minijinja::context;

use super::{
    Page, authorize, device,
    page::{Failure, View},
    sign_in::{too_many, with_wait, wrong},
    sign_up::digits_of,
    visitor::Visitor,
};
use crate::{
    app::{Code, Entering, SignIn},
    pages::FieldError,
    progress::{Progress, Proved, Step},
};

/// Which of the two pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    App,
    RecoveryCode,
}

impl By {
    const fn path(self) -> &'static str {
        match self {
            Self::App => "/login/totp",
            Self::RecoveryCode => "/login/recovery-code",
        }
    }
}

/// GET `/login/totp`
pub async fn show_totp(visitor: Visitor) -> Page {
    show(visitor, By::App).await
}

/// GET `/login/recovery-code`
pub async fn show_recovery_code(visitor: Visitor) -> Page {
    show(visitor, By::RecoveryCode).await
}

/// POST `/login/totp`
pub async fn submit_totp(visitor: Visitor, body: Bytes) -> Page {
    submit(visitor, body, By::App).await
}

/// POST `/login/recovery-code`
pub async fn submit_recovery_code(visitor: Visitor, body: Bytes) -> Page {
    submit(visitor, body, By::RecoveryCode).await
}

async fn show(visitor: Visitor, by: By) -> Page {
    let (progress, ctx) = visitor.carried(Step::SecondFactor)?;
    proved(&visitor, &progress)?;
    write(&visitor, by, &progress, &ctx, Vec::new()).await
}

async fn submit(visitor: Visitor, body: Bytes, by: By) -> Page {
    let fields = visitor.form(&body)?;
    let ctx = fields.get("ctx").unwrap_or_default();
    let progress = visitor.open(Step::SecondFactor, Some(ctx))?;
    let proved = proved(&visitor, &progress)?;
    let locale = visitor.locale(progress.request.as_ref());
    let written = fields.get("code").unwrap_or_default();
    let digits = digits_of(written);
    let code = match (by, &digits) {
        (By::App, Some(digits)) => Code::Totp(digits),
        (By::App, None) => {
            let errors = vec![wrong(locale, "code", "invalid_totp")];
            return write(&visitor, by, &progress, ctx, errors).await;
        }
        (By::RecoveryCode, _) => Code::Recovery(written),
    };
    let current = visitor.session().await?;
    let entering = Entering { current, request: progress.request.clone(), origin: visitor.origin };
    match visitor.app().sign_in_by_code(proved, code, entering).await? {
        SignIn::Done(entered) => {
            let way_back = device::way_back(&visitor, &progress)?;
            authorize::enter(&visitor, *entered, way_back.as_deref().unwrap_or("/account/security")).await
        }
        SignIn::Wait(wait) => {
            let page = write(&visitor, by, &progress, ctx, vec![too_many(locale, wait)]).await?;
            Ok(with_wait(page, wait))
        }
        SignIn::Wrong | SignIn::AskCode(_) | SignIn::MailProof => {
            let name = if by == By::App { "wrong_totp" } else { "wrong_recovery_code" };
            write(&visitor, by, &progress, ctx, vec![wrong(locale, "code", name)]).await
        }
    }
}

// The seal's own time starts anew when its page is shown in another language; this one does not.
fn proved(visitor: &Visitor, progress: &Progress) -> Result<Proved, Failure> {
    let proved = progress.proved.filter(|proved| proved.is_recent(visitor.app().now()));
    proved.ok_or(Failure::Refused("error_expired"))
}

async fn write(visitor: &Visitor, by: By, progress: &Progress, ctx: &str, errors: Vec<FieldError>) -> Page {
    let request = progress.request.as_ref();
    let locale = visitor.locale(request);
    let stronger = progress.proved.is_some_and(|proved| proved.adds);
    let content = context! { ctx, stronger, path => by.path(), by_app => by == By::App };
    let title = if by == By::App { "totp_title" } else { "recovery_code_title" };
    let view = View {
        here: Some(format!("{}?ctx={ctx}", by.path())),
        leads_to: request.map(|request| request.redirect_uri.as_str()),
        ..View::new("code.html", locale, title, content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}
