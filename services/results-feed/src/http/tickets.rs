use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use chassis::Denied;

use super::{Failure, NO_SNIFF, Web, feed::bearer};

/// `POST /results/v1/tickets`: a ticket for one feed connection within 60 s, for `?ticket=`. A browser's `EventSource` and
/// `WebSocket` send no header, and a token in an address would end in logs for as long as it is good.
pub async fn create(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Failure> {
    let Some(actor) = bearer(&web, &headers).await? else {
        return Err(Failure::Auth(Denied::NoToken.into()));
    };
    let (ticket, seconds) = web.app.create_ticket(&actor.client_id, actor.expires_at).await?;
    let json = serde_json::json!({ "ticket": ticket, "expires_in": seconds }).to_string();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        NO_SNIFF,
    ];
    Ok((headers, json).into_response())
}
