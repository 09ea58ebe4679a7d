//! The use cases of the fan's pages.

mod person;
mod places;
mod results;
mod sessions;

use chassis::Process;
use domain::Clock;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use person::{AccountForm, ConsentChoice, OFFERED, Offer, Person};
pub use sessions::Fan;

use crate::{config::Config, issuer::Issuer};
use places::Places;

/// The portal's use cases. Clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
    process: Process,
    issuer: Issuer,
    public_url: Url,
    results_url: Url,
    places: Places,
    feeds_end: CancellationToken,
}

impl App {
    /// The use cases over a database, identity and the other services.
    #[must_use]
    pub fn new(db: PgPool, process: Process, config: &Config) -> Self {
        Self {
            db,
            clock: process.clock(),
            issuer: Issuer::new(process.clone(), &config.public_url, config.identity_url.clone()),
            process,
            public_url: config.public_url.clone(),
            results_url: config.results_url.clone(),
            places: Places::new(config.max_feeds),
            feeds_end: CancellationToken::new(),
        }
    }

    /// Identity, as the portal sees it.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The origin of identity, to which forms may lead.
    #[must_use]
    pub fn issuer_origin(&self) -> String {
        self.process.settings().auth.issuer.origin().ascii_serialization()
    }

    /// Our own origin.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }
}
