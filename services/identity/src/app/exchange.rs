//! Token exchange (RFC 8693): a service of ours that was called for a person calls another one for the same person, with
//! less than it was called with.

use serde_json::{Value, json};

use super::{
    App, Refusal,
    introspect::{AccessClaims, Live},
    issue::{TokenAnswer, bind},
    keys,
};
use crate::{
    client::Client,
    error::Error,
    params::{Params, words},
    scope, subject,
};

/// RFC 8693 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Services that called one another for one call of a person's; longer chains are a loop.
const LONGEST_CHAIN: usize = 4;

const fn refuse<T>(description: &'static str) -> Result<T, Refusal> {
    // Whatever is wrong with the subject token has this code (RFC 8693 2.2.2).
    Err(Refusal::new("invalid_request", description))
}

impl App {
    /// A token for another API, of the same person. It ends with the grant that the first one came of.
    pub(super) async fn exchange(
        &self,
        client: &Client,
        params: &Params,
        jkt: Option<&str>,
    ) -> Result<TokenAnswer, Refusal> {
        let Some(text) = params.get("subject_token") else { return refuse("subject_token is missing") };
        if params.get("subject_token_type") != Some(ACCESS_TOKEN) {
            return refuse("subject_token_type must be an access token's");
        }
        if params.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
            return refuse("requested_token_type must be an access token's");
        }
        if params.get("actor_token").is_some() || params.get("actor_token_type").is_some() {
            return refuse("the actor is the client itself");
        }
        let live = self.live_access_token(text).await?;
        let Some(Live { claims, client: of, user_id: Some(user_id) }) = live else {
            return refuse("the subject token is not a live access token of a person");
        };
        // Only who was called with it, or was given it, may pass it on.
        let called = claims.aud.has(&format!("kotinos.{}", client.client_id));
        if !called && claims.client_id != client.client_id {
            return refuse("the subject token is not for this client");
        }
        let (Some(family), Some(act)) = (keys::family_of(&claims.jti), act(client, &claims)) else {
            return refuse("the subject token was passed on too often");
        };
        let audience = target(client, params)?;
        let scopes = narrower(client, &claims, params)?;
        let (now, scope) = (self.now().timestamp(), scopes.join(" "));
        let expires_at = claims.exp.min(now + self.access_seconds(client));
        let mut passed_on = json!({
            "iss": self.issuer(),
            "sub": subject::subject(self.keys(), client, user_id).map_err(Error::from)?,
            "aud": audience,
            "client_id": client.client_id,
            "scope": scope,
            "iat": now,
            "exp": expires_at,
            "jti": format!("{family}.{}", domain::new_id().simple()),
            "act": act,
            "grant_of": claims.grant_of(),
        });
        if let Some(session) =
            claims.sid.as_deref().and_then(|sid| subject::session_of(self.keys(), &of, sid))
        {
            let sid = subject::session_subject(self.keys(), client, session).map_err(Error::from)?;
            passed_on["sid"] = sid.into();
        }
        if let Some(acr) = claims.acr {
            passed_on["acr"] = acr.into();
        }
        if let Some(at) = claims.auth_time {
            passed_on["auth_time"] = at.into();
        }
        tracing::info!(client_id = %client, of_client = %of, %user_id, "access token exchanged");
        let (token_type, seconds) = (bind(&mut passed_on, jkt), expires_at - now);
        let answer = TokenAnswer::alone(self.access_token(client, &passed_on)?, token_type, seconds, scope);
        Ok(TokenAnswer { issued_token_type: Some(ACCESS_TOKEN), ..answer })
    }
}

// Who acts, and for whom that one acted (RFC 8693 4.1).
fn act(client: &Client, claims: &AccessClaims) -> Option<Value> {
    let mut act = json!({"sub": client.client_id});
    if let Some(before) = &claims.act {
        let mut length = 1;
        let mut link = Some(before);
        while let Some(inner) = link {
            length += 1;
            link = inner.get("act");
        }
        if length > LONGEST_CHAIN {
            return None;
        }
        act["act"] = before.clone();
    }
    Some(act)
}

