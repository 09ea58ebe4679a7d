//! OAuth 2.0 and OpenID Connect, as a relying party writes them.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::Clock;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::JwkSet};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use crate::suite::Keys;

/// The type of a client's signed proof (RFC 7523).
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An OpenID Provider, by its metadata.
#[derive(Debug, Clone, Deserialize)]
pub struct Provider {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Who is signed in.
    pub userinfo_endpoint: String,
    /// Its public keys.
    pub jwks_uri: String,
    /// Where people sign out.
    pub end_session_endpoint: String,
    #[serde(skip)]
    http: reqwest::Client,
}

/// What a code, or a client, is worth.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// For APIs.
    pub access_token: String,
    /// Who signed in.
    pub id_token: Option<String>,
    /// For the next access token.
    pub refresh_token: Option<String>,
    /// What it is good for.
    #[serde(default)]
    pub scope: String,
}

/// One sign-in on its way: the authorization code flow with PKCE (RFC 7636).
#[derive(Debug, Clone)]
pub struct CodeFlow {
    /// The relying party.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What is asked for.
    pub scope: String,
    state: String,
    nonce: String,
    verifier: String,
}

/// What an ID token or a logout token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it is about.
    pub sub: Option<String>,
    /// The session.
    pub sid: Option<String>,
    /// Of an ID token alone.
    pub nonce: Option<String>,
    /// Unique.
    pub jti: Option<String>,
    /// Of a logout token alone.
    pub events: Option<Value>,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
}

impl Provider {
    /// Reads the metadata of an issuer (OpenID Connect Discovery 1.0).
    ///
    /// # Errors
    /// No answer, or the metadata of another issuer.
    pub async fn discover(issuer: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{issuer}/.well-known/openid-configuration");
        let answer = http.get(&url).send().await?.error_for_status()?;
        let mut provider: Self = answer.json().await.context("metadata that lack something")?;
        ensure!(provider.issuer == issuer, "{url} is of issuer {}", provider.issuer);
        provider.http = http;
        Ok(provider)
    }

    /// Where to send a person who is to sign in.
    ///
    /// # Errors
    /// The metadata name no address.
    pub fn authorize_url(&self, flow: &CodeFlow) -> Result<Url> {
        let mut url = Url::parse(&self.authorization_endpoint)?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, flow.verifier.as_bytes()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &flow.client_id)
            .append_pair("redirect_uri", &flow.redirect_uri)
            .append_pair("scope", &flow.scope)
            .append_pair("state", &flow.state)
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Redeems the code in the answer's address and checks the ID token that comes with it.
    ///
    /// # Errors
    /// An answer to another request, a refusal, an ID token that does not hold.
    pub async fn redeem(
        &self,
        flow: &CodeFlow,
        answer: &Url,
        assertion: Option<&str>,
    ) -> Result<(Tokens, Claims)> {
        let given = |name: &str| {
            answer.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        ensure!(given("error").is_none(), "identity refuses: {answer}");
        ensure!(given("state").as_deref() == Some(&flow.state), "the answer is not ours: state");
        ensure!(
            given("iss").as_deref() == Some(&self.issuer),
            "the answer is not identity's: iss (RFC 9207)"
        );
        let code = given("code").context("the answer holds no code")?;
        let tokens = self
            .token(
                &flow.client_id,
                assertion,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", &code),
                    ("redirect_uri", &flow.redirect_uri),
                    ("code_verifier", &flow.verifier),
                ],
            )
            .await?;
        let id_token = tokens.id_token.as_deref().context("no ID token came with the code")?;
        let claims: Claims = self.verify(id_token, &flow.client_id, &["exp", "iss", "aud", "sub"]).await?;
        ensure!(claims.nonce.as_deref() == Some(&flow.nonce), "the ID token is not ours: nonce");
        Ok((tokens, claims))
    }

    /// Asks the token endpoint.
    ///
    /// # Errors
    /// A refusal, with its code.
    pub async fn token(
        &self,
        client_id: &str,
        assertion: Option<&str>,
        form: &[(&str, &str)],
    ) -> Result<Tokens> {
        let mut form = form.to_vec();
        form.push(("client_id", client_id));
        if let Some(assertion) = assertion {
            form.extend([("client_assertion_type", ASSERTION), ("client_assertion", assertion)]);
        }
        let answer = self.http.post(&self.token_endpoint).form(&form).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "the token endpoint answers {client_id} {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// A token of a client's own, by its signed proof.
    ///
    /// # Errors
    /// A refusal.
    pub async fn client_token(&self, keys: &Keys, client_id: &str, audience: &str) -> Result<Tokens> {
        let assertion = assertion(keys, client_id, &self.issuer)?;
        let form = [("grant_type", "client_credentials"), ("resource", audience)];
        self.token(client_id, Some(&assertion), &form).await
    }

    /// Checks the signature of an ID token or a logout token against the published keys, and its `iss` and `aud`.
    ///
    /// # Errors
    /// It does not hold.
    pub async fn verify<C: DeserializeOwned + Clone>(
        &self,
        jwt: &str,
        client_id: &str,
        required: &[&str],
    ) -> Result<C> {
        let keys: JwkSet = self.http.get(&self.jwks_uri).send().await?.error_for_status()?.json().await?;
        let header = jsonwebtoken::decode_header(jwt)?;
        ensure!(header.alg == Algorithm::ES256, "signed with {:?}, not ES256", header.alg);
        let kid = header.kid.context("a token without kid")?;
        let key = keys.find(&kid).with_context(|| format!("key {kid} is not published"))?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[client_id]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(required);
        validation.validate_exp = required.contains(&"exp");
        Ok(jsonwebtoken::decode::<C>(jwt, &DecodingKey::from_jwk(key)?, &validation)?.claims)
    }
}

impl CodeFlow {
    /// A new sign-in, with secrets of its own.
    ///
    /// # Errors
    /// No random bytes.
    pub fn begin(client_id: &str, redirect_uri: &str, scope: &str) -> Result<Self> {
        Ok(Self {
            client_id: client_id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            scope: scope.to_owned(),
            state: random()?,
            nonce: random()?,
            verifier: random()?,
        })
    }

    /// Which sign-in an answer belongs to.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }
}

/// A client's signed proof of itself (RFC 7523), good for a minute.
///
/// # Errors
/// Its key is not there.
pub fn assertion(keys: &Keys, client_id: &str, issuer: &str) -> Result<String> {
    let now = Clock::system().now().timestamp();
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": issuer, "jti": domain::new_id(), "iat": now, "exp": now + 60,
    });
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(keys.key_id(client_id)?);
    let key = EncodingKey::from_ec_pem(keys.read(&format!("{client_id}.pem"))?.as_bytes())?;
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}

fn random() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok().context("no random bytes")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
