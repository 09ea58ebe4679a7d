//! The process: what every service is beside its own rules. Configuration, three listeners, telemetry, lifecycle,
//! health, the database pool with its migrations, the nine error codes, authentication of callers, channels to peers, and
//! the relying party of OpenID Connect for services whose pages people sign in to.
//!
//! A service hands over a [`Component`]; [`run`] does the rest. Operators' verbs beside `serve`, `migrate`, `health` and
//! `config` come from the crates that own what they work on, as [`Verb`]s. The crate knows no business word.

mod actor;
mod auth_layer;
mod backoff;
mod code;
mod command;
mod component;
mod connections;
mod database;
mod egress;
mod forwarded;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod http_client;
mod layers;
mod lifecycle;
mod metrics;
mod migrate;
mod peer;
mod peer_token;
mod policy;
mod problem;
mod process;
pub mod relying_party;
mod run;
mod secret;
mod semconv;
mod serve;
mod settings;
mod telemetry;
mod token_verifier;
mod transaction;
mod verb;

pub use actor::{Actor, Denied, actor};
pub use backoff::Backoff;
pub use code::{Code, Coded, FieldViolation, parse, status};
pub use component::{Component, Grpc};
pub use connections::socket_of;
pub use database::{constraint, database_code, is_retryable};
pub use egress::{Egress, EgressError};
pub use forwarded::Network;
pub use http_client::read_bounded;
pub use layers::{
    deadline::remaining,
    most_streams,
    quota::{Buckets, Rate},
    trace::EntersSpan,
};
pub use lifecycle::Shutdown;
pub use metrics::Metrics;
pub use peer::Peer;
pub use peer_token::{PeerError, fields_of};
pub use problem::Problem;
pub use process::Process;
pub use run::{Running, run, run_all};
pub use secret::Secret;
pub use settings::{AuthSettings, KafkaSecurity, Migrate, Settings, Topics};
pub use transaction::begin;
pub use verb::{Done, Operator, Stop, Verb, operate, yes};

/// Why a process does not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;
