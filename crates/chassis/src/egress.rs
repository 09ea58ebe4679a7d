//! The way out to addresses that others registered: https to public addresses only, never by a redirect. The address
//! that was checked is the one that is connected to, so that a name cannot answer differently a second time.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::{
    Client, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use serde_json::Value;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use url::{Host, Url};

use crate::peer::Headers;

/// Longest exchange.
const TIME_OUT: Duration = Duration::from_secs(5);

/// Who may be called, and how. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Egress {
    allowed: Arc<[String]>,
    public: Client,
    allow_listed: Client,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The address may not be called.
    #[error("must be https to a public address")]
    Refused,
    /// The call failed. Its text names no address: registrations are a partner's business.
    #[error("the call failed")]
    Failed(#[source] reqwest::Error),
    /// It is no document that can be read.
    #[error("the answer is not JSON of at most 64 KiB with status 200")]
    Unusable,
}

impl Egress {
    /// `allowed` are the `host:port` of KOTINOS_EGRESS_ALLOW: these may be plain http and private addresses.
    ///
    /// # Errors
    /// No TLS on this machine.
    pub fn new(allowed: &[String]) -> Result<Self, reqwest::Error> {
        // No proxy of the environment: it would connect to whatever it likes.
        let client = || Client::builder().redirect(Policy::none()).timeout(TIME_OUT).no_proxy();
        Ok(Self {
            allowed: allowed.iter().map(|entry| entry.trim().to_ascii_lowercase()).collect(),
            public: client().https_only(true).dns_resolver(Arc::new(PublicOnly)).build()?,
            allow_listed: client().build()?,
        })
    }

    /// Posts a form; the answer's status. Its body is read up to 64 KiB and dropped.
    ///
    /// # Errors
    /// The address may not be called, or the call failed.
    pub async fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<u16, EgressError> {
        let url = Url::parse(url).map_err(|_| EgressError::Refused)?;
        let client = self.client_for(&url).ok_or(EgressError::Refused)?;
        status_of(client.post(url).form(form)).await
    }

    /// Posts bytes under these headers, whose values are kept out of every log, and the trace of the current span; the
    /// answer's status. Its body is read up to 64 KiB and dropped.
    ///
    /// # Errors
    /// The address may not be called, a value can't stand in a header, or the call failed.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<u16, EgressError> {
        let url = Url::parse(url).map_err(|_| EgressError::Refused)?;
        let client = self.client_for(&url).ok_or(EgressError::Refused)?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let mut value = HeaderValue::try_from(*value).map_err(|_| EgressError::Refused)?;
            value.set_sensitive(true);
            map.insert(HeaderName::from_static(name), value);
        }
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Headers(&mut map));
        status_of(client.post(url).headers(map).body(body)).await
    }

    /// As [`Egress::may_call`], and a name that has only addresses inside is refused as well. One that has no address
    /// yet is not: each call looks it up again.
    pub async fn may_call_now(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return false };
        match (self.client_for(&url), url.host()) {
            (None, _) => false,
            (Some(client), Some(Host::Domain(name))) if std::ptr::eq(client, &self.public) => {
                let found = tokio::time::timeout(TIME_OUT, tokio::net::lookup_host((name, 0))).await;
                match found {
                    Ok(Ok(mut found)) => found.any(|address| is_public(address.ip())),
                    Ok(Err(_)) | Err(_) => true,
                }
            }
            (Some(_), _) => true,
        }
    }

    /// Whether a URL may be called at all: its name is looked up only when it is.
    pub fn may_call(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| self.client_for(&url).is_some())
    }

    /// The JSON document at a URL, of at most 64 KiB.
    ///
    /// # Errors
    /// The address may not be called, the call failed, or the answer is not 200 with JSON.
    pub async fn get_json(&self, url: &str) -> Result<Value, EgressError> {
        let url = Url::parse(url).map_err(|_| EgressError::Refused)?;
        let client = self.client_for(&url).ok_or(EgressError::Refused)?;
        let answer = client.get(url).header("accept", "application/json").send().await;
        let answer = answer.map_err(|error| EgressError::Failed(error.without_url()))?;
        if answer.status() != StatusCode::OK {
            return Err(EgressError::Unusable);
        }
        let body = crate::read_bounded(answer, LARGEST_ANSWER).await.map_err(|_| EgressError::Unusable)?;
        serde_json::from_slice(&body).map_err(|_| EgressError::Unusable)
    }

    fn client_for(&self, url: &Url) -> Option<&Client> {
        let host = url.host()?;
        let port = url.port_or_known_default()?;
        // `*` for the port is for tests, whose listeners have whatever port is free.
        let places = [format!("{host}:{port}"), format!("{host}:*")].map(|place| place.to_ascii_lowercase());
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        if matches!(url.scheme(), "http" | "https") && self.allowed.iter().any(|entry| places.contains(entry))
        {
            return Some(&self.allow_listed);
        }
        // An address in the URL itself is never asked of the resolver.
        let public = match host {
            Host::Domain(_) => true,
            Host::Ipv4(ip) => is_public(IpAddr::V4(ip)),
            Host::Ipv6(ip) => is_public(IpAddr::V6(ip)),
        };
        (url.scheme() == "https" && public).then_some(&self.public)
    }
}

