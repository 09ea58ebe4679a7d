//! The user's own page: ways to sign in, and where the user is signed in.

pub mod codes;
pub mod consents;
pub mod passkeys;
pub mod password;

use axum::{body::Bytes, response::Response};
use domain::Locale;
use minijinja::{Value, context};

use super::{
    Page,
    page::{self, Failure, View},
    visitor::Visitor,
};
use crate::{
    app::OwnSession,
    pages::FieldError,
    progress::{Progress, Step},
    session::Session,
    user::User,
    words,
};

/// What the page may say after a change.
const DONE: [&str; 6] =
    ["passkey_added", "passkey_renamed", "passkey_removed", "codes_off", "password_set", "consent_withdrawn"];

/// Whose page it is.
pub struct Account<'a> {
    session: &'a Session,
    user: User,
    /// The user signed in a moment ago and may change the ways to sign in.
    fresh: bool,
    locale: Locale,
}

/// GET `/account/security`
pub async fn show(visitor: Visitor) -> Page {
    let Some(session) = visitor.session().await? else { return page::see_other("/login") };
    write(&visitor, &session, Vec::new()).await
}

async fn write(visitor: &Visitor, session: &Session, errors: Vec<FieldError>) -> Page {
    let locale = visitor.locale(None);
    let user = visitor.app().own_user(session.user_id).await?;
    let account = Account { session, user, fresh: session.is_fresh(visitor.app().now()), locale };
    let (passkeys, new_passkey) = passkeys::content(visitor, &account).await?;
    let second_factor = codes::content(visitor, &account).await?;
    let consents = consents::content(visitor, &account).await?;
    let own = visitor.app().own_sessions(session.user_id).await?;
    let sessions: Vec<Value> = own.iter().map(|own| row(own, session)).collect();
    let done = visitor.query.get("done");
    let done = DONE.into_iter().find(|name| done == Some(name)).map(|name| words::text(locale, name));
    let content = context! {
        ctx => visitor.seal(Step::Account, Progress::default())?,
        welcome => visitor.query.get("welcome").is_some(),
        done, fresh => account.fresh, sessions, passkeys, new_passkey, second_factor, consents,
        has_password => visitor.app().has_password(session.user_id).await?,
    };
    let view = View {
        here: Some("/account/security".to_owned()),
        ..View::new("security.html", locale, "security_title", content)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

fn row(own: &OwnSession, current: &Session) -> Value {
    context! {
        session_id => own.session.session_id.to_string(),
        since => own.session.pwd_at.timestamp(),
        seen => own.session.seen_at.timestamp(),
        sites => own.sites.clone(),
        current => own.session.session_id == current.session_id,
    }
}

/// POST `/account/security`: ends one session of the user, or all of them.
pub async fn end(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Account, fields.get("ctx"))?;
    let Some(session) = visitor.session().await? else { return page::see_other("/login") };
    if fields.get("everywhere").is_some() {
        visitor.app().end_own_sessions(session.user_id).await?;
    } else {
        let session_id = fields.get("session_id").and_then(|text| text.parse().ok());
        let session_id = session_id.ok_or(Failure::Refused("error_request"))?;
        visitor.app().end_own_session(session.user_id, session_id).await?;
    }
    page::see_other("/account/security")
}

/// GET `/account/security/confirm`: the user signs in once more before changing anything.
pub async fn confirm(visitor: Visitor) -> Page {
    sign_in_again(&visitor)
}

fn sign_in_again(visitor: &Visitor) -> Page {
    visitor.go_on("/login", Step::SignIn, Progress { again: true, ..Progress::default() })
}

/// The session of a user who signed in a moment ago, or where the browser goes without one.
async fn fresh_session(visitor: &Visitor) -> Result<Result<Session, Response>, Failure> {
    Ok(match visitor.session().await? {
        Some(session) if session.is_fresh(visitor.app().now()) => Ok(session),
        Some(_) => Err(sign_in_again(visitor)?),
        None => Err(page::see_other("/login")?),
    })
}

fn done(name: &'static str) -> Page {
    page::see_other(&format!("/account/security?done={name}"))
}
