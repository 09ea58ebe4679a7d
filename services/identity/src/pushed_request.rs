//! A pushed authorization request (RFC 9126): what a client sent ahead, and the one-time URI that stands for it.

use domain::{DateTime, TimeDelta, Utc, Uuid};

use crate::{
    handle::{Handle, Kind},
    keyring::Keyring,
    params::Params,
};

/// How long its URI may be shown to `/authorize` for the first time. The user may take longer: the request then travels
/// sealed from page to page.
pub const LIFE: TimeDelta = TimeDelta::seconds(60);
/// RFC 9126 2.2.
const URN: &str = "urn:ietf:params:oauth:request_uri:";
/// Most that is kept of one request, in bytes of names and values.
pub const LARGEST: usize = 8 * 1024;
/// What proves the client is not kept.
const PROOFS: [&str; 4] = ["client_secret", "client_assertion", "client_assertion_type", "access_token"];

/// A row.
#[derive(Debug, Clone)]
pub struct PushedRequest {
    /// Its id, inside the URI.
    pub request_id: Uuid,
    /// Who pushed it.
    pub client_id: String,
    /// The parameters, without credentials.
    pub params: Vec<(String, String)>,
    /// From then on the URI counts no more.
    pub expires_at: DateTime<Utc>,
    /// When a code was issued for it.
    pub used_at: Option<DateTime<Utc>>,
}

impl PushedRequest {
    /// A new request; nothing when it is larger than [`LARGEST`].
    pub fn new(client_id: &str, params: Params, now: DateTime<Utc>) -> Option<Self> {
        let mut params = params.into_pairs();
        params.retain(|(name, _)| !PROOFS.contains(&name.as_str()));
        let size: usize = params.iter().map(|(name, value)| name.len() + value.len()).sum();
        (size <= LARGEST).then(|| Self {
            request_id: domain::new_id(),
            client_id: client_id.to_owned(),
            params,
            expires_at: now + LIFE,
            used_at: None,
        })
    }

    /// Its `request_uri`.
    pub fn uri(&self, keys: &Keyring) -> String {
        format!("{URN}{}", Handle::of(Kind::PushedRequest, self.request_id).mint(keys))
    }

    /// Whether a code may still be issued by its URI.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.used_at.is_none() && now < self.expires_at
    }
}

/// Whether a `request_uri` is of the form of ours; any other one names a document elsewhere, which is not supported.
pub fn is_urn(uri: &str) -> bool {
    uri.starts_with(URN)
}

/// The id inside one of our URIs; nothing when one bit of it is not ours.
pub fn id_of(keys: &Keyring, uri: &str) -> Option<Uuid> {
    Handle::read(keys, Kind::PushedRequest, uri.strip_prefix(URN)?).map(|handle| handle.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::OLD;

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    fn pushed(form: &str) -> Option<PushedRequest> {
        PushedRequest::new("shop", Params::parse(form.as_bytes()).unwrap(), now())
    }

    #[test]
    fn a_uri_leads_back_and_no_other_does() {
        let keys = Keyring::parse(OLD).unwrap();
        let request = pushed("scope=openid").unwrap();
        let uri = request.uri(&keys);
        assert!(is_urn(&uri));
        assert_eq!(id_of(&keys, &uri), Some(request.request_id));
        let id = request.request_id;
        for wrong in ["", URN, "https://rp.example/request", &format!("{URN}{id}"), &uri[..uri.len() - 1]] {
            assert_eq!(id_of(&keys, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_is_open_for_a_minute_and_for_one_code() {
        let mut request = pushed("scope=openid").unwrap();
        assert!(request.is_open(now() + TimeDelta::seconds(59)));
        assert!(!request.is_open(now() + LIFE));
        request.used_at = Some(now());
        assert!(!request.is_open(now()));
    }

    #[test]
    fn no_credential_and_no_heap_is_kept() {
        let request =
            pushed("scope=openid&client_secret=s&client_assertion=a&client_assertion_type=t").unwrap();
        assert_eq!(request.params, [("scope".to_owned(), "openid".to_owned())]);
        assert!(pushed(&format!("state={}", "x".repeat(LARGEST))).is_none());
    }
}
