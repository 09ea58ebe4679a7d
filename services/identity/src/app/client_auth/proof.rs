use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{Refusal, assertion};
use crate::params::Params;

/// How a caller proves that it is a client; not yet judged.
pub enum ClientProof {
    /// A secret in the Authorization header.
    Basic {
        /// Who it says it is.
        client_id: String,
        /// The secret.
        secret: Zeroizing<String>,
    },
    /// A secret in the body.
    Post {
        /// Who it says it is.
        client_id: String,
        /// The secret.
        secret: Zeroizing<String>,
    },
    /// A signed assertion.
    Assertion {
        /// Whom the assertion names; nothing when it cannot be read.
        client_id: Option<String>,
        /// The compact JWS.
        text: String,
    },
    /// Only a name.
    Public {
        /// Who it says it is.
        client_id: String,
    },
}

// Without what it proves.
impl std::fmt::Debug for ClientProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientProof").field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl ClientProof {
    /// Reads the one proof of a request (RFC 6749 2.3: never more than one).
    ///
    /// # Errors
    /// None, several, or one that cannot be read.
    pub fn read(authorization: Option<&str>, params: &Params) -> Result<Self, Refusal> {
        let (named, secret) = (params.get("client_id"), params.get("client_secret"));
        let assertion = match (params.get("client_assertion_type"), params.get("client_assertion")) {
            (None, None) => None,
            (Some(JWT_BEARER), Some(text)) => Some(text),
            _ => return Err(Refusal::new("invalid_request", "client_assertion and its type do not fit")),
        };
        let given = [authorization.is_some(), secret.is_some(), assertion.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(Refusal::new("invalid_request", "more than one client authentication"));
        }
        let proof = match (authorization, secret, assertion, named) {
            (Some(header), ..) => basic(header)?,
            (_, _, Some(text), _) => {
                Self::Assertion { client_id: assertion::named(text), text: text.to_owned() }
            }
            (_, Some(secret), _, Some(client_id)) => {
                Self::Post { client_id: client_id.to_owned(), secret: Zeroizing::new(secret.to_owned()) }
            }
            (_, None, None, Some(client_id)) => Self::Public { client_id: client_id.to_owned() },
            _ => return Err(Refusal::Client("client authentication is missing")),
        };
        if named.is_some() && named != proof.client_id() {
            return Err(Refusal::new("invalid_request", "client_id differs from the authenticated client"));
        }
        Ok(proof)
    }

    /// Whom it names.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::Basic { client_id, .. } | Self::Post { client_id, .. } | Self::Public { client_id } => {
                Some(client_id)
            }
            Self::Assertion { client_id, .. } => client_id.as_deref(),
        }
    }
}

// RFC 7617 2, with both halves form-encoded (RFC 6749 2.3.1).
fn basic(header: &str) -> Result<ClientProof, Refusal> {
    const WRONG: Refusal =
        Refusal::Client("the Authorization header must be Basic with client_id and client_secret");
    let (scheme, credentials) = header.split_once(' ').ok_or(WRONG)?;
    if !scheme.eq_ignore_ascii_case("basic") || credentials.len() > 4_096 {
        return Err(WRONG);
    }
    let decoded = Zeroizing::new(STANDARD.decode(credentials.trim()).map_err(|_| WRONG)?);
    let text = std::str::from_utf8(&decoded).map_err(|_| WRONG)?;
    let (client_id, secret) = text.split_once(':').ok_or(WRONG)?;
    let client_id = decode(client_id).into_owned();
    if client_id.is_empty() || secret.is_empty() {
        return Err(WRONG);
    }
    Ok(ClientProof::Basic { client_id, secret: Zeroizing::new(decode(secret).into_owned()) })
}

// One form-encoded value: separators were encoded by whoever made it, so that those that are not are part of it.
fn decode(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '=']) {
        return Cow::Borrowed(text);
    }
    form_urlencoded::parse(text.as_bytes()).next().map_or(Cow::Borrowed(""), |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(authorization: Option<&str>, body: &str) -> Result<ClientProof, Refusal> {
        ClientProof::read(authorization, &Params::parse(body.as_bytes()).unwrap())
    }

    fn header(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn basic_credentials_are_form_encoded() {
        for (given, id, right) in [
            ("shop:secret", "shop", "secret"),
            ("shop:a%3Ab%2Bc+d", "shop", "a:b+c d"),
            ("shop:a:b", "shop", "a:b"),
            ("shop:a=b&c", "shop", "a=b&c"),
        ] {
            let Ok(ClientProof::Basic { client_id, secret }) = read(Some(&header(given)), "") else {
                panic!("{given}");
            };
            assert_eq!((client_id.as_str(), secret.as_str()), (id, right));
        }
    }

    #[test]
    fn more_than_one_proof_is_refused() {
        let basic = header("shop:secret");
        for body in [
            "client_secret=x&client_id=shop",
            "client_assertion=x&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
            "client_id=portal",
        ] {
            assert_eq!(read(Some(&basic), body).unwrap_err().error(), "invalid_request", "{body}");
        }
        assert!(read(Some(&basic), "client_id=shop").is_ok());
    }

    #[test]
    fn garbage_names_nobody() {
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic %%%",
            "Bearer abc",
            "Basic c2hvcA==",
            "Basic /w==",
            "Basic OnNlY3JldA==",
        ] {
            assert!(read(Some(wrong), "").is_err(), "{wrong}");
        }
        assert_eq!(read(None, "").unwrap_err().error(), "invalid_client");
        assert_eq!(read(None, "client_secret=x").unwrap_err().error(), "invalid_client");
        assert_eq!(read(None, "client_assertion=x").unwrap_err().error(), "invalid_request");
        let saml = "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
        assert_eq!(read(None, saml).unwrap_err().error(), "invalid_request");
    }

    #[test]
    fn a_proof_prints_no_secret() {
        let proof = read(None, "client_id=shop&client_secret=hunter2").unwrap();
        assert!(!format!("{proof:?}").contains("hunter2"));
    }
}
