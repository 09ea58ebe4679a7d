use axum::body::Bytes;
use domain::Locale;
use minijinja::context;

use super::{
    Page, authorize,
    page::{Failure, View},
    visitor::Visitor,
};
use crate::{
    app::{Consented, Step as Next},
    authorization::Request,
    progress::{Progress, Step},
    session::Session,
    words,
};

/// Whose decision the page asks for: another user may sign in meanwhile.
const USER: &str = "user_id";

/// GET `/consent`
pub async fn show(visitor: Visitor) -> Page {
    let (progress, ctx) = visitor.carried(Step::Consent)?;
    let request = progress.request.ok_or(Failure::Refused("error_expired"))?;
    let Some(session) = visitor.session().await? else { return sign_in(&visitor, request).await };
    let client = visitor.app().client(&request.client_id).await?.ok_or(Failure::Refused("error_client"))?;
    let missing = visitor.app().missing_consent(&request, &client, session.user_id).await?;
    if missing.is_empty() {
        let next = visitor.app().resume(request, Some(&session)).await?;
        return authorize::follow(&visitor, next).await;
    }
    let locale = visitor.locale(Some(&request));
    let asked = asked(locale, &missing);
    let own = Progress {
        params: vec![(USER.to_owned(), session.user_id.to_string())],
        ..Progress::of(Some(request.clone()))
    };
    let content = context! { ctx => visitor.seal(Step::Consent, own)?, scopes => asked };
    let view = View {
        title: words::text(locale, "consent_title").replace("{client}", &client.name),
        here: Some(format!("/consent?ctx={ctx}")),
        leads_to: Some(&request.redirect_uri),
        ..View::new("consent.html", locale, "consent_title", content).within(Some(&request))
    };
    visitor.write(locale, view).await
}

/// POST `/consent`
pub async fn decide(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let progress = visitor.open(Step::Consent, fields.get("ctx"))?;
    let request = progress.request.ok_or(Failure::Refused("error_expired"))?;
    let Some(session) = visitor.session().await? else { return sign_in(&visitor, request).await };
    if !is_asked(&progress.params, &session) {
        return Err(Failure::Refused("error_expired"));
    }
    match fields.get("decision") {
        Some("allow") => {
            let next = visitor.app().allow(request, &session, visitor.origin).await?;
            authorize::follow(&visitor, next).await
        }
        Some("deny") => authorize::respond(&visitor, &visitor.app().denied(&request)).await,
        _ => Err(Failure::Refused("error_request")),
    }
}

async fn sign_in(visitor: &Visitor, request: Request) -> Page {
    authorize::follow(visitor, Next::SignIn(request)).await
}

/// In words, each once: two claims may be one thing to a person.
pub fn asked(locale: Locale, missing: &Consented) -> Vec<String> {
    let mut asked: Vec<String> = missing.scopes.iter().map(|scope| words::of_scope(locale, scope)).collect();
    for claim in &missing.claims {
        let words = words::of_claim(locale, claim);
        if !asked.contains(&words) {
            asked.push(words);
        }
    }
    asked
}

fn is_asked(params: &[(String, String)], session: &Session) -> bool {
    params.iter().any(|(name, value)| name == USER && *value == session.user_id.to_string())
}
