//! gRPC in: parse, one call of a use case, answer. And out: the services that mailer calls.

mod campaigns;
mod parse;
pub mod peers;
mod people;
mod reports;
mod templates;

pub use campaigns::Campaigns;
pub use people::{Suppressions, Transactionals};
pub use reports::{Ledger, Reports};
pub use templates::{Senders, Templates};
