//! What relying parties and APIs call: metadata, keys, tokens, userinfo. No cookie is read or set here.

mod answer;
mod cors;
mod device;
mod dpop;
mod introspect;
mod par;
mod registration;
mod revoke;
mod token;
mod userinfo;
mod well_known;

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, rejection::BytesRejection},
    http::{Extensions, HeaderMap, StatusCode, header},
    middleware,
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;

use crate::{
    app::{App, ClientProof, Origin},
    client::Client,
    params::Params,
};

use answer::Wrong;

/// Largest body, in bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// The routes of the protocol.
pub fn router(app: App) -> Router {
    // Scripts in browsers may call these from the origins of registered clients.
    let of_browsers = Router::new()
        .route("/.well-known/openid-configuration", get(well_known::metadata))
        .route("/.well-known/oauth-authorization-server", get(well_known::metadata))
        .route("/oauth2/keys.json", get(well_known::keys))
        .route("/oauth2/token", post(token::token))
        .route("/oauth2/userinfo", get(userinfo::by_header).post(userinfo::by_body))
        // A page gives back what it holds (RFC 7009 2.3).
        .route("/oauth2/revoke", post(revoke::revoke))
        .layer(middleware::from_fn_with_state(app.clone(), cors::allow_registered));
    Router::new()
        .route("/oauth2/device", post(device::start))
        .route("/oauth2/par", post(par::par))
        .route("/oauth2/introspect", post(introspect::introspect))
        .route("/oauth2/registration", post(registration::register))
        .route(
            "/oauth2/registration/{client_id}",
            get(registration::read).put(registration::replace).delete(registration::delete),
        )
        .merge(of_browsers)
        .layer(middleware::from_fn_with_state(app.clone(), dpop::hand_out_nonce))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
}

/// A body as it came, or why it did not.
type Body = Result<Bytes, BytesRejection>;

/// An answer, or what is wrong with the request.
type Answer = Result<Response, Wrong>;

// A body, unless it is too large.
fn whole(body: Body) -> Result<Bytes, Wrong> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is larger than 64 KiB")
        }
        _ => Wrong::request("the body cannot be read"),
    })
}

// Reads the form of a request.
fn form(headers: &HeaderMap, body: Body) -> Result<Params, Wrong> {
    let body = whole(body)?;
    let content_type = text(headers, header::CONTENT_TYPE)?.unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Wrong::request("the body must be application/x-www-form-urlencoded"));
    }
    let Ok(params) = Params::parse(&body) else {
        return Err(Wrong::request("the body must be a form of at most 64 parameters of text"));
    };
    if params.has_repeated() {
        return Err(Wrong::request("a parameter is repeated"));
    }
    Ok(params)
}

// A header that may come once, as text.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Wrong> {
    const WRONG: Wrong = Wrong::request("a header is repeated or not text");
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(WRONG);
    }
    value.to_str().map(Some).map_err(|_| WRONG)
}

// The form of a request and the client that proved itself with it.
async fn authenticated(
    app: &App,
    extensions: &Extensions,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Client, Params), Wrong> {
    let params = form(headers, body)?;
    let proof = ClientProof::read(text(headers, header::AUTHORIZATION)?, &params)?;
    let client = app.authenticate(&proof, origin(extensions)).await?;
    Ok((client, params))
}

fn origin(extensions: &Extensions) -> Origin {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    Origin { ip: peer.map(|ConnectInfo(address)| address.ip()), browser: None }
}
