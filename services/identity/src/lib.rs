//! identity is the OpenID Provider: it owns users, credentials, clients, consents, sessions, grants and signing keys.
//!
//! HTTP: the pages of sign-in, sign-up, recovery, consent, sign-out and one's own sign-ins; `/authorize`, `/logout`, `/oauth2/*` and
//! the metadata of OpenID Connect. RPCs: `kotinos.identity.v1` UserService, SessionService, StaffService,
//! ClientService, KeyService, AuditService.
//! Facts out: `kotinos.identity.user.v1` (state), `kotinos.identity.session.v1` (sessions ended, users seen),
//! `kotinos.identity.erasure.v1` (users erased).
//! Calls: profile (claims; whether it knows a user who is to be erased), mailer (proofs of an address, what changed); relying
//! parties (back-channel logout, their keys and sectors).

mod acr;
mod app;
mod audit;
mod authorization;
mod ceremony;
mod challenge;
mod change;
mod claims;
mod circuit;
mod client;
mod config;
mod cose;
mod credential;
mod device_grant;
mod dpop;
mod error;
mod events;
#[cfg(fuzzing)]
pub mod fuzzing;
mod grant;
mod grpc;
mod handle;
mod hash_lane;
mod hash_queue;
mod http;
mod jws;
mod keyring;
mod logout_delivery;
mod pages;
mod params;
mod partitions;
mod passkey;
mod password;
mod progress;
mod pushed_request;
mod recovery_code;
mod registration;
mod rotation;
mod replays;
mod revocation;
mod scope;
mod sealed;
mod session;
mod store;
mod subject;
mod theme;
mod throttle;
mod token_family;
mod totp;
mod user;
mod verbs;
mod webauthn;
mod words;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chassis::{Component, Egress, Grpc, Process, Secret, Shutdown, StartError};
use domain::Service;
use proto::identity::v1::{
    audit_service_server::AuditServiceServer, client_service_server::ClientServiceServer,
    key_service_server::KeyServiceServer, session_service_server::SessionServiceServer,
    staff_service_server::StaffServiceServer, user_service_server::UserServiceServer,
};
use sqlx::PgPool;
use url::Url;

pub use config::Config;
pub use error::Error;
pub use verbs::VERBS;

use app::{App, Bootstrap, BreachedList, Settings};
use hash_lane::HashLane;
use keyring::Keyring;

/// A setting that cannot be used. Its value is never repeated.
#[derive(Debug, thiserror::Error)]
#[error("{setting} {rule}")]
struct SettingError {
    setting: &'static str,
    rule: String,
}

/// Connections of the database, apart for tokens, pages and operators: whichever is flooded, the others go on.
struct Lanes {
    token: PgPool,
    web: PgPool,
    admin: PgPool,
}

impl Lanes {
    // By commits a second, each a wait for the disk of 4 ms, times four: 24, 16 and 4 where a service has 10.
    fn new(process: &Process, url: &Secret) -> Self {
        let whole = process.settings().database_connections;
        let lane = |tenths: u32| process.database_lane(url, (whole * tenths / 10).max(2));
        Self { token: lane(24), web: lane(16), admin: lane(4) }
    }
}

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::Identity);
    let lanes = Lanes::new(&process, &config.database_url);
    let pool = lanes.web;
    let app = App::new(
        pool.clone(),
        process.clock(),
        settings(&config, &process)?,
        grpc::peers::Profiles::new(process.peer(Service::Profile)),
        grpc::peers::Mailer::new(process.peer(Service::Mailer)),
        Egress::new(&process.settings().egress_allow)?,
        process.metrics(),
    );
    let admin = app.on(lanes.admin);
    let component = Component::new(Service::Identity)
        .database(pool.clone(), sqlx::migrate!())
        .prepare("keys", load_keys(app.clone()))
        .prepare("partitions", partitions(app.clone()))
        .prepare("audit seals", audit_chain(app.clone()))
        .prepare("bootstrap file", bootstrap(app.clone(), config.bootstrap_file))
        .prepare("clients and revocations", remember(app.clone()))
        .grpc(
            Grpc::new()
                .add(UserServiceServer::new(grpc::Users::new(admin.clone())))
                .add(SessionServiceServer::new(grpc::Sessions::new(admin.clone())))
                .add(StaffServiceServer::new(grpc::Staff::new(admin.clone())))
                .add(AuditServiceServer::new(grpc::Audit::new(admin.clone())))
                .add(ClientServiceServer::new(grpc::Clients::new(admin.clone())))
                .add(KeyServiceServer::new(grpc::Keys::new(admin))),
        )
        .http(http::router(&app, app.on(lanes.token), pages::Pages::load()?))
        .attach(app.clone());
    let component = outbox::publish(with_tasks(component, &app), &process, &pool, events::TOPICS);
    Ok(outbox::republish(component, &events::USER, move |after| {
        let app = app.clone();
        async move {
            let after = after.map(|key| key.parse()).transpose()?;
            Ok(app.republish_users(after).await?)
        }
    }))
}