async fn status_of(request: reqwest::RequestBuilder) -> Result<u16, EgressError> {
    let answer = request.send().await;
    let answer = answer.map_err(|error| EgressError::Failed(error.without_url()))?;
    let status = answer.status().as_u16();
    // Read for the connection's sake only: whatever comes, the status has said it.
    if let Err(error) = crate::read_bounded(answer, LARGEST_ANSWER).await {
        tracing::debug!(%error, "the body of an answer was dropped");
    }
    Ok(status)
}

/// Largest body that is read, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A resolver that forgets every address inside.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

// The special-purpose registries of IANA (RFC 6890), on the safe side where they are unclear.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // Tunnels carry an IPv4 address: mapped and NAT64 fall out as they are outside 2000::/3; 6to4 (2002::/16) and all
    // of 2001::/23 (Teredo and other protocols) are refused whole, like the documentation's 2001:db8::/32 and 3fff::/20.
    (0x2000..0x4000).contains(&first)
        && first != 0x2002
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in
            ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:4860:4860::8888"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[test]
    fn only_https_goes_out_but_for_what_is_allowed() {
        let egress =
            Egress::new(&["localhost:8107".into(), "127.0.0.1:9".into(), "[::1]:443".into()]).unwrap();
        let goes = |url: &str| egress.client_for(&Url::parse(url).unwrap()).is_some();
        for right in [
            "https://shop.example/logout",
            "http://localhost:8107/logout",
            "http://LOCALHOST:8107/logout",
            "http://127.0.0.1:9/",
            "https://[::1]/",
        ] {
            assert!(goes(right), "{right}");
        }
        for wrong in [
            "http://shop.example/logout",
            "http://localhost:8108/logout",
            "http://localhost/logout",
            "ftp://localhost:8107/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://[::ffff:127.0.0.1]/",
            "https://10.0.0.1/",
            "https://user@shop.example/",
            "http://localhost:8107@evil.example/",
            "file:///etc/passwd",
        ] {
            assert!(!goes(wrong), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_name_of_an_inner_address_has_no_address() {
        assert!(PublicOnly.resolve("localhost".parse().unwrap()).await.is_err());
        let egress = Egress::new(&["localhost:1".into()]).unwrap();
        assert!(!egress.may_call_now("https://localhost/").await);
        assert!(egress.may_call_now("http://localhost:1/").await);
    }

    #[test]
    fn any_port_of_a_host_can_be_allowed() {
        let egress = Egress::new(&["127.0.0.1:*".into()]).unwrap();
        assert!(egress.client_for(&Url::parse("http://127.0.0.1:50000/").unwrap()).is_some());
        assert!(egress.client_for(&Url::parse("http://127.0.0.2:50000/").unwrap()).is_none());
    }
}
