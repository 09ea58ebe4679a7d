use axum::{
    extract::State,
    http::{Extensions, HeaderMap, StatusCode},
};

use super::{Answer, Body, answer, authenticated, dpop};
use crate::app::{App, Refusal};

/// POST `/oauth2/par` (RFC 9126 2).
pub async fn par(State(app): State<App>, extensions: Extensions, headers: HeaderMap, body: Body) -> Answer {
    let (client, params) = authenticated(&app, &extensions, &headers, body).await?;
    let shown = dpop::shown(&headers, "POST", "/oauth2/par").map_err(Refusal::from)?;
    match app.push(&client, params, &shown).await {
        Ok(pushed) => {
            let mut response = answer::fresh(pushed);
            *response.status_mut() = StatusCode::CREATED;
            Ok(response)
        }
        Err(refusal) => {
            tracing::info!(client_id = %client, error = refusal.error(), "authorization request not taken");
            Err(refusal.into())
        }
    }
}
