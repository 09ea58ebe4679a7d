use axum::body::Bytes;
use minijinja::context;

use super::{
    Page,
    page::{self, Failure, View},
    visitor::Visitor,
};
use crate::{
    app::{LogoutRequest, SignedOut},
    params::Params,
    progress::{Progress, Step},
};

/// GET `/logout` (OIDC RP-Initiated Logout 1.0, section 2)
pub async fn take(visitor: Visitor) -> Page {
    let params = visitor.came_back(Step::Logout)?.unwrap_or_else(|| visitor.query.clone());
    sign_out(&visitor, params, false).await
}

/// POST `/logout`: a client's request, or the button of our own page.
pub async fn take_form(visitor: Visitor, body: Bytes) -> Page {
    let params = Params::parse(&body).map_err(|_| Failure::Refused("error_request"))?;
    if params.get("ctx").is_some() {
        let fields = visitor.form(&body)?;
        let progress = visitor.open(Step::SignOut, fields.get("ctx"))?;
        return sign_out(&visitor, progress.params.into(), true).await;
    }
    if visitor.has_cookie() || params.has_repeated() {
        return sign_out(&visitor, params, false).await;
    }
    visitor.come_back("/logout", Step::Logout, params)
}

async fn sign_out(visitor: &Visitor, params: Params, confirmed: bool) -> Page {
    let session = visitor.session().await?;
    let request = LogoutRequest::parse(&params);
    let request = if confirmed { request.confirmed() } else { request };
    match visitor.app().sign_out(request, session.as_ref()).await? {
        SignedOut::Ask => ask(visitor, params).await,
        SignedOut::Done(target) => {
            let mut response = match target {
                Some(url) => page::see_other(&url)?,
                None => {
                    let locale = visitor.locale_of(&params);
                    let view = View {
                        client_id: client_id(&params),
                        ..View::new("signed_out.html", locale, "signed_out_title", context! {})
                    };
                    visitor.write(locale, view).await?
                }
            };
            Visitor::drop_session(&mut response);
            Ok(response)
        }
    }
}

async fn ask(visitor: &Visitor, params: Params) -> Page {
    let locale = visitor.locale_of(&params);
    // With a repeated parameter the request says nothing, and the seal would hide that it was repeated.
    let params = if params.has_repeated() { Params::default() } else { params };
    let (target, client_id) = (params.get("post_logout_redirect_uri").map(str::to_owned), client_id(&params));
    let progress = Progress { params: params.into_pairs(), ..Progress::default() };
    let content = context! { ctx => visitor.seal(Step::SignOut, progress)? };
    let view = View {
        leads_to: target.as_deref(),
        client_id,
        ..View::new("logout.html", locale, "logout_title", content)
    };
    visitor.write(locale, view).await
}

// The look alone hangs on it: who says it proves nothing.
fn client_id(params: &Params) -> Option<String> {
    params.get("client_id").filter(|_| !params.has_repeated()).map(str::to_owned)
}
