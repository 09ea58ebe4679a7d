use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use minijinja::{Value, context};

use super::{Account, done, fresh_session, write};
use crate::{
    app::{Added, Removed},
    ceremony::Purpose,
    http::{
        Page, page,
        page::Failure,
        passkey::{self as forms, refused},
        sign_in::wrong,
        visitor::Visitor,
    },
    params::Params,
    passkey::{self, Passkey},
    progress::Step,
    session::Session,
    words,
};

/// POST `/account/security/passkey`: adds, names or removes a passkey of the user.
pub async fn change(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Account, fields.get("ctx"))?;
    if fields.get("action") == Some("add") {
        let Some(session) = visitor.session().await? else { return page::see_other("/login") };
        return add(&visitor, &fields, &session).await;
    }
    let session = match fresh_session(&visitor).await? {
        Ok(session) => session,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let credential_id = forms::bytes(&fields, "credential_id").ok_or(Failure::Refused("error_request"))?;
    match fields.get("action") {
        Some("rename") => rename(&visitor, &fields, &session, &credential_id).await,
        Some("remove") => remove(&visitor, &session, &credential_id).await,
        _ => Err(Failure::Refused("error_request")),
    }
}

// The challenge went to a user who had signed in a moment ago, so that it is all the proof that is needed: the
// authenticator has made the passkey already, and asking again would leave it behind there.
async fn add(visitor: &Visitor, fields: &Params, session: &Session) -> Page {
    let locale = visitor.locale(None);
    let ceremony = forms::ceremony(visitor, fields, Purpose::Add).filter(|ceremony| {
        ceremony.user_id == Some(session.user_id.into()) && ceremony.is_recent(visitor.app().now())
    });
    let entered = fields.get("name").unwrap_or_default();
    let name = if entered.trim().is_empty() {
        Some(words::text(locale, "passkey_unnamed").to_owned())
    } else {
        passkey::name(entered)
    };
    let Some(name) = name else {
        return write(visitor, session, vec![wrong(locale, "passkey_name", "invalid_passkey_name")]).await;
    };
    let (Some(ceremony), Some(made)) = (ceremony, forms::made(fields, name)) else {
        return write(visitor, session, refused(locale, "passkey_not_made")).await;
    };
    match visitor.app().add_passkey(&ceremony, &made, visitor.origin).await? {
        Added::Done => done("passkey_added"),
        Added::Wrong => write(visitor, session, refused(locale, "passkey_not_made")).await,
        Added::TooMany => write(visitor, session, refused(locale, "passkey_many")).await,
    }
}

async fn rename(visitor: &Visitor, fields: &Params, session: &Session, credential_id: &[u8]) -> Page {
    let Some(name) = passkey::name(fields.get("name").unwrap_or_default()) else {
        return write(visitor, session, refused(visitor.locale(None), "invalid_passkey_name")).await;
    };
    visitor.app().rename_passkey(session.user_id, credential_id, &name).await?;
    done("passkey_renamed")
}

async fn remove(visitor: &Visitor, session: &Session, credential_id: &[u8]) -> Page {
    match visitor.app().remove_passkey(session.user_id, credential_id, visitor.origin).await? {
        Removed::Done => done("passkey_removed"),
        Removed::LastWayIn => write(visitor, session, refused(visitor.locale(None), "last_way_in")).await,
    }
}

/// The passkeys of the page, and the form for a new one where one may be added now.
pub async fn content(
    visitor: &Visitor,
    account: &Account<'_>,
) -> Result<(Vec<Value>, Option<Value>), Failure> {
    let Account { session, user, fresh, locale } = account;
    let own = visitor.app().list_passkeys(session.user_id).await?;
    let new = if *fresh && own.len() < passkey::MOST {
        let address = user.email.as_str().unwrap_or_default();
        Some(forms::to_make(visitor, *locale, Purpose::Add, session.user_id, address, &own)?)
    } else {
        None
    };
    Ok((own.iter().map(row).collect(), new))
}

fn row(passkey: &Passkey) -> Value {
    context! {
        id => URL_SAFE_NO_PAD.encode(&passkey.credential_id),
        name => passkey.name.as_str(),
        created => passkey.created_at.timestamp(),
        used => passkey.used_at.map(|at| at.timestamp()),
    }
}
