use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use tokio::{
    net::lookup_host,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::{
    Replicas,
    balance::{Balance, Place},
    retry::Budget,
};

/// A name is looked up so often: replicas come and go.
const LOOKUP: Duration = Duration::from_secs(10);
/// The same while it has no address.
const LOOKUP_WITHOUT_ADDRESS: Duration = Duration::from_secs(1);

/// The connections of the process, one to each replica of a peer. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Channels(Arc<Mutex<HashMap<Replicas, Link>>>);

/// The connections to a peer, and what their callers may spend on retries.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) balance: Balance,
    pub(super) budget: Arc<Budget>,
    // They end with the last clone.
    _lookups: Arc<[AbortOnDropHandle<()>]>,
}

impl Channels {
    /// The connections to a peer. They are made when it is first called.
    pub(super) fn link(&self, replicas: &Replicas) -> Result<Link, Status> {
        // Without TLS here, `https` would send tokens in the clear while it promises the opposite.
        if replicas.uris().iter().any(|uri| uri.scheme_str() != Some("http") || uri.host().is_none()) {
            return Err(Status::internal("the address of a peer must begin with http://"));
        }
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(replicas.clone()).or_insert_with(|| Link::open(replicas.uris()));
        Ok(link.clone())
    }
}

impl Link {
    fn open(uris: &[Uri]) -> Self {
        let balance = Balance::new();
        let mut lookups = Vec::new();
        for uri in uris {
            if is_one_place(uri.host().unwrap_or_default()) {
                balance.add(Place { uri: uri.clone(), address: None });
            } else {
                lookups.push(AbortOnDropHandle::new(tokio::spawn(follow(uri.clone(), balance.clone()))));
            }
        }
        Self { balance, budget: Arc::new(Budget::new(Instant::now())), _lookups: lookups.into() }
    }
}

fn is_one_place(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Keeps the replicas as the name's addresses are.
async fn follow(uri: Uri, balance: Balance) {
    let place = |address: &SocketAddr| Place { uri: uri.clone(), address: Some(*address) };
    let mut known = BTreeSet::new();
    loop {
        match addresses(&uri).await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                // The new ones first: there is always somebody to ask.
                found.difference(&known).for_each(|new| balance.add(place(new)));
                known.difference(&found).for_each(|gone| balance.remove(&place(gone)));
                known = found;
            }
            // The old addresses may still answer.
            Err(error) => tracing::warn!(host = uri.host(), %error, "the peer's name cannot be looked up"),
        }
        sleep(if known.is_empty() { LOOKUP_WITHOUT_ADDRESS } else { LOOKUP }).await;
    }
}

async fn addresses(uri: &Uri) -> io::Result<BTreeSet<SocketAddr>> {
    let host = uri.host().unwrap_or_default();
    Ok(lookup_host((host, uri.port_u16().unwrap_or(80))).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_followed_and_addresses_are_not() {
        for (host, one_place) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("profile", false),
            ("profile.kotinos.svc.cluster.local", false),
        ] {
            assert_eq!(is_one_place(host), one_place, "{host}");
        }
    }

    #[tokio::test]
    async fn peers_at_one_address_share_their_connections() {
        let channels = Channels::default();
        let place: Replicas = "http://localhost:9102".parse().unwrap();
        let (first, second) = (channels.link(&place).unwrap(), channels.clone().link(&place).unwrap());
        assert!(Arc::ptr_eq(&first.budget, &second.budget));
        assert!(channels.link(&"https://localhost:9102".parse().unwrap()).is_err());
        assert!(channels.link(&"/path".parse().unwrap()).is_err());
        let mixed = "http://localhost:9102,https://localhost:9103".parse().unwrap();
        assert!(channels.link(&mixed).is_err());
    }

    #[tokio::test]
    async fn a_name_is_called_where_it_answers() {
        let router = axum::Router::new().fallback(|request: http::Request<axum::body::Body>| async move {
            assert_eq!(request.uri().path(), "/a.B/C");
            [("grpc-status", "0")]
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let balance = Balance::new();
        let _lookup = AbortOnDropHandle::new(tokio::spawn(follow(uri, balance.clone())));
        let request = http::Request::post("/a.B/C").body(tonic::body::Body::empty()).unwrap();
        assert_eq!(balance.call(request).await.unwrap().headers()["grpc-status"], "0");
    }
}
