//! Access tokens in their two forms. Both carry the same claims; a reference carries them sealed.

use serde_json::Value;

use super::{App, introspect::AccessClaims};
use crate::{
    client::{AccessTokenFormat, Client},
    error::Error,
    sealed,
};

/// What a sealed access token begins with.
const REFERENCE: &str = "kat_";
const PURPOSE: &str = "access token";

impl App {
    /// Signs or seals the claims of an access token, as its client is registered.
    pub(super) fn access_token(&self, client: &Client, claims: &Value) -> Result<String, Error> {
        match client.tokens.format {
            AccessTokenFormat::Jwt => self.sign("at+jwt", claims),
            AccessTokenFormat::Reference => {
                Ok(format!("{REFERENCE}{}", sealed::seal_text(self.keys(), PURPOSE, "", claims)?))
            }
        }
    }

    /// The claims of one of our own access tokens; whether its time is over is the caller's question.
    pub(super) fn read_access_token(&self, text: &str) -> Result<Option<AccessClaims>, Error> {
        match text.strip_prefix(REFERENCE) {
            Some(sealed) => Ok(sealed::open_text(self.keys(), PURPOSE, "", sealed)),
            None => self.read_token("at+jwt", text),
        }
    }

    /// Life of a client's access tokens, in seconds.
    pub(super) fn access_seconds(&self, client: &Client) -> i64 {
        client.tokens.access_seconds(self.settings.access_token_seconds).into()
    }
}
