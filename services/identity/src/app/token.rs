//! The token endpoint: a code, a refresh token or the client's own right against tokens (RFC 6749 4.1.3, 4.4, 6).

use domain::{DateTime, TimeDelta, UserId, Utc, Uuid};
use serde::Serialize;
use serde_json::{Value, json};

use super::{App, Refusal};
use crate::{
    authorization,
    client::{Client, DEVICE_CODE, TOKEN_EXCHANGE},
    error::Error,
    grant::{Grant, Redemption},
    handle::{Handle, Kind},
    jws,
    params::{Params, words},
    revocation::Revoked,
    scope,
    store::{self, record::AuditRecord},
    subject,
    token_family::{self, Refresh, TokenFamily},
};

/// Life of an ID token.
const ID_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(10);
/// A refresh that another one overtook looks once more: by then its token is superseded or revoked.
const LOOKS: usize = 2;

/// A successful answer (RFC 6749 5.1, OIDC Core 3.1.3.3).
#[derive(Serialize)]
pub struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    // Of an exchange (RFC 8693 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
}

impl TokenAnswer {
    /// The answer to an exchange: an access token and nothing to go on with.
    pub(super) const fn exchanged(access_token: String, expires_in: i64, scope: String) -> Self {
        Self {
            access_token,
            token_type: "Bearer",
            expires_in,
            scope,
            refresh_token: None,
            id_token: None,
            issued_token_type: Some(super::exchange::ACCESS_TOKEN),
        }
    }
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("scope", &self.scope).finish_non_exhaustive()
    }
}

// What the tokens of one answer have in common.
struct Issue<'a> {
    client: &'a Client,
    family: &'a TokenFamily,
    scopes: Vec<String>,
    resources: Vec<String>,
    nonce: Option<&'a str>,
    now: DateTime<Utc>,
}

const fn invalid_grant<T>(description: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new("invalid_grant", description))
}

impl App {
    /// Answers a token request of an authenticated client.
    ///
    /// # Errors
    /// A code of RFC 6749 5.2; the database.
    pub async fn token(&self, client: &Client, params: &Params) -> Result<TokenAnswer, Refusal> {
        let grant_type = match params.get("grant_type") {
            Some(known @ ("authorization_code" | "refresh_token" | "client_credentials")) => known,
            Some(known @ (DEVICE_CODE | TOKEN_EXCHANGE)) => known,
            Some(_) => return Err(Refusal::new("unsupported_grant_type", "grant_type is not supported")),
            None => return Err(Refusal::new("invalid_request", "grant_type is missing")),
        };
        if !client.may(grant_type) {
            return Err(Refusal::new("unauthorized_client", "the client may not use this grant_type"));
        }
        match grant_type {
            "authorization_code" => self.redeem(client, params).await,
            "refresh_token" => self.refresh(client, params).await,
            DEVICE_CODE => self.redeem_device(client, params).await,
            TOKEN_EXCHANGE => self.exchange(client, params).await,
            _ => self.client_credentials(client, params),
        }
    }

    async fn redeem(&self, client: &Client, params: &Params) -> Result<TokenAnswer, Refusal> {
        let Some(code) = params.get("code") else {
            return Err(Refusal::new("invalid_request", "code is missing"));
        };
        let now = self.now();
        let Some(handle) = Handle::read(self.keys(), Kind::Code, code) else {
            return invalid_grant("the code is unknown");
        };
        let Some(grant) = store::grant::load(&self.db, handle.id).await? else {
            return invalid_grant("the code is unknown");
        };
        match grant.redeem(&client.client_id, params.get("redirect_uri"), params.get("code_verifier"), now) {
            Redemption::Accepted => {}
            Redemption::Reused => return self.refuse_reuse(&grant).await,
            Redemption::Refused(description) => return invalid_grant(description),
        }
        let resources = narrowed(client, &grant.resources, params)?;
        let Some((session, _)) = store::session::load(&self.db, grant.session_id).await? else {
            return invalid_grant("the session has ended");
        };
        let family = family_of(grant.clone(), session.expires_at, now);
        if !store::grant::redeem(&self.db, grant.code_id, family.offline, family.expires_at, now).await? {
            // Another request was faster, or the session ended in between.
            return match store::grant::load(&self.db, grant.code_id).await? {
                Some(grant) if grant.consumed_at.is_some() => self.refuse_reuse(&grant).await,
                _ => invalid_grant("the session has ended"),
            };
        }
        tracing::info!(client_id = %client, user_id = %grant.user_id, "authorization code redeemed");
        let scopes = family.scopes.clone();
        let nonce = grant.nonce.as_deref();
        let answer = self.issue_tokens(&Issue { client, family: &family, scopes, resources, nonce, now })?;
        Ok(answer)
    }

