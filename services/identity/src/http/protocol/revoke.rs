use axum::{
    extract::State,
    http::{Extensions, HeaderMap, StatusCode},
    response::IntoResponse,
};

use super::{Answer, Body, answer, authenticated};
use crate::app::App;

/// POST `/oauth2/revoke` (RFC 7009 2).
pub async fn revoke(
    State(app): State<App>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (client, params) = authenticated(&app, &extensions, &headers, body).await?;
    app.revoke(&client, &params).await?;
    let mut response = StatusCode::OK.into_response();
    answer::guard(response.headers_mut());
    Ok(response)
}
