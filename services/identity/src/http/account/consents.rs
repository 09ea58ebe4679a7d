use axum::body::Bytes;
use minijinja::{Value, context};

use super::{Account, done, fresh_session};
use crate::{
    app::{Consented, OwnConsent},
    http::{Page, consent, page::Failure, visitor::Visitor},
    progress::Step,
};

/// POST `/account/security/consent`: takes back what the user allowed a site.
pub async fn withdraw(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Account, fields.get("ctx"))?;
    let session = match fresh_session(&visitor).await? {
        Ok(session) => session,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let client_id = fields.get("client_id").ok_or(Failure::Refused("error_request"))?;
    visitor.app().withdraw_consent(session.user_id, client_id, visitor.origin).await?;
    done("consent_withdrawn")
}

/// What the user's page says of the sites.
pub async fn content(visitor: &Visitor, account: &Account<'_>) -> Result<Vec<Value>, Failure> {
    let own = visitor.app().own_consents(account.session.user_id).await?;
    let row = |consent: OwnConsent| {
        let allowed = Consented { scopes: consent.scopes, claims: consent.claims };
        context! {
            client_id => consent.client_id, name => consent.name, since => consent.granted_at.timestamp(),
            allowed => consent::asked(account.locale, &allowed),
        }
    };
    Ok(own.into_iter().map(row).collect())
}
