//! Clients that register themselves (RFC 7591, OIDC Registration 1.0): what they may say, and what a policy lets them have.

mod fields;

use domain::{DateTime, TimeDelta, Utc, Uuid};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    client::{AuthMethod, Client, Kind, Profile, TokenRules, is_redirect_uri},
    scope,
};
use fields::Fields;

pub use fields::{InvalidMetadata, check_keys};

/// What an initial access token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its row.
    pub policy_id: Uuid,
    /// For operators.
    pub name: String,
    /// Tokens of earlier generations are revoked.
    pub generation: u32,
    /// Scopes that its clients may have; all of them where none is asked for.
    pub scopes: Vec<String>,
    /// Grants that its clients may use.
    pub grant_types: Vec<String>,
    /// How its clients may prove themselves.
    pub auth_methods: Vec<String>,
    /// False lets confidential clients do without PKCE.
    pub pkce_required: bool,
    /// How many clients it may have at once.
    pub most_clients: u32,
    /// Its tokens are good until then.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Policy {
    /// Checks the rules that a policy must keep.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self) -> Result<(), &'static str> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(named) {
            return Err("its name must be 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        // A partner's client has no scope beyond OpenID Connect's in a user's token; here it cannot even ask.
        if self.scopes.is_empty() || !self.scopes.iter().all(|scope| scope::is_oidc(scope)) {
            return Err("its scopes must be OpenID Connect's");
        }
        let grants = ["authorization_code", "refresh_token"];
        if self.grant_types.is_empty()
            || !self.grant_types.iter().all(|grant| grants.contains(&grant.as_str()))
        {
            return Err("its grant_types must be authorization_code and refresh_token");
        }
        let known = |method: &String| method.parse::<AuthMethod>().is_ok();
        if self.auth_methods.is_empty() || !self.auth_methods.iter().all(known) {
            return Err("its token_endpoint_auth_methods must be supported ones");
        }
        Ok(())
    }

    /// Whether a token of this generation registers clients now.
    pub fn is_open(&self, generation: u32, now: DateTime<Utc>) -> bool {
        self.generation == generation && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A registration whose metadata keeps the rules and its policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    client: Client,
    /// Where its redirect URIs are listed, if it has several hosts (OIDC Core 8.1).
    pub sector_identifier_uri: Option<String>,
    /// Metadata that we only keep and give back.
    kept: Map<String, Value>,
}

/// Most URIs of one kind.
const MOST_URIS: usize = 20;
/// Longest name and software id, in characters.
const LONGEST_NAME: usize = 100;
/// What OIDC Registration 2 names that we cannot do: asking for it is an error, since its answer would differ.
const UNSUPPORTED: [&str; 5] = [
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_signed_response_alg",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
];
/// What only the answer may have (RFC 7592 2.2).
const OF_ANSWERS: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

/// A client that got no token so long after its registration is deleted.
pub const NEVER_USED: TimeDelta = TimeDelta::days(30);
/// One that got tokens is deleted so long after its last one. No grant lives that long.
pub const UNUSED: TimeDelta = TimeDelta::days(180);

const PREFIX: &str = "dyn-";

/// The client id of a registration: the row's id, but not in a form that could be taken for a user's.
pub fn client_id_of(registration_id: Uuid) -> String {
    format!("{PREFIX}{}", registration_id.simple())
}

/// Whether a client of this name may have registered itself.
pub fn may_be_registered(client_id: &str) -> bool {
    client_id.starts_with(PREFIX)
}

