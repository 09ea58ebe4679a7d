use axum::body::Bytes;

use super::{
    Page,
    page::{self, Failure},
    visitor::Visitor,
};
use crate::{
    app::{Entered, Response, Step as Next, StepUp},
    authorization::{self, ResponseMode},
    params::Params,
    progress::{Progress, Step},
};

/// GET `/authorize` (RFC 6749 4.1.1)
pub async fn take(visitor: Visitor) -> Page {
    let params = visitor.came_back(Step::Authorize)?.unwrap_or_else(|| visitor.query.clone());
    judge(&visitor, &params).await
}

/// POST `/authorize` (OIDC Core 3.1.2.1). It comes from other sites by design, so that no form of ours is checked.
pub async fn take_form(visitor: Visitor, body: Bytes) -> Page {
    let params = Params::parse(&body).map_err(|_| Failure::Refused("error_request"))?;
    // What is repeated is a fault whoever the user is, and the way back would hide it.
    if visitor.has_cookie() || params.has_repeated() {
        return judge(&visitor, &params).await;
    }
    visitor.come_back("/authorize", Step::Authorize, params)
}

async fn judge(visitor: &Visitor, params: &Params) -> Page {
    let session = visitor.session().await?;
    let next = visitor.app().authorize(params, session.as_ref()).await?;
    follow(visitor, next).await
}

/// Takes the next step of a request.
pub async fn follow(visitor: &Visitor, next: Next) -> Page {
    match next {
        Next::Refuse(words) => Err(Failure::Refused(words)),
        Next::SignIn(request) => visitor.go_on("/login", Step::SignIn, Progress::of(Some(request))),
        Next::ShowMore(request, StepUp::Code(proved)) => {
            let progress = Progress { proved: Some(proved), ..Progress::of(Some(request)) };
            visitor.go_on("/login/totp", Step::SecondFactor, progress)
        }
        Next::ShowMore(request, StepUp::Passkey) => {
            visitor.go_on("/login/passkey", Step::SignIn, Progress::of(Some(request)))
        }
        Next::ShowMore(request, StepUp::SignIn) => {
            visitor.go_on("/login", Step::SignIn, Progress::of(Some(request)))
        }
        Next::AskConsent(request) => visitor.go_on("/consent", Step::Consent, Progress::of(Some(request))),
        Next::Respond(response) => respond(visitor, &response).await,
    }
}

/// Answers a client through its user's browser.
pub async fn respond(visitor: &Visitor, response: &Response) -> Page {
    let Response { client_id, redirect_uri, mode, pairs } = response;
    match mode {
        ResponseMode::Query => {
            let pairs: Vec<(&str, &str)> =
                pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            page::see_other(&authorization::with_query(redirect_uri, &pairs))
        }
        ResponseMode::FormPost => {
            let locale = visitor.locale(None);
            Ok(page::write_post(&visitor.site, locale, client_id, redirect_uri, pairs).await?)
        }
    }
}

/// Goes on with a user who has just signed in: with the request that waited, or to the user's own page.
pub async fn enter(visitor: &Visitor, entered: Entered, own_page: &str) -> Page {
    let page = match entered.onward {
        Some(Ok(next)) => follow(visitor, next).await,
        Some(Err(error)) => Err(error.into()),
        None => page::see_other(own_page),
    };
    // The user is in, even where the way back to the client is closed.
    let mut response = page.unwrap_or_else(axum::response::IntoResponse::into_response);
    visitor.keep_session(&mut response, &entered.session);
    Ok(response)
}
