//! The authorization request (RFC 6749 4.1.1, OIDC Core 3.1.2.1), and what is to be done with it.

use domain::{DateTime, Locale, UserId, Utc, Uuid};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::{
    acr::{self, Level},
    claims,
    client::Client,
    dpop,
    params::{Params, words},
    session::Session,
};

/// How the response travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
    /// In a form that the browser posts there.
    FormPost,
}

/// A request whose client and redirect URI are proved and whose parameters are right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub client_id: String,
    /// Where the answer goes: as it was given, since a loopback port may vary.
    pub redirect_uri: String,
    /// How the answer travels.
    pub response_mode: ResponseMode,
    /// Given back as it came.
    pub state: Option<String>,
    /// Repeated in the ID token.
    pub nonce: Option<String>,
    /// What is asked for, registered or not.
    pub scopes: Vec<String>,
    /// S256 challenge (RFC 7636).
    pub code_challenge: Option<String>,
    /// No page may be shown.
    pub prompt_none: bool,
    /// The user must sign in again.
    pub prompt_login: bool,
    /// The user must be asked for consent.
    pub prompt_consent: bool,
    /// Longest age of the sign-in, in seconds.
    pub max_age: Option<i64>,
    /// An ID token of ours that names the user; unread.
    pub id_token_hint: Option<String>,
    /// Prefills the address field.
    pub login_hint: Option<String>,
    /// The best of the asked languages.
    pub locale: Option<Language>,
    /// APIs for which tokens will be asked (RFC 8707).
    pub resources: Vec<String>,
    /// Claims asked for by name (OIDC Core 5.5).
    pub claims: claims::Requested,
    /// The one user who is meant, as the client knows the user.
    pub sub: Option<String>,
    /// How the user is to be authenticated, best first.
    pub acr_values: Vec<String>,
    /// One of these and nothing else will do.
    pub acr_is_essential: bool,
    /// The user was asked to show more: a mere wish is given up.
    #[serde(default)]
    pub asked_more: bool,
    /// Thumbprint of the key to which the code is bound (RFC 9449 10).
    pub dpop_jkt: Option<String>,
    /// It was pushed (RFC 9126), and one code is issued for it.
    pub pushed_request_id: Option<Uuid>,
}

/// A locale by its tag, as it travels inside a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Japanese
    Ja,
    /// English
    En,
    /// French
    Fr,
}

/// An error response (RFC 6749 4.1.2.1, OIDC Core 3.1.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error}: {description}")]
pub struct Fault {
    /// The registered code.
    pub error: &'static str,
    /// For the client's engineers.
    pub description: &'static str,
}

const fn fault<T>(error: &'static str, description: &'static str) -> Result<T, Fault> {
    Err(Fault { error, description })
}

/// Longest `state`, `nonce` and hints, in bytes.
const LONGEST: usize = 2_048;
/// Most values of `acr_values` that are looked at.
const MOST_ACR_VALUES: usize = 16;

impl Request {
    /// Reads what remains once client and redirect URI are proved.
    ///
    /// # Errors
    /// What the client is told at its redirect URI.
    pub fn parse(client: &Client, redirect_uri: &str, params: &Params) -> Result<Self, Fault> {
        refuse_what_is_not_supported(client, params)?;
        let asked = claims_parameter(params)?;
        let mut request = Self {
            client_id: client.client_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            response_mode: response_mode(params).ok_or(UNKNOWN_RESPONSE_MODE)?,
            state: short(params, "state")?,
            nonce: short(params, "nonce")?,
            scopes: scopes(params)?,
            code_challenge: code_challenge(client, params)?,
            prompt_none: false,
            prompt_login: false,
            prompt_consent: false,
            max_age: max_age(params)?.or(client.default_max_age),
            id_token_hint: params.get("id_token_hint").map(str::to_owned),
            login_hint: short(params, "login_hint")?,
            locale: params.get("ui_locales").and_then(ui_locales),
            resources: resources(client, params)?,
            claims: asked.requested,
            sub: asked.sub,
            acr_values: asked.acr_values,
            acr_is_essential: asked.acr_is_essential,
            asked_more: false,
            dpop_jkt: dpop_jkt(params)?,
            pushed_request_id: None,
        };
        request.read_prompt(params)?;
        Ok(request)
    }

