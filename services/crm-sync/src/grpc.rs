//! gRPC in: parse, one call of a use case, answer.

mod agreements;
mod answer;
mod destinations;
mod ledger;
mod mappings;
mod parse;
mod runs;

pub use agreements::Agreements;
pub use destinations::Destinations;
pub use ledger::Ledger;
pub use mappings::Mappings;
pub use runs::Runs;