    // Two hold the code: whoever was first loses what it got (RFC 6749 4.1.2).
    async fn refuse_reuse(&self, grant: &Grant) -> Result<TokenAnswer, Refusal> {
        self.revoke_as_stolen(grant.code_id, &grant.client_id, grant.user_id, "code_reused").await?;
        invalid_grant("the code was used before")
    }

    async fn refresh(&self, client: &Client, params: &Params) -> Result<TokenAnswer, Refusal> {
        let Some(text) = params.get("refresh_token") else {
            return Err(Refusal::new("invalid_request", "refresh_token is missing"));
        };
        let Some(handle) = Handle::read(self.keys(), Kind::Refresh, text) else {
            return invalid_grant("the refresh token is unknown");
        };
        for _ in 0..LOOKS {
            let now = self.now();
            let family = store::grant::load_family(&self.db, handle.id).await?;
            let Some(mut family) = family.filter(|family| family.client_id == client.client_id) else {
                return invalid_grant("the refresh token is unknown");
            };
            let judged = family.refresh(handle.counter, client.tokens.grace(), now);
            match judged {
                Refresh::Refused => return invalid_grant("the refresh token is not valid any more"),
                Refresh::Stolen => {
                    let (id, client_id) = (family.family_id, &family.client_id);
                    self.revoke_as_stolen(id, client_id, family.user_id, "refresh_token_reused").await?;
                    return invalid_grant("the refresh token was used before");
                }
                Refresh::Rotate | Refresh::Repeat => {}
            }
            // Everything that may be refused comes before the rotation: a refused request costs no token.
            let scopes = self.narrowed_scopes(client, &family, params).await?;
            let resources = narrowed(client, &family.resources, params)?;
            if judged == Refresh::Rotate {
                if !store::grant::rotate(&self.db, family.family_id, family.seq, now).await? {
                    continue;
                }
                family.seq += 1;
            }
            return Ok(self.issue_tokens(&Issue {
                client,
                family: &family,
                scopes,
                resources,
                nonce: None,
                now,
            })?);
        }
        invalid_grant("the refresh token is not valid any more")
    }

