use axum::body::Bytes;
use minijinja::{Value, context};

use super::{
    Page,
    page::{self, Failure, View},
    visitor::Visitor,
};
use crate::{
    app::OwnSession,
    progress::{Progress, Step},
    session::Session,
};

/// GET `/account/security`: where the user is signed in.
pub async fn show(visitor: Visitor) -> Page {
    let Some(session) = visitor.session().await? else { return page::see_other("/login") };
    let own = visitor.app().own_sessions(session.user_id).await?;
    let locale = visitor.locale(None);
    let listed: Vec<Value> = own.iter().map(|own| row(own, &session)).collect();
    let welcome = visitor.query.get("welcome").is_some();
    let ctx = visitor.seal(Step::Account, Progress::default())?;
    let content = context! { ctx, welcome, sessions => listed };
    let view = View {
        here: Some("/account/security".to_owned()),
        ..View::new("security.html", locale, "security_title", content)
    };
    visitor.write(locale, view)
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
