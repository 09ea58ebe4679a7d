use chassis::Secret;
use chrono_tz::Tz;
use url::Url;

/// Settings of the portal.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `portal`.
    #[arg(
        id = "PORTAL_DATABASE_URL",
        long = "portal-database-url",
        env = "PORTAL_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,

    /// Where fans reach the portal: the origin of its pages and of its redirect URI.
    #[arg(
        id = "PORTAL_PUBLIC_URL",
        long = "portal-public-url",
        env = "PORTAL_PUBLIC_URL",
        default_value = "http://localhost:8107"
    )]
    pub public_url: Url,

    /// Where the portal reaches identity's HTTP listener, when that is not the issuer's own address. Browsers go to the
    /// issuer all the same.
    #[arg(id = "PORTAL_IDENTITY_URL", long = "portal-identity-url", env = "PORTAL_IDENTITY_URL")]
    pub identity_url: Option<Url>,

    /// Where the portal reaches results-feed's HTTP listener, whose live feed it hands on.
    #[arg(
        id = "PORTAL_RESULTS_URL",
        long = "portal-results-url",
        env = "PORTAL_RESULTS_URL",
        default_value = "http://localhost:8106"
    )]
    pub results_url: Url,

    /// Live feeds that one process holds open at a time; the next reader is asked to come back. Each is an open request of the
    /// listener, and in all-in-one two of them: pages must have room beside.
    #[arg(
        id = "PORTAL_MAX_FEEDS",
        long = "portal-max-feeds",
        env = "PORTAL_MAX_FEEDS",
        default_value_t = 2_000
    )]
    pub max_feeds: usize,

    /// Zone in which pages write times.
    #[arg(
        id = "PORTAL_TIME_ZONE",
        long = "portal-time-zone",
        env = "PORTAL_TIME_ZONE",
        default_value_t = chrono_tz::Asia::Tokyo
    )]
    pub time_zone: Tz,
}
