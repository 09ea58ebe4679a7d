//! gRPC in: parse, one call of a use case, answer.

mod access;
mod days;
mod delivery;
mod documents;
mod feed;
mod gaps;
mod ingest;
mod parse;
mod past;
mod rehearsal;
mod results;
mod rights;

pub use access::Access;
pub use delivery::Delivery;
pub use feed::Feed;
pub use ingest::Ingest;
pub use rehearsal::Rehearsal;
pub use results::Results;
