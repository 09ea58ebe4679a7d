use axum::{
    extract::State,
    http::{Extensions, HeaderMap},
};

use super::{Answer, Body, answer, authenticated, dpop};
use crate::app::{App, Refusal};

/// POST `/oauth2/token` (RFC 6749 3.2).
pub async fn token(State(app): State<App>, extensions: Extensions, headers: HeaderMap, body: Body) -> Answer {
    let (client, params) = authenticated(&app, &extensions, &headers, body).await?;
    let shown = dpop::shown(&headers, "POST", "/oauth2/token").map_err(Refusal::from)?;
    match app.token(&client, &params, &shown).await {
        Ok(tokens) => Ok(answer::fresh(tokens)),
        Err(refusal) => {
            tracing::info!(client_id = %client, error = refusal.error(), "no tokens issued");
            Err(refusal.into())
        }
    }
}
