//! The token endpoint: a code, a refresh token or the client's own right against tokens (RFC 6749 4.1.3, 4.4, 6).

use domain::{DateTime, UserId, Utc, Uuid};
use serde_json::json;

use super::{
    App, Refusal,
    dpop::Shown,
    issue::{Issue, TokenAnswer, bind},
};
use crate::{
    acr::Level,
    authorization,
    client::{AuthMethod, Client, DEVICE_CODE, TOKEN_EXCHANGE},
    error::Error,
    grant::{Grant, Redemption},
    handle::{Handle, Kind},
    params::{Params, words},
    revocation::Revoked,
    scope,
    store::{self, record::AuditRecord},
    token_family::{self, Refresh, TokenFamily},
};

/// A refresh that another one overtook looks once more: by then its token is superseded or revoked.
const LOOKS: usize = 2;

const fn invalid_grant<T>(description: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new("invalid_grant", description))
}

impl App {
    /// Answers a token request of an authenticated client.
    ///
    /// # Errors
    /// A code of RFC 6749 5.2; the database.
    pub async fn token(
        &self,
        client: &Client,
        params: &Params,
        shown: &Shown<'_>,
    ) -> Result<TokenAnswer, Refusal> {
        let grant_type = match params.get("grant_type") {
            Some(known @ ("authorization_code" | "refresh_token" | "client_credentials")) => known,
            Some(known @ (DEVICE_CODE | TOKEN_EXCHANGE)) => known,
            Some(_) => return Err(Refusal::new("unsupported_grant_type", "grant_type is not supported")),
            None => return Err(Refusal::new("invalid_request", "grant_type is missing")),
        };
        if !client.may(grant_type) {
            return Err(Refusal::new("unauthorized_client", "the client may not use this grant_type"));
        }
        self.need_key(client.id_token_alg).await?;
        let jkt = self.key_for_tokens(client, shown)?;
        let jkt = jkt.as_deref();
        let answer = match grant_type {
            "authorization_code" => self.redeem(client, params, jkt).await,
            "refresh_token" => self.refresh(client, params, jkt).await,
            DEVICE_CODE => self.redeem_device(client, params, jkt).await,
            TOKEN_EXCHANGE => self.exchange(client, params, jkt).await,
            _ => self.client_credentials(client, params, jkt),
        };
        if answer.is_ok() {
            self.note_used(client, self.now());
        }
        answer
    }

    async fn redeem(
        &self,
        client: &Client,
        params: &Params,
        jkt: Option<&str>,
    ) -> Result<TokenAnswer, Refusal> {
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
        let (redirect_uri, verifier) = (params.get("redirect_uri"), params.get("code_verifier"));
        match grant.redeem(&client.client_id, redirect_uri, verifier, jkt, now) {
            Redemption::Accepted => {}
            Redemption::Reused => return self.refuse_reuse(&grant).await,
            Redemption::Refused(description) => return invalid_grant(description),
        }
        let resources = narrowed(client, &grant.resources, params)?;
        let asked = self.asked_in_id_token(grant.user_id, &grant.claims.id_token).await?;
        // A confidential client's refresh tokens are bound to it already (RFC 9449 5).
        let bound_to = jkt.filter(|_| client.auth_method == AuthMethod::None);
        let offline = grant.scopes.iter().any(|scope| scope == "offline_access");
        let until = now + token_family::LIFE;
        let end = store::grant::redeem(&self.db, grant.code_id, offline, bound_to, until, now).await?;
        let Some(end) = end else {
            // Another request was faster, or the session ended in between.
            return match store::grant::load(&self.db, grant.code_id).await? {
                Some(grant) if grant.consumed_at.is_some() => self.refuse_reuse(&grant).await,
                _ => invalid_grant("the session has ended"),
            };
        };
        tracing::info!(client_id = %client, user_id = %grant.user_id, "authorization code redeemed");
        let nonce = grant.nonce.clone();
        let family = family_of(grant, bound_to, offline, end, now);
        let (scopes, nonce) = (family.scopes.clone(), nonce.as_deref());
        let issue = Issue { client, family: &family, scopes, resources, nonce, jkt, asked, shown: None, now };
        Ok(self.issue_tokens(&issue)?)
    }

