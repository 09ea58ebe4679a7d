use axum::{
    extract::State,
    http::{Extensions, HeaderMap},
};

use super::{Answer, Body, answer, authenticated};
use crate::app::App;

/// POST `/oauth2/device` (RFC 8628 3.1).
pub async fn start(State(app): State<App>, extensions: Extensions, headers: HeaderMap, body: Body) -> Answer {
    let (client, params) = authenticated(&app, &extensions, &headers, body).await?;
    Ok(answer::fresh(app.start_device(&client, &params).await?))
}
