//! The use cases of the fan's pages.

mod person;
mod places;
mod results;
mod sessions;

use chassis::{
    Process,
    relying_party::{Registration, RelyingParty},
};
use domain::Clock;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use person::{AccountForm, ConsentChoice, OFFERED, Offer, Person};
pub use sessions::Fan;

use crate::config::Config;
use places::Places;

/// What the portal asks for: sign-in, a refresh token, and the fan's own data.
const SCOPES: &str =
    "openid email offline_access identity.self profile.read profile.write consent.read consent.write";

/// The portal's use cases. Clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
    process: Process,
    issuer: RelyingParty,
    public_url: Url,
    results_url: Url,
    places: Places,
    feeds_end: CancellationToken,
}

impl App {
    /// The use cases over a database, identity and the other services.
    #[must_use]
    pub fn new(db: PgPool, process: Process, config: &Config) -> Self {
        let public_url = config.public_url.as_str().trim_end_matches('/');
        let registration = Registration {
            client_id: "portal",
            redirect_uri: format!("{public_url}/portal/callback"),
            scopes: SCOPES,
        };
        Self {
            db,
            clock: process.clock(),
            issuer: RelyingParty::new(process.clone(), registration, config.identity_url.clone()),
            process,
            public_url: config.public_url.clone(),
            results_url: config.results_url.clone(),
            places: Places::new(config.max_feeds),
            feeds_end: CancellationToken::new(),
        }
    }

    /// Identity, as the portal sees it.
    #[must_use]
    pub const fn issuer(&self) -> &RelyingParty {
        &self.issuer
    }

    /// The origin of identity, to which forms may lead.
    #[must_use]
    pub fn issuer_origin(&self) -> String {
        self.issuer.issuer_origin()
    }

    /// Our own origin.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }
}
