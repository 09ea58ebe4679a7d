use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{Buckets, Metrics, Rate};
use domain::Service;

use crate::client::{AuthMethod, Client};

/// So many clients, and so many public ones with a network each, are told apart: a few megabytes.
const MOST: usize = 20_000;
/// A public client has this part of the rate from each network.
const PUBLIC: u32 = 10;

/// How often one client may call, so that the others keep their share. Each instance counts its own; clones share it.
///
/// Anybody can say the name of a public client. Counted by name alone, a stranger's flood would shut its users out
/// everywhere; so it is counted with the network that calls.
#[derive(Clone)]
pub struct Quota(Arc<Shares>);

struct Shares {
    began: Instant,
    proven: Option<Buckets<String>>,
    public: Option<Buckets<Vec<u8>>>,
    metrics: Metrics,
}

impl Quota {
    /// `rate` is how many requests a second a client has that proves itself, with twice as many at once; 0 is no limit.
    pub fn new(rate: u32, metrics: &Metrics) -> Self {
        let shares = Shares {
            began: Instant::now(),
            proven: Rate::new(rate).map(|rate| Buckets::new(rate, MOST)),
            // Rounded up: a small rate is still one.
            public: Rate::new(rate.div_ceil(PUBLIC)).map(|rate| Buckets::new(rate, MOST)),
            metrics: metrics.clone(),
        };
        for kind in ["proven", "public"] {
            shares.count(kind, 0);
        }
        Self(Arc::new(shares))
    }

    /// Takes a request of an admitted client. `caller` stands for client and network together.
    ///
    /// # Errors
    /// None is left: how long it takes until there is one.
    pub fn take(&self, client: &Client, caller: &[u8]) -> Result<(), Duration> {
        let shares = &*self.0;
        let now = shares.began.elapsed();
        let (kind, taken) = match (client.auth_method, &shares.public, &shares.proven) {
            (AuthMethod::None, Some(public), _) => ("public", public.take(caller, now)),
            (AuthMethod::None, None, _) | (_, _, None) => return Ok(()),
            // The portal's refreshes are those of every fan.
            (..) if is_ours(client) => return Ok(()),
            (_, _, Some(proven)) => ("proven", proven.take(client.client_id.as_str(), now)),
        };
        taken.inspect_err(|_| shares.count(kind, 1))
    }
}

impl Shares {
    fn count(&self, kind: &str, by: u64) {
        let help =
            "Requests of the token endpoint and those beside it refused because their client makes too many";
        self.metrics.add("identity_requests_over_quota", help, &[("client", kind)], by);
    }
}

fn is_ours(client: &Client) -> bool {
    client.is_first_party() && Service::ALL.iter().any(|ours| ours.short() == client.client_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Kind, tests::client};

    fn admitted(quota: &Quota, client: &Client, caller: &[u8], requests: u32) -> usize {
        (0..requests).filter(|_| quota.take(client, caller).is_ok()).count()
    }

    fn proven(client_id: &str, kind: Kind) -> Client {
        Client { client_id: client_id.to_owned(), kind, auth_method: AuthMethod::SecretBasic, ..client() }
    }

    #[test]
    fn a_public_client_has_a_share_in_each_network_and_one_that_proves_itself_a_whole() {
        let (metrics, public) = (Metrics::new(), client());
        // One a second: no loop here lasts that long.
        let quota = Quota::new(1, &metrics);
        assert_eq!(admitted(&quota, &public, b"portal from here", 9), 2);
        assert_eq!(admitted(&quota, &public, b"portal from elsewhere", 1), 1);
        let shop = proven("shop", Kind::Partner);
        assert_eq!(admitted(&quota, &shop, b"shop from here", 2), 2);
        assert!(quota.take(&shop, b"shop from elsewhere").is_err(), "it is the same client there");
        assert_eq!(admitted(&quota, &proven("forum", Kind::Partner), b"forum from here", 1), 1);
        let text = metrics.encode();
        assert!(text.contains("identity_requests_over_quota_total{client=\"public\"} 7\n"), "{text}");
        assert!(text.contains("identity_requests_over_quota_total{client=\"proven\"} 1\n"), "{text}");
    }

    #[test]
    fn services_of_the_suite_have_no_quota_and_nobody_borrows_their_names() {
        let quota = Quota::new(1, &Metrics::new());
        assert_eq!(admitted(&quota, &proven("portal", Kind::FirstParty), b"portal", 50), 50);
        assert!(admitted(&quota, &proven("portal", Kind::Partner), b"portal", 50) < 50);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let quota = Quota::new(0, &Metrics::new());
        assert_eq!(admitted(&quota, &client(), b"portal", 500), 500);
        assert_eq!(admitted(&quota, &proven("shop", Kind::Partner), b"shop", 500), 500);
    }
}