    fn read_prompt(&mut self, params: &Params) -> Result<(), Fault> {
        for word in params.get("prompt").unwrap_or_default().split(' ') {
            match word {
                "none" => self.prompt_none = true,
                // Nobody has two accounts in one session: choosing another means signing in again.
                "login" | "select_account" => self.prompt_login = true,
                "consent" => self.prompt_consent = true,
                "" => {}
                _ => return fault("invalid_request", "prompt has an unknown value"),
            }
        }
        if self.prompt_none && (self.prompt_login || self.prompt_consent) {
            return fault("invalid_request", "prompt none must stand alone");
        }
        Ok(())
    }

    /// The request after its user has just signed in for it.
    #[must_use]
    pub fn signed_in(mut self) -> Self {
        self.prompt_login = false;
        self.max_age = None;
        self
    }

    /// How strongly the user is to sign in.
    pub fn acr(&self) -> acr::Asked {
        acr::Asked { values: self.acr_values.clone(), essential: self.acr_is_essential }
    }

    /// The language that it asked for.
    pub fn language(&self) -> Option<Locale> {
        self.locale.map(|locale| match locale {
            Language::Ja => Locale::Ja,
            Language::En => Locale::En,
            Language::Fr => Locale::Fr,
        })
    }
}

const UNKNOWN_RESPONSE_MODE: Fault =
    Fault { error: "invalid_request", description: "response_mode must be query or form_post" };

fn refuse_what_is_not_supported(client: &Client, params: &Params) -> Result<(), Fault> {
    if params.has_repeated() {
        return fault("invalid_request", "a parameter is repeated");
    }
    if params.get("request").is_some() {
        return fault("request_not_supported", "request objects are not supported");
    }
    if params.get("request_uri").is_some() {
        return fault("request_uri_not_supported", "request_uri is not supported");
    }
    if params.get("registration").is_some() {
        return fault("registration_not_supported", "registration is not supported");
    }
    match params.get("response_type") {
        None => return fault("invalid_request", "response_type is missing"),
        Some("code") => {}
        Some(_) => return fault("unsupported_response_type", "response_type must be code"),
    }
    if !client.may("authorization_code") {
        return fault("unauthorized_client", "the client may not use authorization codes");
    }
    Ok(())
}

/// The response mode, also of a request that is otherwise wrong.
pub fn response_mode(params: &Params) -> Option<ResponseMode> {
    match params.get("response_mode") {
        None | Some("query") => Some(ResponseMode::Query),
        Some("form_post") => Some(ResponseMode::FormPost),
        Some(_) => None,
    }
}

fn short(params: &Params, name: &'static str) -> Result<Option<String>, Fault> {
    match params.get(name) {
        Some(value) if value.len() > LONGEST => {
            fault("invalid_request", "a parameter is longer than 2048 bytes")
        }
        value => Ok(value.map(str::to_owned)),
    }
}

fn scopes(params: &Params) -> Result<Vec<String>, Fault> {
    match words(params.get("scope").unwrap_or_default()) {
        Some(scopes) if !scopes.is_empty() => Ok(scopes),
        _ => fault("invalid_scope", "scope must be words of RFC 6749 3.3"),
    }
}

fn code_challenge(client: &Client, params: &Params) -> Result<Option<String>, Fault> {
    let Some(challenge) = params.get("code_challenge") else {
        return match (client.pkce_required, params.get("code_challenge_method")) {
            (false, None) => Ok(None),
            _ => fault("invalid_request", "code_challenge is missing"),
        };
    };
    // Without a method it is `plain` (RFC 7636 4.3), which protects nobody.
    if params.get("code_challenge_method") != Some("S256") {
        return fault("invalid_request", "code_challenge_method must be S256");
    }
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if challenge.len() != 43 || !challenge.bytes().all(base64url) {
        return fault("invalid_request", "code_challenge must be 43 characters of base64url");
    }
    Ok(Some(challenge.to_owned()))
}