    // Two hold the code: whoever was first loses what it got (RFC 6749 4.1.2).
    async fn refuse_reuse(&self, grant: &Grant) -> Result<TokenAnswer, Refusal> {
        self.revoke_as_stolen(grant.code_id, &grant.client_id, grant.user_id, "code_reused").await?;
        invalid_grant("the code was used before")
    }

    async fn refresh(
        &self,
        client: &Client,
        params: &Params,
        jkt: Option<&str>,
    ) -> Result<TokenAnswer, Refusal> {
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
            if family.jkt.is_some() && family.jkt.as_deref() != jkt {
                return invalid_grant("the refresh token is bound to a key that the request does not prove");
            }
            let judged = family.judge(client, handle.counter, now);
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
            let asked = self.asked_in_id_token(family.user_id, &family.claims.id_token).await?;
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
                jkt,
                asked,
                shown: Some(text),
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
        self.revoke_family(family_id, client_id, user_id, outcome).await?;
        tracing::warn!(client_id, %user_id, outcome, "tokens revoked");
        Ok(())
    }

    /// Ends a grant with all its tokens, everywhere; a second time is as good as the first.
    pub(super) async fn revoke_family(
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
        let strong = family.acr == Level::Two.name();
        let held = if strong && family.scopes.iter().any(|scope| scope::is_staff(scope, first_party)) {
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

    fn client_credentials(
        &self,
        client: &Client,
        params: &Params,
        jkt: Option<&str>,
    ) -> Result<TokenAnswer, Refusal> {
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
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": client.client_id,
            "aud": self.audience(client, &resources, false),
            "client_id": client.client_id,
            "scope": scope,
            "iat": now.timestamp(),
            "exp": now.timestamp() + seconds,
            "jti": domain::new_id(),
        });
        let token_type = bind(&mut claims, jkt);
        Ok(TokenAnswer::alone(self.access_token(client, &claims)?, token_type, seconds, scope))
    }
}

fn family_of(
    grant: Grant,
    jkt: Option<&str>,
    offline: bool,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> TokenFamily {
    TokenFamily {
        family_id: grant.code_id,
        client_id: grant.client_id,
        user_id: grant.user_id,
        session_id: grant.session_id,
        scopes: grant.scopes,
        resources: grant.resources,
        claims: grant.claims,
        acr: grant.acr,
        amr: grant.amr,
        jkt: jkt.map(str::to_owned),
        auth_time: grant.auth_time,
        offline,
        seq: 0,
        superseded_at: Vec::new(),
        used_at: now,
        expires_at,
        revoked: false,
    }
}

// The APIs that a token request names, within those that were granted (RFC 8707 2.2); when it names none, those of them
// that the client may still have.
fn narrowed(client: &Client, granted: &[String], params: &Params) -> Result<Vec<String>, Refusal> {
    let asked = authorization::resources(client, params)?;
    if !granted.is_empty() && !asked.iter().all(|resource| granted.contains(resource)) {
        return Err(Refusal::new("invalid_target", "resource goes beyond what was granted"));
    }
    if !asked.is_empty() || granted.is_empty() {
        return Ok(asked);
    }
    let left: Vec<String> = granted.iter().filter(|own| client.audiences.contains(own)).cloned().collect();
    // An empty list would stand for all of the client's.
    if left.is_empty() {
        return Err(Refusal::new("invalid_target", "the client may have none of the granted resources now"));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::client;

    #[test]
    fn what_a_client_has_lost_since_the_grant_is_in_no_token() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut client = client();
        client.audiences = list(&["kotinos.profile", "kotinos.results"]);
        let apis = |granted: &[&str], asked: &str| {
            narrowed(&client, &list(granted), &Params::parse(asked.as_bytes()).unwrap())
                .map_err(|refusal| refusal.error())
        };
        let both = ["kotinos.profile", "kotinos.mailer"];
        assert_eq!(apis(&both, ""), Ok(list(&["kotinos.profile"])));
        assert_eq!(apis(&["kotinos.mailer"], ""), Err("invalid_target"));
        assert_eq!(apis(&both, "resource=kotinos.mailer"), Err("invalid_target"));
        assert_eq!(apis(&both, "resource=kotinos.results"), Err("invalid_target"));
        assert_eq!(apis(&[], ""), Ok(Vec::new()));
    }
}
