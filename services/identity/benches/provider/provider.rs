//! An OpenID Provider as its users and relying parties meet it: where things are, and each thing that is measured.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::form_urlencoded;

use crate::{
    size::Workload,
    web::{Client, param},
};

/// Relying parties of a session.
pub const RELYING_PARTIES: usize = 6;
pub const SECRET: &str = "bench-0123456789abcdef0123456789abcdef";
pub const PASSWORD: &str = "correct horse battery staple";
pub const CALLBACK: &str = "https://rp.example/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// S256 of [`VERIFIER`] (RFC 7636, appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Where a provider has what.
#[derive(Debug, Clone)]
pub struct Provider {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Host and port of its public URL.
    pub host: String,
    pub authorize: &'static str,
    pub token: &'static str,
    pub userinfo: &'static str,
    pub introspect: &'static str,
    pub keys: &'static str,
    pub logout: &'static str,
    /// The login form's field for the address.
    pub login_field: &'static str,
    pub users: i64,
}

/// One of the generator's workers.
pub struct Worker {
    pub provider: Arc<Provider>,
    pub client: Client,
    number: usize,
    steps: usize,
    // Of grants, with the relying party each belongs to.
    refresh_tokens: Vec<(usize, String)>,
    access_token: String,
}

/// Tokens of one answer.
struct Tokens {
    access: String,
    refresh: Option<String>,
    id: Option<String>,
}

impl Worker {
    pub fn new(provider: Arc<Provider>, number: usize) -> Self {
        let client = Client::new(provider.address, &provider.host);
        Self { provider, client, number, steps: 0, refresh_tokens: Vec::new(), access_token: String::new() }
    }

    /// What has to be there before the workload begins.
    pub async fn prepare(&mut self, workload: Workload, families: usize) -> Result<()> {
        match workload {
            Workload::Sso => self.sign_in(0).await.map(drop),
            Workload::Introspection => {
                self.access_token = self.client_credentials().await?;
                Ok(())
            }
            Workload::Refresh => {
                self.sign_in(0).await?;
                for family in 0..families {
                    let rp = family % RELYING_PARTIES;
                    let tokens = self.again(rp, "openid offline_access").await?;
                    self.refresh_tokens.push((rp, tokens.refresh.context("a refresh token")?));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Once.
    pub async fn step(&mut self, workload: Workload) -> Result<()> {
        self.steps += 1;
        match workload {
            Workload::Login => self.log_in().await,
            Workload::Sso => self.visit().await,
            Workload::Refresh => self.refresh().await,
            Workload::Machine => self.client_credentials().await.map(drop),
            Workload::Introspection => self.introspect().await,
            _ => {
                let answer = self.client.get(self.provider.keys, None).await?.json()?;
                ensure!(answer["keys"].is_array(), "no keys");
                Ok(())
            }
        }
    }

    /// Another tab with the same tokens.
    pub fn twin(&self) -> Self {
        let mut twin = Self::new(Arc::clone(&self.provider), self.number);
        twin.refresh_tokens.clone_from(&self.refresh_tokens);
        twin
    }

    /// The token that comes after the first one.
    pub async fn successor(&mut self) -> Result<String> {
        self.refresh().await?;
        self.refresh_tokens.pop().map(|(_, token)| token).context("a refresh token")
    }

    async fn log_in(&mut self) -> Result<()> {
        self.client.forget();
        let tokens = self.sign_in(self.steps % RELYING_PARTIES).await?;
        if !self.steps.is_multiple_of(10) {
            return Ok(());
        }
        let hint = tokens.id.context("an ID token")?;
        let url = format!("{}?id_token_hint={hint}", self.provider.logout);
        let answer = self.client.get(&url, None).await?;
        ensure!(matches!(answer.status, 200 | 302 | 303), "logout: {}", answer.status);
        Ok(())
    }

    // Of another user each time.
    async fn sign_in(&mut self, rp: usize) -> Result<Tokens> {
        let place = self.number * 7_919 + self.steps;
        let user = i64::try_from(place)? % self.provider.users;
        let mut answer = self.client.get(&self.authorize_url(rp, "openid email"), None).await?;
        // From the endpoint to the page.
        while matches!(answer.status, 302 | 303) {
            let next = answer.location()?.to_owned();
            ensure!(!next.starts_with(CALLBACK), "somebody is signed in already");
            answer = self.client.get(&next, None).await?;
        }
        let (action, mut fields) = answer.form()?;
        fields.push((self.provider.login_field.to_owned(), address_of(user)));
        fields.push(("password".to_owned(), PASSWORD.to_owned()));
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        answer = self.client.post(&action, None, &fields).await?;
        let mut next = answer.location()?.to_owned();
        while !next.starts_with(CALLBACK) {
            answer = self.client.get(&next, None).await?;
            next = answer.location()?.to_owned();
        }
        self.redeem(rp, &next).await
    }

    // Tokens for a relying party, by the session that is there.
    async fn again(&mut self, rp: usize, scope: &str) -> Result<Tokens> {
        let answer = self.client.get(&self.authorize_url(rp, scope), None).await?;
        let location = answer.location()?.to_owned();
        ensure!(location.starts_with(CALLBACK), "the session is gone: {location}");
        self.redeem(rp, &location).await
    }

    async fn visit(&mut self) -> Result<()> {
        let tokens = self.again(self.steps % RELYING_PARTIES, "openid email").await?;
        let bearer = format!("Bearer {}", tokens.access);
        let claims = self.client.get(self.provider.userinfo, Some(&bearer)).await?.json()?;
        ensure!(claims["sub"].is_string(), "no sub");
        Ok(())
    }

    async fn redeem(&mut self, rp: usize, location: &str) -> Result<Tokens> {
        let code = param(location, "code")?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.tokens(rp, &form).await
    }

    async fn refresh(&mut self) -> Result<()> {
        let at = self.steps % self.refresh_tokens.len();
        let (rp, token) = self.refresh_tokens[at].clone();
        let tokens = self.tokens(rp, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await?;
        self.refresh_tokens[at].1 = tokens.refresh.context("a refresh token")?;
        Ok(())
    }

    async fn client_credentials(&mut self) -> Result<String> {
        Ok(self.tokens(0, &[("grant_type", "client_credentials")]).await?.access)
    }

    async fn introspect(&mut self) -> Result<()> {
        let form = [("token", self.access_token.as_str())];
        let answer = self.client.post(self.provider.introspect, Some(&basic(0)), &form).await?.json()?;
        ensure!(answer["active"] == true, "the token does not count: {answer}");
        Ok(())
    }

    async fn tokens(&mut self, rp: usize, form: &[(&str, &str)]) -> Result<Tokens> {
        let answer = self.client.post(self.provider.token, Some(&basic(rp)), form).await?.json()?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Ok(Tokens {
            access: text("access_token").context("an access token")?,
            refresh: text("refresh_token"),
            id: text("id_token"),
        })
    }

    fn authorize_url(&self, rp: usize, scope: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &rp_id(rp)),
                ("redirect_uri", CALLBACK),
                ("scope", scope),
                ("state", "af0ifjsldkj"),
                ("nonce", "n-0S6_WzA2Mj"),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        format!("{}?{query}", self.provider.authorize)
    }
}

/// The client id of a relying party.
pub fn rp_id(rp: usize) -> String {
    format!("rp{rp}")
}

/// The address, and name, of a user.
pub fn address_of(user: i64) -> String {
    format!("user{user}@example.jp")
}

fn basic(rp: usize) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{SECRET}", rp_id(rp))))
}