    async fn revoke_as_stolen(
        &self,
        family_id: Uuid,
        client_id: &str,
        user_id: UserId,
        outcome: &'static str,
    ) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        if store::grant::revoke(&mut *tx, family_id, self.now()).await? {
            let record = AuditRecord {
                actor: client_id.to_owned(),
                action: "revoke_tokens",
                subject: user_id.to_string(),
                client_id: client_id.to_owned(),
                outcome,
                ..AuditRecord::default()
            };
            store::record::insert(&mut *tx, &record, self.now()).await?;
        }
        tx.commit().await?;
        self.revocations.note([Revoked::Family(family_id)]);
        tracing::warn!(client_id, %user_id, outcome, "tokens revoked");
        Ok(())
    }

    // What the client may still have of what was granted, and of that what it asks for now (RFC 6749 6).
    async fn narrowed_scopes(
        &self,
        client: &Client,
        family: &TokenFamily,
        params: &Params,
    ) -> Result<Vec<String>, Refusal> {
        let first_party = client.is_first_party();
        let held = if family.scopes.iter().any(|scope| scope::is_staff(scope, first_party)) {
            store::staff::scopes(&self.db, family.user_id).await?
        } else {
            Vec::new()
        };
        let granted = scope::of_user(&family.scopes, &client.scopes, first_party, &held);
        let Some(asked) = params.get("scope") else { return Ok(granted) };
        match words(asked) {
            Some(asked) if !asked.is_empty() && asked.iter().all(|scope| granted.contains(scope)) => {
                Ok(asked)
            }
            _ => Err(Refusal::new("invalid_scope", "scope goes beyond what was granted")),
        }
    }

    fn client_credentials(&self, client: &Client, params: &Params) -> Result<TokenAnswer, Refusal> {
        let asked = match params.get("scope").map(words) {
            None => None,
            Some(Some(asked)) => Some(asked),
            Some(None) => return Err(Refusal::new("invalid_scope", "scope must be words of RFC 6749 3.3")),
        };
        let scopes = scope::of_client(asked.as_deref(), &client.scopes);
        if asked.is_some_and(|asked| !asked.is_empty()) && scopes.is_empty() {
            return Err(Refusal::new("invalid_scope", "the client may have none of these scopes"));
        }
        let resources = narrowed(client, &[], params)?;
        let now = self.now();
        let scope = scopes.join(" ");
        let seconds = self.access_seconds(client);
        let claims = json!({
            "iss": self.issuer(),
            "sub": client.client_id,
            "aud": self.audience(client, &resources, false),
            "client_id": client.client_id,
            "scope": scope,
            "iat": now.timestamp(),
            "exp": now.timestamp() + seconds,
            "jti": domain::new_id(),
        });
        Ok(TokenAnswer {
            access_token: self.access_token(client, &claims)?,
            token_type: "Bearer",
            expires_in: seconds,
            scope,
            refresh_token: None,
            id_token: None,
            issued_token_type: None,
        })
    }

    // The tokens of a family that began without an authorization response.
    pub(super) fn first_tokens(
        &self,
        client: &Client,
        family: &TokenFamily,
        now: DateTime<Utc>,
    ) -> Result<TokenAnswer, Error> {
        let (scopes, resources) = (family.scopes.clone(), family.resources.clone());
        self.issue_tokens(&Issue { client, family, scopes, resources, nonce: None, now })
    }

    fn issue_tokens(&self, issue: &Issue<'_>) -> Result<TokenAnswer, Error> {
        let Issue { client, family, .. } = issue;
        let sub = subject::subject(self.keys(), client, family.user_id)?;
        let sid = subject::session_subject(self.keys(), client, family.session_id)?;
        let openid = issue.scopes.iter().any(|scope| scope == "openid");
        let scope = issue.scopes.join(" ");
        // No access token outlives its grant: whoever judges it knows only what it says.
        let left = (family.expires_at - issue.now).num_seconds();
        let seconds = self.access_seconds(client).min(left);
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": sub,
            "aud": self.audience(client, &issue.resources, openid),
            "client_id": client.client_id,
            "scope": scope,
            "iat": issue.now.timestamp(),
            "exp": issue.now.timestamp() + seconds,
            // Leads userinfo and introspection to the family; the second half tells two tokens apart.
            "jti": format!("{}.{}", family.family_id, domain::new_id().simple()),
            "acr": family.acr,
            "auth_time": family.auth_time.timestamp(),
        });
        if !family.offline {
            // It ends with its session, by this name.
            claims["sid"] = Value::from(sid.as_str());
        }
        let access_token = self.access_token(client, &claims)?;
        let id_token = if openid { Some(self.id_token(issue, &sub, &sid, &access_token)?) } else { None };
        let refresh = Handle { kind: Kind::Refresh, id: family.family_id, counter: family.seq };
        Ok(TokenAnswer {
            access_token,
            token_type: "Bearer",
            expires_in: seconds,
            scope,
            refresh_token: client.may("refresh_token").then(|| refresh.mint(self.keys())),
            id_token,
            issued_token_type: None,
        })
    }

    fn id_token(&self, issue: &Issue<'_>, sub: &str, sid: &str, access_token: &str) -> Result<String, Error> {
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": sub,
            "aud": issue.client.client_id,
            "iat": issue.now.timestamp(),
            "exp": (issue.now + ID_TOKEN_LIFE).timestamp(),
            "auth_time": issue.family.auth_time.timestamp(),
            "acr": issue.family.acr,
            "amr": issue.family.amr,
            "sid": sid,
            "at_hash": jws::half_hash(access_token),
        });
        if let Some(nonce) = issue.nonce {
            claims["nonce"] = Value::from(nonce);
        }
        self.sign("JWT", &claims)
    }

    // The APIs asked for, else all that the client may have; our own userinfo wherever `openid` is granted.
    fn audience(&self, client: &Client, resources: &[String], openid: bool) -> Value {
        let mut audience = if resources.is_empty() { client.audiences.clone() } else { resources.to_vec() };
        if openid || audience.is_empty() {
            audience.push(self.issuer().to_owned());
        }
        match <[String; 1]>::try_from(audience) {
            Ok([one]) => Value::from(one),
            Err(several) => Value::from(several),
        }
    }
}

fn family_of(grant: Grant, session_end: DateTime<Utc>, now: DateTime<Utc>) -> TokenFamily {
    let offline = grant.scopes.iter().any(|scope| scope == "offline_access");
    TokenFamily {
        family_id: grant.code_id,
        client_id: grant.client_id,
        user_id: grant.user_id,
        session_id: grant.session_id,
        scopes: grant.scopes,
        resources: grant.resources,
        acr: grant.acr,
        amr: grant.amr,
        auth_time: grant.auth_time,
        offline,
        seq: 0,
        superseded_at: Vec::new(),
        used_at: now,
        expires_at: if offline { now + token_family::LIFE } else { session_end },
        revoked: false,
    }
}

// The APIs that a token request names, within those that were granted (RFC 8707 2.2); those when it names none.
fn narrowed(client: &Client, granted: &[String], params: &Params) -> Result<Vec<String>, Refusal> {
    let asked = authorization::resources(client, params)
        .map_err(|fault| Refusal::Request { error: fault.error, description: fault.description })?;
    if !granted.is_empty() && !asked.iter().all(|resource| granted.contains(resource)) {
        return Err(Refusal::new("invalid_target", "resource goes beyond what was granted"));
    }
    Ok(if asked.is_empty() { granted.to_vec() } else { asked })
}