impl Registration {
    /// Reads metadata. Members that we do not know are ignored (RFC 7591 2).
    ///
    /// # Errors
    /// The first field that breaks a rule or goes beyond the policy.
    pub fn parse(
        registration_id: Uuid,
        metadata: &Map<String, Value>,
        policy: &Policy,
    ) -> Result<Self, InvalidMetadata> {
        let fields = Fields(metadata);
        for field in OF_ANSWERS {
            fields.absent(field, "must not be in a request")?;
        }
        for field in UNSUPPORTED {
            fields.absent(field, "is not supported")?;
        }
        fields.one_of("subject_type", &["pairwise"])?;
        let id_token_alg = fields.id_token_alg()?;
        let mut kept = Map::new();
        let auth_method = auth_method(&fields, policy)?;
        let grant_types = grant_types(&fields, policy)?;
        let redirect_uris = redirect_uris(&fields, &grant_types, &mut kept)?;
        let sector_identifier_uri = fields.called("sector_identifier_uri")?;
        let hosts = hosts(&redirect_uris);
        if hosts.len() > 1 && sector_identifier_uri.is_none() {
            return Err(InvalidMetadata::field("sector_identifier_uri", "must be given with several hosts"));
        }
        let client_id = client_id_of(registration_id);
        let sector = sector_identifier_uri.as_deref().map_or_else(|| hosts.first().cloned(), hosts_of);
        // Native apps on the loopback have no host of their own.
        let sector = sector.unwrap_or_else(|| client_id.clone());
        let (jwks, jwks_uri) = keys(&fields, auth_method)?;
        let post_logout_redirect_uris =
            fields.redirects("post_logout_redirect_uris", MOST_URIS)?.unwrap_or_default();
        let name = fields.text("client_name", LONGEST_NAME)?.unwrap_or(&sector).to_owned();
        keep_the_rest(&fields, &mut kept)?;
        let client = Client {
            client_id,
            name,
            kind: Kind::Partner,
            auth_method,
            secret_sha256: None,
            jwks,
            redirect_uris,
            post_logout_redirect_uris,
            backchannel_logout_uri: fields.called("backchannel_logout_uri")?,
            grant_types,
            scopes: scopes(&fields, policy)?,
            audiences: Vec::new(),
            pkce_required: policy.pkce_required || auth_method == AuthMethod::None,
            profile: Profile::Oauth,
            par_required: fields.flag("require_pushed_authorization_requests")?.unwrap_or(false),
            dpop_required: fields.flag("dpop_bound_access_tokens")?.unwrap_or(false),
            token_url_audience: false,
            sector: Some(sector),
            jwks_uri,
            default_max_age: fields.seconds("default_max_age")?,
            id_token_alg,
            tokens: TokenRules::default(),
            theme: None,
        };
        Ok(Self { client, sector_identifier_uri, kept })
    }

    /// Whether it proves itself by a secret.
    pub fn has_secret(&self) -> bool {
        self.client.auth_method.is_secret()
    }

    /// What we shall call, and which field says so.
    pub fn called(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("sector_identifier_uri", &self.sector_identifier_uri),
            ("jwks_uri", &self.client.jwks_uri),
            ("backchannel_logout_uri", &self.client.backchannel_logout_uri),
        ]
        .into_iter()
        .filter_map(|(field, uri)| Some((field, uri.as_deref()?)))
    }

    /// The client with the digest of its secret, and what is kept beside it.
    ///
    /// # Errors
    /// A rule of clients that no field above covers.
    pub fn into_client(
        mut self,
        secret_sha256: Option<Vec<u8>>,
    ) -> Result<(Client, Map<String, Value>), InvalidMetadata> {
        self.client.secret_sha256 = secret_sha256;
        self.client.check().map_err(|error| InvalidMetadata::field(error.field, error.rule))?;
        if let Some(uri) = self.sector_identifier_uri {
            self.kept.insert("sector_identifier_uri".to_owned(), uri.into());
        }
        Ok((self.client, self.kept))
    }

    /// Checks the document behind `sector_identifier_uri` (OIDC Registration 5).
    ///
    /// # Errors
    /// It is no array that names every redirect URI.
    pub fn check_sector(&self, document: &Value) -> Result<(), InvalidMetadata> {
        let listed = document.as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |uri: &String| listed.iter().any(|entry| entry.as_str() == Some(uri));
        if self.client.redirect_uris.iter().all(named) {
            return Ok(());
        }
        Err(InvalidMetadata::field("sector_identifier_uri", "must lead to an array of every redirect URI"))
    }
}

/// Everything that is registered of a client, as answers tell it (RFC 7591 3.2.1).
pub fn described(client: &Client, kept: &Map<String, Value>) -> Map<String, Value> {
    let mut all = kept.clone();
    let own = json!({
        "client_id": client.client_id,
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grant_types,
        "response_types": if client.may("authorization_code") { vec!["code"] } else { Vec::new() },
        "token_endpoint_auth_method": client.auth_method.name(),
        "scope": client.scopes.join(" "),
        "subject_type": "pairwise",
        "id_token_signed_response_alg": client.id_token_alg.name(),
        "require_pushed_authorization_requests": client.par_required,
        "dpop_bound_access_tokens": client.dpop_required,
    });
    if let Value::Object(own) = own {
        all.extend(own);
    }
    let mut add = |name: &str, value: Option<Value>| {
        all.extend(value.map(|value| (name.to_owned(), value)));
    };
    let uris = &client.post_logout_redirect_uris;
    add("post_logout_redirect_uris", (!uris.is_empty()).then(|| json!(uris)));
    add("backchannel_logout_uri", client.backchannel_logout_uri.as_ref().map(|uri| json!(uri)));
    add("jwks", client.jwks.clone());
    add("jwks_uri", client.jwks_uri.as_ref().map(|uri| json!(uri)));
    add("default_max_age", client.default_max_age.map(|age| json!(age)));
    all
}