fn dpop_jkt(params: &Params) -> Result<Option<String>, Fault> {
    match params.get("dpop_jkt") {
        Some(jkt) if !dpop::is_thumbprint(jkt) => {
            fault("invalid_request", "dpop_jkt must be the base64url of a SHA-256 thumbprint")
        }
        jkt => Ok(jkt.map(str::to_owned)),
    }
}

// What acr_values asks for is voluntary (OIDC Core 5.5.1.1); an acr in claims takes its place.
fn claims_parameter(params: &Params) -> Result<claims::Parameter, Fault> {
    let mut asked = match params.get("claims").map(claims::Parameter::parse) {
        None => claims::Parameter::default(),
        Some(Ok(asked)) => asked,
        Some(Err(claims::InvalidClaims(description))) => return fault("invalid_request", description),
    };
    if asked.acr_values.is_empty()
        && let Some(values) = short(params, "acr_values")?
    {
        let values = values.split(' ').filter(|value| !value.is_empty());
        asked.acr_values = values.take(MOST_ACR_VALUES).map(str::to_owned).collect();
    }
    if asked.acr_is_essential && asked.acr_values.iter().all(|value| Level::find(value).is_none()) {
        return Err(UNMET);
    }
    Ok(asked)
}

fn max_age(params: &Params) -> Result<Option<i64>, Fault> {
    let Some(text) = params.get("max_age") else { return Ok(None) };
    match text.parse::<u32>() {
        Ok(seconds) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(i64::from(seconds))),
        _ => fault("invalid_request", "max_age must be a number of seconds"),
    }
}

/// The APIs that a request names, each one the client may have (RFC 8707 2).
///
/// # Errors
/// `invalid_target` for any other.
pub fn resources(client: &Client, params: &Params) -> Result<Vec<String>, Fault> {
    let mut resources: Vec<String> = Vec::new();
    for resource in params.all("resource") {
        if !client.audiences.iter().any(|own| own == resource) {
            return fault("invalid_target", "resource is not one of the client's audiences");
        }
        if !resources.iter().any(|other| other == resource) {
            resources.push(resource.to_owned());
        }
    }
    Ok(resources)
}

fn ui_locales(text: &str) -> Option<Language> {
    let locale = text.split(' ').take(20).find_map(|tag| tag.parse::<Locale>().ok())?;
    Some(match locale {
        Locale::Ja => Language::Ja,
        Locale::En => Language::En,
        Locale::Fr => Language::Fr,
    })
}

/// Nobody may be asked, and somebody would have to sign in.
pub const LOGIN_REQUIRED: Fault = Fault { error: "login_required", description: "the user must sign in" };
/// The user cannot sign in as strongly as it is essential (OIDC Core Error Code unmet_authentication_requirements 1.0).
pub const UNMET: Fault = Fault {
    error: "unmet_authentication_requirements",
    description: "the user cannot sign in as strongly as asked",
};

/// What happens next with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The user signs in.
    SignIn,
    /// The user is asked for consent.
    AskConsent,
    /// A code is issued.
    Issue,
    /// The client is told.
    Fail(Fault),
}

/// Decides by the session, the user that the hint names (`Some(None)`: nobody whom we know), and the scopes that the
/// user would still have to allow.
pub fn next(
    request: &Request,
    session: Option<&Session>,
    hinted: Option<Option<UserId>>,
    needs_consent: bool,
    now: DateTime<Utc>,
) -> Next {
    let consent_required = Fault { error: "consent_required", description: "the user must allow it" };
    let usable = session.filter(|session| {
        let recent = request.max_age.is_none_or(|most| (now - session.pwd_at).num_seconds() <= most);
        let hinted = hinted.is_none_or(|user| user == Some(session.user_id));
        recent && hinted && !request.prompt_login
    });
    if usable.is_none() {
        return if request.prompt_none { Next::Fail(LOGIN_REQUIRED) } else { Next::SignIn };
    }
    if !needs_consent {
        return Next::Issue;
    }
    if request.prompt_none { Next::Fail(consent_required) } else { Next::AskConsent }
}

/// The redirect URI with a response in its query, every name and value percent-encoded.
pub fn with_query(redirect_uri: &str, pairs: &[(&str, &str)]) -> String {
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{redirect_uri}{separator}{query}")
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
