use axum::{
    extract::State,
    http::{Extensions, HeaderMap},
};

use super::{Answer, Body, answer, authenticated};
use crate::app::App;

/// POST `/oauth2/introspect` (RFC 7662 2).
pub async fn introspect(
    State(app): State<App>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (client, params) = authenticated(&app, &extensions, &headers, body).await?;
    Ok(answer::fresh(app.introspect(&client, &params).await?))
}