fn auth_method(fields: &Fields<'_>, policy: &Policy) -> Result<AuthMethod, InvalidMetadata> {
    const FIELD: &str = "token_endpoint_auth_method";
    // OIDC Registration 2 and RFC 7591 2 agree on this default.
    let asked = fields.text(FIELD, LONGEST_NAME)?.unwrap_or("client_secret_basic");
    let method =
        asked.parse::<AuthMethod>().ok().filter(|_| policy.auth_methods.iter().any(|own| own == asked));
    fields.one_of("token_endpoint_auth_signing_alg", &["ES256", "PS256", "RS256"])?;
    method.ok_or(InvalidMetadata::field(FIELD, "is not one that the policy allows"))
}

fn grant_types(fields: &Fields<'_>, policy: &Policy) -> Result<Vec<String>, InvalidMetadata> {
    let grants =
        fields.texts("grant_types", 10, 100)?.unwrap_or_else(|| vec!["authorization_code".to_owned()]);
    if grants.is_empty() || !grants.iter().all(|grant| policy.grant_types.contains(grant)) {
        return Err(InvalidMetadata::field("grant_types", "has one that the policy does not allow"));
    }
    let has_code = grants.iter().any(|grant| grant == "authorization_code");
    let types = fields.texts("response_types", 10, 100)?;
    let types = types.unwrap_or_else(|| if has_code { vec!["code".to_owned()] } else { Vec::new() });
    let right = types.iter().all(|one| one == "code") && types.is_empty() != has_code;
    if right {
        Ok(grants)
    } else {
        Err(InvalidMetadata::field("response_types", "must be code, and fit grant_types"))
    }
}

fn scopes(fields: &Fields<'_>, policy: &Policy) -> Result<Vec<String>, InvalidMetadata> {
    let Some(text) = fields.text("scope", 2_048)? else { return Ok(policy.scopes.clone()) };
    match crate::params::words(text) {
        Some(words) if words.iter().all(|word| policy.scopes.contains(word)) => Ok(words),
        _ => Err(InvalidMetadata::field("scope", "has one that the policy does not allow")),
    }
}

// Web clients have https; native ones a claimed https URI, the loopback or a private scheme (OIDC Registration 2,
// RFC 8252 7).
fn redirect_uris(
    fields: &Fields<'_>,
    grant_types: &[String],
    kept: &mut Map<String, Value>,
) -> Result<Vec<String>, InvalidMetadata> {
    let native = fields.one_of("application_type", &["web", "native"])? == Some("native");
    kept.insert("application_type".to_owned(), json!(if native { "native" } else { "web" }));
    let uris = fields.redirects("redirect_uris", MOST_URIS)?.unwrap_or_default();
    if uris.is_empty() && grant_types.iter().any(|grant| grant == "authorization_code") {
        return Err(InvalidMetadata::redirect("must not be empty with authorization_code"));
    }
    let https = |uri: &String| uri.starts_with("https://") && !is_loopback(uri);
    if !native && !uris.iter().all(https) {
        return Err(InvalidMetadata::redirect("must be https, on no loopback, for a web client"));
    }
    Ok(uris)
}

fn is_loopback(uri: &str) -> bool {
    match Url::parse(uri).ok().as_ref().and_then(Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

// Of https URIs, each once.
fn hosts(uris: &[String]) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for host in uris.iter().filter(|uri| uri.starts_with("https://")).filter_map(|uri| hosts_of(uri)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn hosts_of(uri: &str) -> Option<String> {
    Url::parse(uri).ok()?.host_str().map(str::to_owned)
}

fn keys(
    fields: &Fields<'_>,
    auth_method: AuthMethod,
) -> Result<(Option<Value>, Option<String>), InvalidMetadata> {
    let (jwks, jwks_uri) = (fields.jwks()?, fields.called("jwks_uri")?);
    if jwks.is_some() && jwks_uri.is_some() {
        return Err(InvalidMetadata::field("jwks", "must not come with jwks_uri"));
    }
    if auth_method == AuthMethod::PrivateKeyJwt && jwks.is_none() && jwks_uri.is_none() {
        return Err(InvalidMetadata::field("jwks", "must be given for private_key_jwt, or jwks_uri"));
    }
    Ok((jwks, jwks_uri))
}

// `logo_uri` too, which is told again and never shown: a picture of a stranger's choice on our page would be phishing.
fn keep_the_rest(fields: &Fields<'_>, kept: &mut Map<String, Value>) -> Result<(), InvalidMetadata> {
    for field in ["client_uri", "logo_uri", "policy_uri", "tos_uri", "initiate_login_uri"] {
        kept.extend(fields.https(field)?.map(|uri| (field.to_owned(), uri.into())));
    }
    for field in ["software_id", "software_version"] {
        kept.extend(fields.text(field, LONGEST_NAME)?.map(|text| (field.to_owned(), text.into())));
    }
    for field in ["require_auth_time", "backchannel_logout_session_required"] {
        kept.extend(fields.flag(field)?.map(|flag| (field.to_owned(), flag.into())));
    }
    let contacts = fields.texts("contacts", 10, 254)?;
    kept.extend(contacts.map(|contacts| ("contacts".to_owned(), json!(contacts))));
    Ok(())
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
