use std::{fmt, sync::Arc};

use domain::Pii;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use url::Url;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: a relay on the same machine or network.
    None,
    /// By STARTTLS, or not used.
    StartTls,
    /// From the first byte (RFC 8314).
    Tls,
}

/// A relay, as its address says.
#[derive(Clone)]
pub struct Relay {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Pii<(String, String)>>,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A relay's address that cannot be used. It never repeats the address, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the relay's address {0}")]
pub struct RelayError(&'static str);

impl Relay {
    /// Reads `smtp://host:port`, `smtp://host:port?starttls=required` or `smtps://host:port`, with or without
    /// `user:password@`.
    ///
    /// # Errors
    /// Another scheme or parameter; a password without TLS; no certificates on this machine.
    pub fn parse(address: &str) -> Result<Self, RelayError> {
        let url =
            Url::parse(address).map_err(|_| RelayError("must be smtp://host:port or smtps://host:port"))?;
        let security = match (url.scheme(), url.query()) {
            ("smtp", None) => Security::None,
            ("smtp", Some("starttls=required")) => Security::StartTls,
            ("smtps", None) => Security::Tls,
            ("smtp" | "smtps", Some(_)) => {
                return Err(RelayError("may only have the parameter starttls=required"));
            }
            _ => return Err(RelayError("must begin with smtp:// or smtps://")),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(RelayError("must name a host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !matches!(url.path(), "" | "/") {
            return Err(RelayError("must not have a path"));
        }
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if security != Security::None => {
                Some(Pii::new((unescape(user)?, unescape(password)?)))
            }
            _ => return Err(RelayError("may hold user and password only together, and only with TLS")),
        };
        let port = url.port().unwrap_or(if security == Security::Tls { 465 } else { 25 });
        let tls = if security == Security::None { None } else { Some(tls(&host)?) };
        Ok(Self { host, port, security, credentials, tls })
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({}:{}, {:?})", self.host, self.port, self.security)
    }
}

fn tls(host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), RelayError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| RelayError("must have a host that TLS can verify"))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(RelayError("needs TLS, but this machine has no certificates to verify it with"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| RelayError("needs TLS, which cannot be set up"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(config), name))
}

fn unescape(text: &str) -> Result<String, RelayError> {
    let wrong = || RelayError("must have user and password without control characters, percent-encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &after[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    if text.chars().any(char::is_control) { Err(wrong()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_to_connect() {
        let relay = Relay::parse("smtp://localhost:1025").unwrap();
        assert_eq!((relay.host.as_str(), relay.port, relay.security), ("localhost", 1025, Security::None));
        let relay = Relay::parse("smtp://u%40x:p%3Aw@relay.example?starttls=required").unwrap();
        assert_eq!((relay.port, relay.security), (25, Security::StartTls));
        assert_eq!(relay.credentials.as_ref().unwrap().reveal(), &("u@x".to_owned(), "p:w".to_owned()));
        assert_eq!(format!("{relay:?}"), "Relay(relay.example:25, StartTls)");
        assert_eq!(Relay::parse("smtps://relay.example").unwrap().port, 465);
    }

    #[test]
    fn a_password_never_goes_out_in_the_clear() {
        for wrong in [
            "smtp://u:p@relay.example",
            "smtp://relay.example?starttls=maybe",
            "http://relay.example",
            "smtps://u@relay.example",
            "smtp://relay.example/x",
            "relay.example:25",
            "",
        ] {
            assert!(Relay::parse(wrong).is_err(), "{wrong}");
        }
    }
}
