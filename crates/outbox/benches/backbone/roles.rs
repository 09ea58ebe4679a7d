//! What this program is when it is started as a contestant.

use std::process::ExitCode;

use chassis::{Component, Grpc, Process, Secret, StartError};
use domain::Service;
use proto::profile::v1::{
    GetTraitSchemaRequest, GetTraitSchemaResponse,
    schema_service_server::{SchemaService, SchemaServiceServer},
};
use tonic::{Request, Response, Status};

use crate::{
    consumers, naive,
    surroundings::{SERVICE, TOPICS},
};

/// The variable that says which.
pub const ROLE: &str = "BENCH_ROLE";
pub const RELAY: &str = "relay";
pub const NAIVE_RELAY: &str = "naive-relay";
pub const CLAIMED: &str = "claimed";
pub const VERSIONED: &str = "versioned";
pub const PLAIN: &str = "plain";
pub const GRPC: &str = "grpc";
pub const BARE_GRPC: &str = "bare-grpc";

#[derive(clap::Args, Debug, Clone)]
pub struct WithDatabase {
    /// Of the outbox, or of the effects.
    #[arg(id = "MAILER_DATABASE_URL", long, env = "MAILER_DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,
}

#[derive(clap::Args, Debug, Clone)]
struct WithNothing {}

pub fn play(role: &str) -> ExitCode {
    match role {
        RELAY => chassis::run(SERVICE, relay, &[]),
        CLAIMED => chassis::run(SERVICE, consumers::claimed, &[]),
        VERSIONED => chassis::run(SERVICE, consumers::versioned, &[]),
        GRPC => chassis::run(Service::Profile, grpc, &[]),
        NAIVE_RELAY => ended(naive::run()),
        PLAIN => ended(consumers::plain()),
        BARE_GRPC => ended(bare_grpc()),
        _ => ExitCode::FAILURE,
    }
}

fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

// A service that has nothing but an outbox, run as every service is.
async fn relay(config: WithDatabase, process: Process) -> Result<Component, StartError> {
    let pool = process.database(&config.database_url);
    Ok(outbox::publish(Component::new(SERVICE), &process, &pool, TOPICS))
}

async fn grpc(_: WithNothing, process: Process) -> Result<Component, StartError> {
    Ok(Component::new(process.service()).grpc(Grpc::new().add(SchemaServiceServer::new(Trivial))))
}

/// Has nothing to do, so that only the way to it counts.
struct Trivial;

#[tonic::async_trait]
impl SchemaService for Trivial {
    async fn get_trait_schema(
        &self,
        _: Request<GetTraitSchemaRequest>,
    ) -> Result<Response<GetTraitSchemaResponse>, Status> {
        Ok(Response::new(GetTraitSchemaResponse::default()))
    }
}

fn bare_grpc() -> anyhow::Result<()> {
    let addr = std::env::var("KOTINOS_GRPC_ADDR")?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = tonic::transport::Server::builder().add_service(SchemaServiceServer::new(Trivial));
        Ok(server.serve(addr).await?)
    })
}
