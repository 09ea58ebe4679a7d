//! profile owns the truth about a person: traits, external ids, the verified address as a mirror of identity's, and the
//! append-only consent records.
//!
//! RPCs: `kotinos.profile.v1` ProfileService, ConsentService, SchemaService.
//! Facts in: `kotinos.identity.user.v1` (a user registers, verifies or changes an address).
//! Facts out: `kotinos.profile.profile.v1` and `kotinos.profile.consent.v1`, both state topics keyed by profile id.

mod config;
mod profile;
mod schema;
mod consent;
mod app;
mod store;
mod grpc;
mod consumer;
mod events;
mod error;

use std::time::Duration;

use chassis::{Component, Grpc, Process, Shutdown, StartError};
use domain::{ProfileId, Service};
use outbox::Subscription;
use proto::profile::v1::{
    consent_service_server::ConsentServiceServer, profile_service_server::ProfileServiceServer,
    schema_service_server::SchemaServiceServer,
};

pub use config::Config;
pub use error::Error;

const SWEEP: Duration = Duration::from_secs(600);

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::Profile);
    let pool = process.database(&config.database_url);
    let app = app::App::new(pool.clone(), process.clock());
    let sweeping = app.clone();
    let component = Component::new(Service::Profile)
        .database(pool.clone(), sqlx::migrate!())
        .grpc(
            Grpc::new()
                .add(ProfileServiceServer::new(grpc::Profiles::new(app.clone())))
                .add(ConsentServiceServer::new(grpc::Consents::new(app.clone())))
                .add(SchemaServiceServer::new(grpc::Schemas)),
        )
        .task("request sweep", move |shutdown: Shutdown| async move {
            sweep(&sweeping, &shutdown).await;
            Ok(())
        });
    let component = outbox::publish(component, &process, &pool, events::TOPICS);
    let component = with_states(component, &app);
    let users = Subscription::new("profile", &consumer::TOPICS).collapse(&consumer::TOPICS);
    Ok(outbox::consume(component, &process, &pool, users, move |batch| consumer::apply(app.clone(), batch)))
}

/// What `republish` can tell again.
fn with_states(component: Component, app: &app::App) -> Component {
    let (profiles, consents) = (app.clone(), app.clone());
    let component = outbox::republish(component, &events::PROFILE, move |after| {
        let app = profiles.clone();
        async move { Ok(app.republish_profiles(key(after)?).await?) }
    });
    outbox::republish(component, &events::CONSENT, move |after| {
        let app = consents.clone();
        async move { Ok(app.republish_consents(key(after)?).await?) }
    })
}

fn key(after: Option<String>) -> Result<Option<ProfileId>, StartError> {
    Ok(after.map(|key| key.parse()).transpose()?)
}

/// Forgets old request ids now and then.
async fn sweep(app: &app::App, shutdown: &Shutdown) {
    while !shutdown.is_soft() {
        if let Err(error) = app.sweep().await {
            tracing::warn!(%error, "old requests stay for now");
        }
        tokio::select! {
            () = shutdown.soft() => {}
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
