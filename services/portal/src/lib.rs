//! portal is the fans' face: sign-in, account, consents, My Page and live results, as pages that work without a script.
//!
//! It owns web sessions, and nothing else of a person. HTTP: `/`, `/portal/...` (the relying party of identity), `/account`,
//! `/account/{consents,history,sessions}`, `/my`, `/my/favourites`, `/my/results[/{unit}]`, `/my/results/feed`.
//! RPCs: none. Facts in and out: none.
//! Calls: identity (OpenID Connect, sessions), profile (data, consents), results-feed (units, results, the live feed).

mod app;
mod config;
mod error;
mod grpc;
mod http;
mod pages;
mod store;
mod web_session;

use chassis::{Component, Process, Shutdown, StartError};
use domain::Service;

pub use config::Config;
pub use error::Error;

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::Portal);
    let pool = process.database(&config.database_url);
    let pages = pages::Pages::load(config.time_zone)?;
    let app = app::App::new(pool.clone(), process, &config);
    let (sweeping, feeding) = (app.clone(), app.clone());
    let component = Component::new(Service::Portal)
        .database(pool, sqlx::migrate!())
        .http(http::router(app, pages)?)
        .task("expired sessions", move |shutdown: Shutdown| async move {
            sweeping.run_sweep(shutdown).await;
            Ok(())
        })
        .task("live feeds", move |shutdown: Shutdown| async move {
            shutdown.soft().await;
            feeding.end_feeds();
            Ok(())
        });
    Ok(component)
}
