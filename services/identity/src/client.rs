//! A relying party: what it may ask for, where it may be sent, how it proves itself.

mod profile;
mod tokens;

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use aws_lc_rs::digest;
use domain::Uuid;
use serde_json::Value;
use subtle::ConstantTimeEq;
use url::{Host, Url};

use crate::{
    jws::{Algorithm, UnknownAlgorithm},
    registration::check_keys,
    theme::Theme,
};

pub use profile::Profile;
pub use tokens::{AccessTokenFormat, TokenRules};

/// Whose client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours: it may skip the consent page, and knows the user id.
    FirstParty,
    /// Somebody else's.
    Partner,
}

impl Kind {
    /// The name in SQL and in the bootstrap file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstParty => "first_party",
            Self::Partner => "partner",
        }
    }
}

impl FromStr for Kind {
    type Err = InvalidClient;
    fn from_str(text: &str) -> Result<Self, InvalidClient> {
        match text {
            "first_party" => Ok(Self::FirstParty),
            "partner" => Ok(Self::Partner),
            _ => Err(InvalidClient { field: "kind", rule: "must be first_party or partner" }),
        }
    }
}

/// How a client proves itself at the token endpoint: exactly as registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A secret in the Authorization header.
    SecretBasic,
    /// A secret in the body.
    SecretPost,
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// Nothing: a public client, which PKCE protects.
    None,
}

impl AuthMethod {
    /// Every method, as the metadata lists them.
    pub const ALL: [Self; 4] = [Self::SecretBasic, Self::SecretPost, Self::PrivateKeyJwt, Self::None];

    /// The registered name (OIDC Core 9).
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }

    /// Whether it is a secret that both sides know.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::SecretBasic | Self::SecretPost)
    }
}

impl FromStr for AuthMethod {
    type Err = InvalidClient;
    fn from_str(text: &str) -> Result<Self, InvalidClient> {
        Self::ALL.into_iter().find(|method| method.name() == text).ok_or(InvalidClient {
            field: "token_endpoint_auth_method",
            rule: "must be client_secret_basic, client_secret_post, private_key_jwt or none",
        })
    }
}

/// A field of a client that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidClient {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl From<UnknownAlgorithm> for InvalidClient {
    fn from(_: UnknownAlgorithm) -> Self {
        Self { field: "id_token_signed_response_alg", rule: "must be ES256, RS256 or PS256" }
    }
}

/// A registered client.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// 1 to 64 letters, digits, `-`, `_`, `.`; never a UUID, which could be taken for a user's `sub`.
    pub client_id: String,
    /// Shown on pages.
    pub name: String,
    /// Ours or a partner's.
    pub kind: Kind,
    /// How it proves itself.
    pub auth_method: AuthMethod,
    /// Of a secret of 256 random bits.
    pub secret_sha256: Option<Vec<u8>>,
    /// Its public keys, as a JWK set.
    pub jwks: Option<Value>,
    /// Where an authorization response may go.
    pub redirect_uris: Vec<String>,
    /// Where a logout may end.
    pub post_logout_redirect_uris: Vec<String>,
    /// Told of a session's end.
    pub backchannel_logout_uri: Option<String>,
    /// Of authorization_code, refresh_token, client_credentials, device_code and token-exchange.
    pub grant_types: Vec<String>,
    /// What it may ask for.
    pub scopes: Vec<String>,
    /// APIs whose tokens it may have.
    pub audiences: Vec<String>,
    /// False only for confidential clients that cannot do PKCE.
    pub pkce_required: bool,
    /// Under which rules it works.
    pub profile: Profile,
    /// Its authorization requests must be pushed.
    pub par_required: bool,
    /// Its tokens must be bound to a key.
    pub dpop_required: bool,
    /// Its assertions may name the token endpoint as their audience, as older libraries do (RFC 7523 3).
    pub token_url_audience: bool,
    /// Of its pairwise subjects; the host of its first redirect URI where it has none (OIDC Core 8.1).
    pub sector: Option<String>,
    /// Where its public keys are, if they are not here.
    pub jwks_uri: Option<String>,
    /// Longest age of a sign-in where its request names none, in seconds.
    pub default_max_age: Option<i64>,
    /// What its ID tokens and logout tokens are signed with: `id_token_signed_response_alg` (OIDC Registration 2).
    pub id_token_alg: Algorithm,
    /// What its tokens are like.
    pub tokens: TokenRules,
    /// The look of its pages; nothing for the suite's own. Shared: a client is cloned at each request, a logo is large.
    pub theme: Option<Arc<Theme>>,
}

