//! Journeys over the public interfaces; the driver of the demo and of the end-to-end tests.
//!
//! [`Suite`] starts the services as real processes, [`Walk`] goes one fan's whole way through them in nine [`steps`],
//! and each step returns the evidence of what it saw. Nothing here reaches into a service: pages, OpenID Connect, gRPC,
//! ODF, SMTP, Kafka's facts, and the simulated CRM's own view of itself.

mod agreement;
mod app_codes;
mod client_key;
mod commentator;
mod connected;
mod crm;
mod facts;
mod fan;
mod leaks;
mod live_page;
mod mailbox;
mod noc_server;
mod oauth;
mod partner;
mod patience;
mod program;
mod second_rp;
mod staff;
pub mod steps;
mod suite;
mod timing;
mod visitor;
mod walk;

pub use client_key::{ClientKey, secret, secret_sha256};
pub use commentator::Commentator;
pub use crm::Crm;
pub use facts::Facts;
pub use fan::{Fan, PASSWORD, decide_on_device, go_on, sign_in, sign_up};
pub use leaks::{Leak, Place, leaks};
pub use mailbox::mail_link;
pub use noc_server::NocServer;
pub use oauth::{Claims, CodeFlow, Provider, Tokens};
pub use patience::until;
pub use program::Program;
pub use staff::{Bearer, Channel, Staff};
pub use steps::trace::TOLD;
pub use suite::{Listeners, Replica, Shape, Suite};
pub use timing::Race;
pub use visitor::{Form, Page, WebVisitor};
pub use walk::{Interruption, Moment, Step, Walk};
