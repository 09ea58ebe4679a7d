//! The one door through which person data leaves: destinations, mappings, signed agreements, runs, and the ledger of what
//! was decided about whom.
//!
//! RPCs: `kotinos.crmsync.v1` DestinationService, MappingService, AgreementService, RunService, LedgerService.
//! Facts in: `kotinos.profile.profile.v1` and `kotinos.profile.consent.v1`, kept as a projection.
//! Facts out: `kotinos.crmsync.delivery.v1` (runs and chunks; ids and codes only).
//! Out of the house: rows of people to Salesforce, by Bulk API 2.0 for loads and by Collections for changes and ceases.
//! Each row passes the gate (`gate.rs`), and is in the ledger before it goes.

mod agreement;
mod agreement_token;
mod app;
mod bulk_csv;
mod chunk;
mod config;
mod consumer;
mod delivery;
mod destination;
mod error;
mod events;
mod gate;
mod grpc;
mod keys;
mod mapping;
mod match_key;
mod row;
mod row_failure;
mod run;
mod runner;
mod salesforce;
mod store;
mod subject;

use chassis::{Component, Grpc, Process, Secret, Shutdown, StartError};
use domain::{InvalidValue, Service};
use outbox::Subscription;
use proto::crmsync::v1::{
    agreement_service_server::AgreementServiceServer, destination_service_server::DestinationServiceServer,
    ledger_service_server::LedgerServiceServer, mapping_service_server::MappingServiceServer,
    run_service_server::RunServiceServer,
};

pub use config::Config;
pub use error::Error;

use app::{App, Secrets};

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::CrmSync);
    let secrets = secrets(&config)?;
    let pool = process.database(&config.database_url);
    let app = App::new(pool.clone(), process.clock(), secrets, process.http_client());
    let (runner, sweeper) = (app.clone(), app.clone());
    let component = Component::new(Service::CrmSync)
        .database(pool.clone(), sqlx::migrate!())
        .grpc(
            Grpc::new()
                .add(DestinationServiceServer::new(grpc::Destinations::new(app.clone())))
                .add(MappingServiceServer::new(grpc::Mappings::new(app.clone())))
                .add(AgreementServiceServer::new(grpc::Agreements::new(app.clone())))
                .add(RunServiceServer::new(grpc::Runs::new(app.clone())))
                .add(LedgerServiceServer::new(grpc::Ledger::new(app.clone()))),
        )
        .task("runner", move |shutdown: Shutdown| runner::run(runner, shutdown))
        .task("request sweep", move |shutdown: Shutdown| runner::sweep(sweeper, shutdown));
    let component = outbox::publish(component, &process, &pool, events::TOPICS);
    let people = Subscription::new("crmsync", &consumer::TOPICS).collapse(&consumer::TOPICS);
    Ok(outbox::consume(component, &process, &pool, people, move |batch| consumer::apply(app.clone(), batch)))
}

fn secrets(config: &Config) -> Result<Secrets, StartError> {
    let text =
        |secret: &Option<Secret>| secret.as_ref().map(Secret::expose).filter(|text| !text.trim().is_empty());
    let mut secrets = Secrets::default();
    if let Some(kek) = text(&config.kek) {
        secrets.kek = Some(keys::Kek::parse(&kek).map_err(|error| wrong("CRMSYNC_KEK", &error))?);
    }
    if let Some(lines) = text(&config.agreement_keys) {
        let keys = agreement_token::AgreementKeys::parse(&lines);
        secrets.agreement_keys = keys.map_err(|error| wrong("CRMSYNC_AGREEMENT_KEYS", &error))?;
    }
    if let Some(pem) = text(&config.salesforce_key) {
        let key = salesforce::SigningKey::from_pem(&pem);
        secrets.salesforce_key = key.map_err(|_| {
            StartError::from("CRMSYNC_SALESFORCE_KEY must be an RSA private key in PEM".to_owned())
        })?;
    }
    Ok(secrets)
}

fn wrong(setting: &str, error: &InvalidValue) -> StartError {
    StartError::from(format!("{setting} {}", error.rule))
}
