use axum::body::Bytes;
use minijinja::context;

use super::{done, fresh_session, sign_in_again};
use crate::{
    http::{Page, new_password, page::View, visitor::Visitor},
    pages::FieldError,
    progress::{Progress, Step},
    session::Session,
};

/// GET `/account/security/password`
pub async fn show(visitor: Visitor) -> Page {
    match fresh_session(&visitor).await? {
        Ok(session) => write(&visitor, &session, Vec::new()).await,
        Err(elsewhere) => Ok(elsewhere),
    }
}

/// POST `/account/security/password`
pub async fn change(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Account, fields.get("ctx"))?;
    let session = match fresh_session(&visitor).await? {
        Ok(session) => session,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let locale = visitor.locale(None);
    let user = visitor.app().own_user(session.user_id).await?;
    let password = match new_password::read(&visitor, &fields, &user.email, locale).await? {
        Ok(password) => password,
        Err(error) => return write(&visitor, &session, vec![error]).await,
    };
    match visitor.app().change_password(&session, password, visitor.origin).await? {
        Some(kept) => {
            let mut page = done("password_set")?;
            visitor.keep_session(&mut page, &kept);
            Ok(page)
        }
        None => sign_in_again(&visitor),
    }
}

async fn write(visitor: &Visitor, session: &Session, errors: Vec<FieldError>) -> Page {
    let locale = visitor.locale(None);
    let user = visitor.app().own_user(session.user_id).await?;
    let content = context! {
        ctx => visitor.seal(Step::Account, Progress::default())?,
        address => user.email.as_str().unwrap_or_default(),
    };
    let view = View {
        here: Some("/account/security/password".to_owned()),
        ..View::new("password.html", locale, "password_title", content)
    };
    visitor.write(locale, view.with_errors(errors)).await
}
