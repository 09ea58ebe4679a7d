use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use domain::{Clock, Service};
use sqlx::PgPool;

use crate::{
    Actor, Denied, Metrics, Peer, PeerError, Secret, Settings, StartError, database, http_client,
    peer::{Channels, Replicas, TokenSource},
    peer_token::OwnTokens,
    policy::Policies,
    token_verifier::TokenVerifier,
};

/// What a service gets from the process that it runs in. Clones share everything.
#[derive(Clone)]
pub struct Process {
    service: Service,
    tokens: OwnTokens,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    verifier: TokenVerifier,
    policies: Arc<Policies>,
    channels: Channels,
    short: reqwest::Client,
    streaming: reqwest::Client,
    grpc_addr: SocketAddr,
    // Known once the components are built: their own calls go to their own listener.
    hosted: OnceLock<BTreeSet<Service>>,
}

impl Process {
    pub(crate) fn new(
        service: Service,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        grpc_addr: SocketAddr,
    ) -> Result<Self, StartError> {
        let (short, streaming) = (http_client::short()?, http_client::streaming()?);
        let verifier = TokenVerifier::new(&settings.auth, short.clone(), clock.clone());
        let tokens = OwnTokens::new(&settings.auth, service.short(), short.clone(), clock.clone());
        let shared = Shared {
            verifier,
            policies: Arc::new(Policies::all()?),
            channels: Channels::default(),
            short,
            streaming,
            grpc_addr,
            hosted: OnceLock::new(),
            settings,
            clock,
            metrics,
        };
        Ok(Self { service, tokens, shared: Arc::new(shared) })
    }

    pub(crate) fn hosts(&self, services: BTreeSet<Service>) {
        // Set once, by the start.
        let _ = self.shared.hosted.set(services);
    }

    pub(crate) fn is_host_of(&self, service: Service) -> bool {
        self.shared.hosted.get().is_some_and(|hosted| hosted.contains(&service))
    }

    pub(crate) fn verifier(&self) -> TokenVerifier {
        self.shared.verifier.clone()
    }

    /// The same process, in the name of one of its services: its OAuth client, its schema, its labels.
    #[must_use]
    pub fn of(&self, service: Service) -> Self {
        let shared = Arc::clone(&self.shared);
        let tokens = OwnTokens::new(
            &shared.settings.auth,
            service.short(),
            shared.short.clone(),
            shared.clock.clone(),
        );
        Self { service, tokens, shared }
    }

    /// In whose name this handle acts.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.service
    }

    /// The settings that every process has.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// Where operators' figures are registered.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics.clone()
    }

    /// A pool of database connections; it connects when it is first used.
    #[must_use]
    pub fn database(&self, url: &Secret) -> PgPool {
        self.database_lane(url, self.shared.settings.database_connections)
    }

    /// The same with a limit of its own, for work that shall not wait for the connections of other work.
    #[must_use]
    pub fn database_lane(&self, url: &Secret, connections: u32) -> PgPool {
        database::pool(url, self.service, connections)
    }

    /// Another service, called with our own token.
    #[must_use]
    pub fn peer(&self, service: Service) -> Peer {
        self.peer_with(service, TokenSource::Own(self.tokens.clone(), service.audience()))
    }

    /// Another service, called on behalf of whoever the token is of.
    #[must_use]
    pub fn peer_with_token(&self, service: Service, access_token: &str) -> Peer {
        self.peer_with(service, TokenSource::Fixed(access_token.into()))
    }

    fn peer_with(&self, service: Service, token: TokenSource) -> Peer {
        let shared = Arc::clone(&self.shared);
        let replicas = Arc::new(move || shared.replicas(service));
        Peer::new(self.shared.channels.clone(), replicas, token, Arc::clone(&self.shared.policies))
    }

    /// Our own access token for a service's API.
    ///
    /// # Errors
    /// Identity is away or refuses, or our key cannot be read.
    pub async fn access_token(&self, service: Service) -> Result<String, PeerError> {
        self.tokens.token(service.audience()).await
    }

    /// Who a token is of, when it is good for this audience.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn verify_token(&self, token: &str, audience: &str) -> Result<Actor, Denied> {
        self.shared.verifier.verify(token, audience).await
    }

    /// A signed assertion that we are our OAuth client (RFC 7523).
    ///
    /// # Errors
    /// Our key cannot be read.
    pub fn client_assertion(&self) -> Result<String, PeerError> {
        self.tokens.client_assertion()
    }

    /// For HTTP requests with short answers: no redirects, 5 seconds in all.
    #[must_use]
    pub fn http_client(&self) -> reqwest::Client {
        self.shared.short.clone()
    }

    /// For HTTP answers that go on and on: no redirects, no limit of time once connected.
    #[must_use]
    pub fn stream_client(&self) -> reqwest::Client {
        self.shared.streaming.clone()
    }
}

impl Shared {
    fn replicas(&self, service: Service) -> Option<Replicas> {
        if self.hosted.get()?.contains(&service) {
            let mut addr = self.grpc_addr;
            if addr.ip().is_unspecified() {
                addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            return format!("http://{addr}").parse().ok();
        }
        self.settings.peers.of(service)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("service", &self.service).finish_non_exhaustive()
    }
}