/// Device authorization grant (RFC 8628 3.4).
pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Token exchange (RFC 8693 2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

const GRANTS: [&str; 5] =
    ["authorization_code", "refresh_token", "client_credentials", DEVICE_CODE, TOKEN_EXCHANGE];

impl Client {
    /// Whether it is ours.
    pub fn is_first_party(&self) -> bool {
        self.kind == Kind::FirstParty
    }

    /// Whether it may use this grant.
    pub fn may(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|own| own == grant_type)
    }

    /// Whether this is its secret; in constant time.
    pub fn has_secret(&self, secret: &str) -> bool {
        let given = secret_sha256(secret);
        self.secret_sha256.as_deref().is_some_and(|own| bool::from(own.ct_eq(&given)))
    }

    /// Whether an authorization response may go there: exactly a registered URI, but that a loopback IP may have
    /// another port (RFC 8252 7.3).
    pub fn has_redirect_uri(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|own| own == uri || is_same_but_for_port(own, uri))
    }

    /// Whether a logout may end there: exactly a registered URI.
    pub fn has_post_logout_redirect_uri(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris.iter().any(|own| own == uri)
    }

    /// The sector of its pairwise subjects.
    pub fn sector(&self) -> String {
        if let Some(sector) = &self.sector {
            return sector.clone();
        }
        let host = self.redirect_uris.first().and_then(|uri| Url::parse(uri).ok());
        host.and_then(|uri| uri.host_str().map(str::to_owned)).unwrap_or_else(|| self.client_id.clone())
    }

    /// Checks the rules that a registration must keep.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn check(&self) -> Result<(), InvalidClient> {
        if !is_client_id(&self.client_id) || Uuid::try_parse(&self.client_id).is_ok() {
            return wrong("client_id", "must be 1 to 64 letters, digits, `-`, `_` or `.`, and no UUID");
        }
        if self.name.is_empty() || self.name.chars().count() > 100 {
            return wrong("name", "must be 1 to 100 characters");
        }
        if self.grant_types.iter().any(|grant| !GRANTS.contains(&grant.as_str())) {
            return wrong(
                "grant_types",
                "must be of authorization_code, refresh_token, client_credentials, device_code, token-exchange",
            );
        }
        if self.may(TOKEN_EXCHANGE) && (!self.is_first_party() || self.auth_method == AuthMethod::None) {
            return wrong("grant_types", "must have token-exchange at confidential first-party clients only");
        }
        if !self.may_sign_with(self.id_token_alg.name()) {
            return wrong("id_token_signed_response_alg", "must be ES256 or PS256 with profile fapi2");
        }
        if self.auth_method.is_secret()
            != self.secret_sha256.as_ref().is_some_and(|digest| digest.len() == 32)
        {
            return wrong("client_secret_sha256", "must be given for a secret method, and only then");
        }
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return wrong("jwks", "must not come with jwks_uri");
        }
        if let Some(Err(rule)) = self.jwks.as_ref().map(check_keys) {
            return wrong("jwks", rule);
        }
        for (field, uri) in
            [("jwks_uri", &self.jwks_uri), ("backchannel_logout_uri", &self.backchannel_logout_uri)]
        {
            if !uri.as_deref().is_none_or(|uri| is_url(uri, &["https", "http"])) {
                return wrong(field, "must be a URL without fragment or credentials");
            }
        }
        if self.auth_method == AuthMethod::PrivateKeyJwt && self.jwks.is_none() && self.jwks_uri.is_none() {
            return wrong("jwks", "must be given for private_key_jwt, or jwks_uri");
        }
        if self.auth_method == AuthMethod::None && self.may("client_credentials") {
            return wrong("grant_types", "must not have client_credentials without client authentication");
        }
        if self.auth_method == AuthMethod::None && !self.pkce_required {
            return wrong("pkce", "must be required of a public client");
        }
        self.tokens.check()?;
        if self.may("authorization_code") && self.redirect_uris.is_empty() {
            return wrong("redirect_uris", "must not be empty with authorization_code");
        }
        self.check_profile()?;
        let uris = self.redirect_uris.iter().chain(&self.post_logout_redirect_uris);
        if !uris.clone().all(|uri| is_redirect_uri(uri)) {
            return wrong("redirect_uris", "must be absolute https or loopback http URIs without fragment");
        }
        Ok(())
    }
}

fn wrong(field: &'static str, rule: &'static str) -> Result<(), InvalidClient> {
    Err(InvalidClient { field, rule })
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.client_id)
    }
}

/// What is kept of a secret. It has 256 random bits: no slow hash needed.
pub fn secret_sha256(secret: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// Whether a text can be a client id at all: asked before any SQL.
pub fn is_client_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether a text is a URL of one of these schemes, of at most 1,000 bytes, without fragment or credentials.
pub(crate) fn is_url(uri: &str, schemes: &[&str]) -> bool {
    let right = |url: Url| {
        schemes.contains(&url.scheme())
            && url.host().is_some()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    uri.len() <= 1_000 && Url::parse(uri).is_ok_and(right)
}

// https everywhere; http on the loopback; a private scheme with a dot for native apps (RFC 8252 7.1).
pub(crate) fn is_redirect_uri(uri: &str) -> bool {
    // The parser would mend what is no URI (RFC 3986 2), and browsers mend it in their own ways.
    if !uri.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'\\') {
        return false;
    }
    let Ok(url) = Url::parse(uri) else { return false };
    if uri.len() > 1000 || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some()
    {
        return false;
    }
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        },
        scheme => scheme.contains('.'),
    }
}

// Compares texts around the port, so that no parser's idea of a path, a case or a default port widens the match.
fn is_same_but_for_port(own: &str, uri: &str) -> bool {
    match (split_port(own), split_port(uri)) {
        (Some(own), Some(given)) => own == given,
        _ => false,
    }
}

fn split_port(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    // A number's own parser takes a sign, and any number of zeros.
    let is_port =
        port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if !port.is_empty() && !is_port {
        return None;
    }
    let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    ip.is_loopback().then_some((host, path))
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(crate) mod tests;
