//! A process whose services answer everybody behind the layers, and in front of it somebody who lets strangers in.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
};

use axum::{Router, extract::Request as FrontRequest};
use chassis::{AuthSettings, Component, Grpc, Running, Settings};
use tonic::{client::GrpcService, codegen::Service as Tower, server::NamedService};

use super::*;

const GET: &str = "/kotinos.results.v1.ResultService/GetResult";
const FORGOTTEN: &str = "kotinos.results.v1.FeedService";
/// All of the package; the one that is forgotten is the last.
const NAMES: [&str; 6] = [
    "kotinos.results.v1.IngestService",
    "kotinos.results.v1.DeliveryService",
    "kotinos.results.v1.ResultService",
    "kotinos.results.v1.AccessService",
    "kotinos.results.v1.RehearsalService",
    FORGOTTEN,
];

/// Answers every call with OK.
#[derive(Clone)]
struct Yes<const N: usize>;

impl<const N: usize> NamedService for Yes<N> {
    const NAME: &'static str = NAMES[N];
}

impl<const N: usize> Tower<Request<Body>> for Yes<N> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Status::ok("").into_http()))
    }
}

fn all_but_one() -> Grpc {
    Grpc::new().add(Yes::<0>).add(Yes::<1>).add(Yes::<2>).add(Yes::<3>).add(Yes::<4>)
}

fn all() -> Grpc {
    all_but_one().add(Yes::<5>)
}

/// A process without database and topics, which nothing here needs.
struct House {
    running: Running,
    issuer: Issuer,
    clock: Clock,
}

impl House {
    async fn open(grpc: Grpc) -> Self {
        let clock = Clock::fixed(Clock::system().now());
        let issuer = Issuer::start(clock.clone()).await;
        let any_port = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let auth = AuthSettings {
            issuer: issuer.url().clone(),
            jwks_url: Some(issuer.keys_url()),
            client_key_dir: None,
        };
        let settings = Settings {
            http_addr: any_port,
            grpc_addr: any_port,
            ops_addr: any_port,
            auth,
            drain_delay: Duration::ZERO,
            ..Settings::default()
        };
        let component = Component::new(Service::ResultsFeed).grpc(grpc);
        let running =
            Running::start(Service::ResultsFeed, settings, clock.clone(), |_| async { Ok(vec![component]) });
        let running = running.await.unwrap_or_else(|error| panic!("{error}"));
        Self { running, issuer, clock }
    }

    fn peer(&self, token: Option<String>) -> Peer {
        Peer::fixed(format!("http://{}", self.running.grpc_addr()).parse().unwrap(), token)
    }

    fn door(&self, peer: Peer) -> Door {
        Door { peer, issuer: self.issuer.clone(), clock: self.clock.clone() }
    }

    // A listener in front of the process that hands calls on, those of one method by `inside`.
    async fn front(&self, path: &'static str, inside: Peer) -> Peer {
        let outside = self.peer(None);
        let hand_on = move |request: FrontRequest| {
            let open = request.uri().path() == path;
            let mut peer = if open { inside.clone() } else { outside.clone() };
            async move {
                match GrpcService::call(&mut peer, request.map(Body::new)).await {
                    Ok(answer) => answer.map(axum::body::Body::new),
                    Err(status) => status.into_http().map(|_: Body| axum::body::Body::empty()),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router: Router = Router::new().fallback(hand_on);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Peer::fixed(uri, None)
    }
}

const RESULTS: &[Service] = &[Service::ResultsFeed];

#[tokio::test]
async fn a_process_behind_its_layers_has_no_faults() {
    let house = House::open(all()).await;
    let faults = house.door(house.peer(None)).faults(RESULTS).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    house.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_method_that_is_open_is_found_by_every_stranger() {
    let house = House::open(all()).await;
    // Whoever comes gets the token that opens it.
    let right = house.issuer.claims(CLIENT, CLIENT, &["results.read"]);
    let inside = house.peer(Some(house.issuer.token(&right)));
    let door = house.door(house.front(GET, inside).await);
    let faults = door.faults(RESULTS).await;
    let method = methods().into_iter().find(|method| method.path == GET).unwrap();
    let expected: Vec<String> = door
        .strangers(&method)
        .iter()
        .map(|Stranger { name, code, reason, .. }| format!("{GET} {name}: Ok , not {code:?} {reason}"))
        .collect();
    assert_eq!(faults, expected);
    house.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_method_that_is_closed_to_everybody_is_found() {
    let house = House::open(all()).await;
    let other = house.issuer.claims(CLIENT, CLIENT, &["results.admin"]);
    let inside = house.peer(Some(house.issuer.token(&other)));
    let faults = house.door(house.front(GET, inside).await).faults(RESULTS).await;
    let good = format!("{GET} with a good token: PermissionDenied SCOPE_MISSING");
    assert_eq!(faults.last(), Some(&good));
    house.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_forgotten_is_found() {
    let house = House::open(all_but_one()).await;
    let door = house.door(house.peer(None));
    let faults = door.faults(&[Service::ResultsFeed, Service::Portal]).await;
    let paths = methods().into_iter().map(|method| method.path);
    let forgotten =
        paths.filter(|path| path.contains(FORGOTTEN)).map(|path| format!("{path}: is not served"));
    let expected: Vec<String> =
        forgotten.chain(["portal: nothing of its package is served".to_owned()]).collect();
    assert!(expected.len() > 2, "{FORGOTTEN} has methods");
    assert_eq!(faults, expected);
    house.running.stop().await.unwrap();
}