// The one API that the token is for: by its name as `audience`, or as `resource`.
fn target(client: &Client, params: &Params) -> Result<String, Refusal> {
    let mut named = params.all("resource").chain(params.all("audience"));
    let target = match (named.next(), client.audiences.as_slice()) {
        (Some(target), _) => target.to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => return Err(Refusal::new("invalid_target", "audience is missing")),
    };
    if named.any(|other| other != target) {
        return Err(Refusal::new("invalid_target", "a token is for one API"));
    }
    if !client.audiences.contains(&target) {
        return Err(Refusal::new("invalid_target", "audience is not one of the client's"));
    }
    Ok(target)
}

// What the person's token has and the client may have; of that, what is asked for. Never what OpenID Connect's scopes open:
// that is the person's client's.
fn narrower(client: &Client, claims: &AccessClaims, params: &Params) -> Result<Vec<String>, Refusal> {
    let may = |scope: &str| {
        claims.has_scope(scope) && client.scopes.iter().any(|own| own == scope) && !scope::is_oidc(scope)
    };
    let scopes = match params.get("scope").map(words) {
        None => claims.scope.split(' ').filter(|scope| may(scope)).map(str::to_owned).collect(),
        Some(Some(asked)) if asked.iter().all(|scope| may(scope)) => asked,
        Some(_) => {
            return Err(Refusal::new("invalid_scope", "scope goes beyond the subject token or the client"));
        }
    };
    if scopes.is_empty() {
        return Err(Refusal::new("invalid_scope", "nothing of the subject token's scope is left"));
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::client;

    fn claims(act: &Value) -> AccessClaims {
        serde_json::from_value(json!({
            "iss": "https://id.example", "sub": "x", "aud": "kotinos.portal", "client_id": "portal",
            "scope": "openid profile.read profile.write", "iat": 0, "exp": 0, "jti": "x", "act": act,
        }))
        .unwrap()
    }

    fn params(text: &str) -> Params {
        Params::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_scope_is_what_token_and_client_have_in_common() {
        let mut service = client();
        service.scopes = ["openid", "profile.read", "results.read"].map(str::to_owned).to_vec();
        let scopes = |asked: &str| narrower(&service, &claims(&Value::Null), &params(asked)).ok();
        assert_eq!(scopes("").unwrap(), ["profile.read"]);
        assert_eq!(scopes("scope=profile.read").unwrap(), ["profile.read"]);
        for beyond in ["profile.write", "results.read", "openid", "profile.read+results.read", "%22"] {
            assert_eq!(scopes(&format!("scope={beyond}")), None, "{beyond}");
        }
    }

    #[test]
    fn a_token_is_for_one_api_of_the_client() {
        let mut service = client();
        service.audiences = vec!["kotinos.profile".into(), "kotinos.mailer".into()];
        let to = |asked: &str| target(&service, &params(asked)).ok();
        assert_eq!(to("audience=kotinos.mailer").as_deref(), Some("kotinos.mailer"));
        assert_eq!(to("resource=kotinos.mailer&audience=kotinos.mailer").as_deref(), Some("kotinos.mailer"));
        for wrong in ["", "audience=kotinos.results", "resource=kotinos.mailer&audience=kotinos.profile"] {
            assert_eq!(to(wrong), None, "{wrong}");
        }
        service.audiences.pop();
        assert_eq!(target(&service, &params("")).unwrap(), "kotinos.profile");
    }

    #[test]
    fn who_acted_before_stays_known_and_a_chain_has_an_end() {
        let service = client();
        let mut chain = act(&service, &claims(&Value::Null)).unwrap();
        assert_eq!(chain, json!({"sub": "portal"}));
        for _ in 1..LONGEST_CHAIN {
            chain = act(&service, &claims(&chain)).unwrap();
        }
        assert_eq!(act(&service, &claims(&chain)), None);
    }
}
