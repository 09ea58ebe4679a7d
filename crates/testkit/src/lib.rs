//! For tests: what a test needs that is real, and what stands in for those outside our network.
//!
//! [`TestApp`] runs a service, or several, on a database, topics, an issuer and a clock of their own; [`Db`] and
//! [`Topics`] give the first two alone. [`RecordCatcher`] reads Kafka, [`records_in_outbox`] the rows on their way to it,
//! [`SpanCatcher`] receives OpenTelemetry's spans. [`SmtpSink`] takes mail as a relay does, [`Issuer`] gives tokens as
//! identity does, [`FaultProxy`] cuts and slows a connection. [`races`] has sample documents. Nothing here sleeps for a
//! fixed time: [`eventually`] waits for a condition. [`measure`] is for benchmarks.
//!
//! PostgreSQL and Kafka are found by `KOTINOS_TEST_DATABASE_URL` and `KOTINOS_TEST_KAFKA_BROKERS`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panic, and so does what tests share: there is nobody to give an error to"
)]

mod client_keys;
mod db;
mod eventually;
mod fault_proxy;
mod free_ports;
mod issuer;
pub mod measure;
mod outbox_rows;
pub mod races;
mod record_catcher;
mod refusals;
mod smtp_sink;
mod span_catcher;
mod stack;
mod test_app;
mod topics;

pub use db::Db;
pub use eventually::eventually;
pub use fault_proxy::FaultProxy;
pub use free_ports::free_ports;
pub use issuer::{Claims, Issuer};
pub use outbox_rows::{OutboxRow, records_in_outbox};
pub use record_catcher::{CaughtRecord, RecordCatcher};
pub use refusals::refuses_strangers;
pub use smtp_sink::{Mail, SmtpSink};
pub use span_catcher::{Span, SpanCatcher, SpanKind, SpanLink};
pub use test_app::TestApp;
pub use topics::Topics;
