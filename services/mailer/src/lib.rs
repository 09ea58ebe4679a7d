//! mailer owns senders, templates, campaigns, the ledger of every mail, suppressions, and transactional mail.
//!
//! RPCs: `kotinos.mailer.v1` SenderService, TemplateService, CampaignService, ReportService, LedgerService,
//! TransactionalService, SuppressionService. HTTP: `/u/{token}` unsubscribes, `/c/{token}` follows a link,
//! `/o/{token}.gif` counts an open.
//! Facts in: `kotinos.profile.profile.v1` and `.consent.v1` (who may be mailed, at which address).
//! Facts out: `kotinos.mailer.message.v1` (outcomes, opens, clicks), `.campaign.v1`, `.suppression.v1` (state).
//! Calls: segmentation (freezes), profile (withdrawals). Speaks SMTP to a relay.

mod config;
mod campaign;
mod message;
mod recipient;
mod suppression;
mod sender;
mod template;
mod engagement;
mod transactional;
mod token;
mod keyring;
mod sealed;
mod mailbox;
mod mime;
mod smtp;
mod app;
mod store;
mod grpc;
mod http;
mod consumer;
mod events;
mod error;

use std::sync::Arc;

use chassis::{Component, Grpc, Process, Secret, Shutdown, StartError};
use domain::{EmailAddress, Service};
use outbox::Subscription;
use proto::mailer::v1::{
    campaign_service_server::CampaignServiceServer, ledger_service_server::LedgerServiceServer,
    report_service_server::ReportServiceServer, sender_service_server::SenderServiceServer,
    suppression_service_server::SuppressionServiceServer, template_service_server::TemplateServiceServer,
    transactional_service_server::TransactionalServiceServer,
};

pub use config::Config;
pub use error::Error;

use app::{App, Keys, Peers, Relays};
use keyring::Keyring;

/// A setting that cannot be used. Its value is never repeated.
#[derive(Debug, thiserror::Error)]
#[error("{setting} {rule}")]
struct SettingError {
    setting: &'static str,
    rule: String,
}

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::Mailer);
    let pool = process.database(&config.database_url);
    let relay = smtp::Relay::parse(&config.relay_url.expose());
    let relay = relay.map_err(|error| setting("MAILER_RELAY_URL", &error))?;
    let service_from = EmailAddress::conforming(&config.service_from);
    let service_from = service_from.map_err(|error| setting("MAILER_SERVICE_FROM", &error))?;
    let keys = Keys {
        tokens: keyring("MAILER_TOKEN_KEYS", config.token_keys.as_ref())?,
        kek: keyring("MAILER_KEK", config.kek.as_ref())?,
    };
    let relays = Relays { campaign: smtp::Pool::new(relay.clone()), transactional: smtp::Pool::new(relay) };
    let peers = Peers {
        segmentation: grpc::peers::Segmentation::new(process.peer(Service::Segmentation)),
        profile: grpc::peers::Profiles::new(process.peer(Service::Profile)),
    };
    let (app, engagements) =
        App::new(pool.clone(), process.clock(), keys, relays, peers, &config.public_url, service_from);
    let component = Component::new(Service::Mailer)
        .database(pool.clone(), sqlx::migrate!())
        .grpc(services(&app))
        .http(http::router(app.clone()));
    let component = with_tasks(component, &app, engagements);
    let component = outbox::publish(component, &process, &pool, events::TOPICS);
    let states = app.clone();
    let component = outbox::republish(component, &events::SUPPRESSION, move |after| {
        let app = states.clone();
        async move {
            let after = after.map(|key| key.parse()).transpose()?;
            Ok(app.republish_suppressions(after).await?)
        }
    });
    // A projection, by which mails are checked: reading it again sends nothing, so `consumer rebuild` may have it.
    let people = Subscription::new("mailer", &events::FOLLOWED).collapse(&events::FOLLOWED);
    Ok(outbox::consume(component, &process, &pool, people, move |batch| consumer::apply(app.clone(), batch)))
}

fn services(app: &App) -> Grpc {
    Grpc::new()
        .add(SenderServiceServer::new(grpc::Senders::new(app.clone())))
        .add(TemplateServiceServer::new(grpc::Templates::new(app.clone())))
        .add(CampaignServiceServer::new(grpc::Campaigns::new(app.clone())))
        .add(ReportServiceServer::new(grpc::Reports::new(app.clone())))
        .add(LedgerServiceServer::new(grpc::Ledger::new(app.clone())))
        .add(TransactionalServiceServer::new(grpc::Transactionals::new(app.clone())))
        .add(SuppressionServiceServer::new(grpc::Suppressions::new(app.clone())))
}

fn with_tasks(
    component: Component,
    app: &App,
    engagements: tokio::sync::mpsc::Receiver<engagement::Engagement>,
) -> Component {
    let (freezes, campaigns, transactionals) = (app.clone(), app.clone(), app.clone());
    let (withdrawals, tracking) = (app.clone(), app.clone());
    component
        .task("freezes", move |shutdown: Shutdown| async move {
            freezes.run_freezes(shutdown).await;
            Ok(())
        })
        .task("campaigns", move |shutdown: Shutdown| async move {
            campaigns.run_campaigns(shutdown).await;
            Ok(())
        })
        .task("transactional mail", move |shutdown: Shutdown| async move {
            transactionals.run_transactionals(shutdown).await;
            Ok(())
        })
        .task("withdrawals", move |shutdown: Shutdown| async move {
            withdrawals.run_withdrawals(shutdown).await;
            Ok(())
        })
        .task("opens and clicks", move |shutdown: Shutdown| async move {
            tracking.run_tracking(engagements, shutdown).await;
            Ok(())
        })
}

fn keyring(name: &'static str, keys: Option<&Secret>) -> Result<Arc<Keyring>, StartError> {
    let keys =
        keys.ok_or_else(|| setting(name, &"must be given, usually as a file by the name with _FILE"))?;
    Keyring::parse(&keys.expose()).map(Arc::new).map_err(|error| setting(name, &error))
}

fn setting(setting: &'static str, rule: &dyn std::fmt::Display) -> StartError {
    SettingError { setting, rule: rule.to_string() }.into()
}
