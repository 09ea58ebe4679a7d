use std::{any::Any, convert::Infallible, future::Future, pin::Pin};

use domain::Service;
use sqlx::{PgPool, migrate::Migrator};
use tonic::{body::Body, server::NamedService, service::RoutesBuilder};

use crate::{Shutdown, StartError};

pub(crate) type Started = Pin<Box<dyn Future<Output = Result<(), StartError>> + Send>>;
pub(crate) type Attachment = Box<dyn Any + Send + Sync>;
pub(crate) type Work = Box<dyn FnOnce(Shutdown) -> Started + Send>;

/// All that a process sees of a service: its name, database, interfaces and long-running tasks.
pub struct Component {
    pub(crate) service: Service,
    pub(crate) database: Option<(PgPool, Migrator)>,
    pub(crate) grpc: Grpc,
    pub(crate) http: axum::Router,
    pub(crate) streams: Option<usize>,
    pub(crate) send_buffer: Option<u32>,
    pub(crate) preparations: Vec<(&'static str, Started)>,
    pub(crate) tasks: Vec<(&'static str, Work)>,
    pub(crate) attachments: Vec<Attachment>,
}

impl Component {
    /// A service without anything yet.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self {
            service,
            database: None,
            grpc: Grpc::new(),
            http: axum::Router::new(),
            streams: None,
            send_buffer: None,
            preparations: Vec::new(),
            tasks: Vec::new(),
            attachments: Vec::new(),
        }
    }

    /// The database, and what makes its schema. The process is ready only when the schema is.
    #[must_use]
    pub fn database(mut self, pool: PgPool, migrator: Migrator) -> Self {
        self.database = Some((pool, migrator));
        self
    }

    /// The gRPC services.
    #[must_use]
    pub fn grpc(mut self, grpc: Grpc) -> Self {
        self.grpc = grpc;
        self
    }

    /// The public HTTP routes. In one process with others the paths must be disjoint.
    #[must_use]
    pub fn http(mut self, http: axum::Router) -> Self {
        self.http = http;
        self
    }

    /// How many streams may be open at once, by gRPC and by HTTP each, where the usual 2,000 are too few. It is never more
    /// than the open files that the process is allowed leave room for. In one process with others the highest holds.
    #[must_use]
    pub const fn streams(mut self, most: usize) -> Self {
        self.streams = Some(most);
        self
    }

    /// Bytes that the kernel holds for each connection of the HTTP listener, where what it would take is too much: a
    /// reader of a stream that is slow then shows it. In one process with others the lowest holds.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// What must be done once, after the migrations and before the first call; when it fails the process ends.
    #[must_use]
    pub fn prepare(
        mut self,
        name: &'static str,
        preparation: impl Future<Output = Result<(), StartError>> + Send + 'static,
    ) -> Self {
        self.preparations.push((name, Box::pin(preparation)));
        self
    }

    /// What runs as long as the process; it ends by itself at the soft shutdown. When it fails the process ends.
    #[must_use]
    pub fn task<F, W>(mut self, name: &'static str, work: W) -> Self
    where
        W: FnOnce(Shutdown) -> F + Send + 'static,
        F: Future<Output = Result<(), StartError>> + Send + 'static,
    {
        self.tasks.push((name, Box::new(move |shutdown| Box::pin(work(shutdown)))));
        self
    }

    /// What an operator's verb needs of it, found again by its type. There may be several of a type.
    #[must_use]
    pub fn attach<T: Any + Send + Sync>(mut self, attachment: T) -> Self {
        self.attachments.push(Box::new(attachment));
        self
    }
}

/// gRPC services under one listener.
#[derive(Default)]
pub struct Grpc {
    pub(crate) routes: RoutesBuilder,
    pub(crate) names: Vec<&'static str>,
    pub(crate) descriptors: Vec<Vec<u8>>,
}

impl Grpc {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more service.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it adds a service, not a number")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: tower::Service<http::Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// The `FileDescriptorSet` of services that `/proto` does not have, with the files that they import from elsewhere.
    /// Their methods need policies as all others do.
    #[must_use]
    pub fn described_by(mut self, set: Vec<u8>) -> Self {
        self.descriptors.push(set);
        self
    }
}
