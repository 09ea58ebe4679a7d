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
    sync::mpsc::Sender,
    time::{Instant, sleep},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint, channel::Change},
};

use super::retry::Budget;

const CONNECT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A name is looked up so often: replicas come and go.
const LOOKUP: Duration = Duration::from_secs(10);
/// The same while it has no address.
const LOOKUP_WITHOUT_ADDRESS: Duration = Duration::from_secs(1);
const CHANGES: usize = 64;

/// The connections of the process, one channel an address. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Channels(Arc<Mutex<HashMap<Uri, Link>>>);

/// A channel, and what its callers may spend on retries.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) channel: Channel,
    pub(super) budget: Arc<Budget>,
}

impl Channels {
    /// The channel to an address. It connects when it is first used.
    pub(super) fn link(&self, uri: &Uri) -> Result<Link, Status> {
        // Without TLS here, `https` would send tokens in the clear while it promises the opposite.
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(Status::internal("the address of a peer must begin with http://"));
        }
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links
            .entry(uri.clone())
            .or_insert_with(|| Link { channel: open(uri), budget: Arc::new(Budget::new(Instant::now())) });
        Ok(link.clone())
    }
}

fn open(uri: &Uri) -> Channel {
    let host = uri.host().unwrap_or_default();
    if is_one_place(host) {
        return endpoint(uri.clone()).connect_lazy();
    }
    balanced(uri)
}

// One HTTP/2 connection would stay with one replica for ever.
fn balanced(uri: &Uri) -> Channel {
    let (channel, changes) = Channel::balance_channel(CHANGES);
    tokio::spawn(follow(uri.clone(), changes));
    channel
}

fn is_one_place(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri).connect_timeout(CONNECT).http2_keep_alive_interval(KEEP_ALIVE).tcp_nodelay(true)
}

/// Keeps the channel's endpoints as the name's addresses are, until the channel is gone.
async fn follow(uri: Uri, changes: Sender<Change<SocketAddr, Endpoint>>) {
    let mut known = BTreeSet::new();
    loop {
        match addresses(&uri).await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                for change in differences(&uri, &known, &found) {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
                known = found;
            }
            // The old addresses may still answer.
            Err(error) => tracing::warn!(host = uri.host(), %error, "the peer's name cannot be looked up"),
        }
        let pause = if known.is_empty() { LOOKUP_WITHOUT_ADDRESS } else { LOOKUP };
        tokio::select! {
            () = changes.closed() => return,
            () = sleep(pause) => {}
        }
    }
}

async fn addresses(uri: &Uri) -> io::Result<BTreeSet<SocketAddr>> {
    let host = uri.host().unwrap_or_default();
    Ok(lookup_host((host, uri.port_u16().unwrap_or(80))).await?.collect())
}

fn differences(
    uri: &Uri,
    known: &BTreeSet<SocketAddr>,
    found: &BTreeSet<SocketAddr>,
) -> Vec<Change<SocketAddr, Endpoint>> {
    let mut changes = Vec::new();
    for address in found.difference(known) {
        if let Ok(place) = format!("http://{address}").parse::<Uri>() {
            // The peer still hears its name.
            changes.push(Change::Insert(*address, endpoint(place).origin(uri.clone())));
        }
    }
    // The new ones first: there is always somebody to ask.
    changes.extend(known.difference(found).map(|gone| Change::Remove(*gone)));
    changes
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

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

    #[test]
    fn a_change_of_addresses_is_added_before_it_is_taken_away() {
        let uri: Uri = "http://profile:9102".parse().unwrap();
        let addresses =
            |last: &[u8]| last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 9102))).collect();
        let changes = differences(&uri, &addresses(&[1, 2]), &addresses(&[2, 3]));
        let [Change::Insert(new, endpoint), Change::Remove(gone)] = &changes[..] else {
            panic!("{}", changes.len())
        };
        assert_eq!(
            (new.to_string(), gone.to_string()),
            ("10.0.0.3:9102".to_owned(), "10.0.0.1:9102".to_owned())
        );
        assert_eq!(endpoint.uri(), "http://10.0.0.3:9102/");
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
        let request = http::Request::post("/a.B/C").body(tonic::body::Body::empty()).unwrap();
        let answer = balanced(&uri).oneshot(request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "0");
    }

    #[tokio::test]
    async fn peers_at_one_address_share_a_channel() {
        let channels = Channels::default();
        let uri: Uri = "http://localhost:9102".parse().unwrap();
        let (first, second) = (channels.link(&uri).unwrap(), channels.clone().link(&uri).unwrap());
        assert!(Arc::ptr_eq(&first.budget, &second.budget));
        assert!(channels.link(&"https://localhost:9102".parse().unwrap()).is_err());
        assert!(channels.link(&"/path".parse().unwrap()).is_err());
    }
}
