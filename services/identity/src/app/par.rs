//! Pushed authorization requests (RFC 9126): sent by the client itself, so that nobody changes them on the way.

use serde::Serialize;

use super::{
    App, Refusal,
    authorize::Step,
    dpop::{ProofError, Shown},
};
use crate::{
    authorization::{self, Fault, Request},
    client::Client,
    error::Error,
    params::Params,
    pushed_request::{self, PushedRequest},
    session::Session,
    store,
};

/// The answer (RFC 9126 2.2).
#[derive(Debug, Serialize)]
pub struct Pushed {
    request_uri: String,
    expires_in: i64,
}

impl App {
    /// Takes an authorization request of an authenticated client.
    ///
    /// # Errors
    /// What `/authorize` would say of it, a wrong DPoP proof, the database.
    pub async fn push(&self, client: &Client, params: Params, shown: &Shown<'_>) -> Result<Pushed, Refusal> {
        if params.get("request_uri").is_some() {
            return Err(Refusal::new("invalid_request", "request_uri must not be pushed"));
        }
        let redirect_uri = params.get("redirect_uri").filter(|uri| client.has_redirect_uri(uri));
        let Some(redirect_uri) = redirect_uri else {
            return Err(Refusal::new("invalid_request", "redirect_uri is missing or not registered"));
        };
        let request = Request::parse(client, redirect_uri, &params)?;
        // Whoever pushes with a proof binds the code to its key, as with dpop_jkt (RFC 9449 10.1).
        let jkt = self.proven_key(shown, None)?;
        if jkt.is_some() && request.dpop_jkt.is_some() && jkt != request.dpop_jkt {
            return Err(ProofError::Invalid("dpop_jkt names another key than the proof's").into());
        }
        let Some(mut pushed) = PushedRequest::new(&client.client_id, params, self.now()) else {
            return Err(Refusal::new("invalid_request", "the request is larger than 8 KiB"));
        };
        if let Some(jkt) = jkt.filter(|_| request.dpop_jkt.is_none()) {
            pushed.params.push(("dpop_jkt".to_owned(), jkt));
        }
        store::pushed_request::insert(&self.db, &pushed).await?;
        tracing::info!(client_id = %client, "authorization request pushed");
        Ok(Pushed { request_uri: pushed.uri(self.keys()), expires_in: pushed_request::LIFE.num_seconds() })
    }

    /// Goes on with a pushed request. What else the URL says does not count (RFC 9101 6.3), and a request of another
    /// client is none.
    pub(super) async fn authorize_pushed(
        &self,
        client: &Client,
        request_uri: &str,
        session: Option<&Session>,
    ) -> Result<Step, Error> {
        let Some(request_id) = pushed_request::id_of(self.keys(), request_uri) else {
            return Ok(Step::Refuse("error_request"));
        };
        let pushed = store::pushed_request::find(&self.db, request_id, &client.client_id).await?;
        let Some(pushed) = pushed else { return Ok(Step::Refuse("error_request")) };
        let open = pushed.is_open(self.now());
        let params = Params::from(pushed.params);
        let redirect_uri = params.get("redirect_uri").filter(|uri| client.has_redirect_uri(uri));
        let Some(redirect_uri) = redirect_uri else { return Ok(Step::Refuse("error_redirect_uri")) };
        let parsed = if open { Request::parse(client, redirect_uri, &params) } else { Err(OVER) };
        match parsed {
            Ok(mut request) => {
                request.pushed_request_id = Some(request_id);
                self.go_on(request, client, session).await
            }
            Err(fault) => {
                let mode =
                    authorization::response_mode(&params).unwrap_or(authorization::ResponseMode::Query);
                let state = params.get("state");
                Ok(Step::Respond(self.fail(&client.client_id, redirect_uri, mode, state, fault)))
            }
        }
    }
}

/// A `request_uri` that was used, or is too old (RFC 9101 7).
pub(super) const OVER: Fault =
    Fault { error: "invalid_request_uri", description: "the request_uri was used before or has expired" };