fn with_tasks(component: Component, app: &App) -> Component {
    let (mails, deliveries, keys, rows) = (app.clone(), app.clone(), app.clone(), app.clone());
    let seals = app.clone();
    let (revocations, clients, seen) = (app.clone(), app.clone(), app.clone());
    component
        .task("revocations", move |shutdown: Shutdown| async move {
            revocations.run_revocations(shutdown).await;
            Ok(())
        })
        .task("clients", move |shutdown: Shutdown| async move {
            clients.run_client_refresh(shutdown).await;
            Ok(())
        })
        .task("seen sessions", move |shutdown: Shutdown| async move {
            seen.run_seen(shutdown).await;
            Ok(())
        })
        .task("mail", move |shutdown: Shutdown| async move {
            mails.run_mail(shutdown).await;
            Ok(())
        })
        .task("logout deliveries", move |shutdown: Shutdown| async move {
            deliveries.run_deliveries(shutdown).await;
            Ok(())
        })
        .task("keys", move |shutdown: Shutdown| async move {
            keys.run_keys(shutdown).await;
            Ok(())
        })
        .task("audit seals", move |shutdown: Shutdown| async move {
            seals.run_seals(shutdown).await;
            Ok(())
        })
        .task("sweep", move |shutdown: Shutdown| async move {
            rows.run_sweep(shutdown).await;
            Ok(())
        })
}

async fn load_keys(app: App) -> Result<(), StartError> {
    Ok(app.refresh_keys().await?)
}

async fn partitions(app: App) -> Result<(), StartError> {
    app.prepare_partitions().await;
    Ok(())
}

async fn audit_chain(app: App) -> Result<(), StartError> {
    Ok(app.prepare_audit_chain().await?)
}

async fn bootstrap(app: App, file: Option<PathBuf>) -> Result<(), StartError> {
    let Some(file) = file else { return Ok(()) };
    Ok(app.apply(Bootstrap::read(&file).await?).await?)
}

async fn remember(app: App) -> Result<(), StartError> {
    app.load_clients().await?;
    Ok(app.read_revocations().await?)
}

fn settings(config: &Config, process: &Process) -> Result<Settings, StartError> {
    let kek = config.kek.as_ref().ok_or_else(|| {
        setting("IDENTITY_KEK", "must be given, usually as a file by IDENTITY_KEK_FILE".to_owned())
    })?;
    let keys = Keyring::parse(&kek.expose()).map_err(|error| setting("IDENTITY_KEK", error.to_string()))?;
    let hash_threads = match config.hash_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Ok(Settings {
        issuer: issuer(&config.issuer)?,
        keys,
        kek: kek.clone(),
        access_token_seconds: config.access_token_seconds,
        breached: config.breached_file.as_deref().map(breached).transpose()?,
        hash_lane: HashLane::start(hash_threads, process.metrics())?,
        client_rate: process.settings().client_rate,
    })
}

fn breached(file: &Path) -> Result<Arc<BreachedList>, StartError> {
    let list = BreachedList::open(file);
    Ok(Arc::new(list.map_err(|error| setting("IDENTITY_BREACHED_FILE", error.to_string()))?))
}

// An origin: pages and endpoints stand at its root, and links, cookies and checks are made of it.
fn issuer(text: &str) -> Result<String, StartError> {
    let rule = "must be an https origin such as https://id.example.org, or http on localhost, without a slash at its end";
    let wrong = || setting("IDENTITY_ISSUER", rule.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let safe = url.scheme() == "https" || url.scheme() == "http" && loopback;
    if safe && url.origin().ascii_serialization() == text { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn setting(setting: &'static str, rule: String) -> StartError {
    SettingError { setting, rule }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_a_safe_origin() {
        for right in [
            "https://id.example.org",
            "http://localhost:8101",
            "http://127.0.0.1:8101",
            "https://id.example.org:8443",
        ] {
            assert_eq!(issuer(right).unwrap(), right);
        }
        for wrong in [
            "",
            "id.example.org",
            "http://id.example.org",
            "https://id.example.org/",
            "https://id.example.org/op",
            "https://ID.example.org",
            "https://id.example.org:443",
            "https://u@id.example.org",
            "ftp://localhost",
        ] {
            assert!(issuer(wrong).is_err(), "{wrong}");
        }
    }
}
