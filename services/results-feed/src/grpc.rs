//! gRPC in: parse, one call of a use case, answer.

mod access;
mod feed;
mod gaps;
mod ingest;
mod parse;
mod rehearsal;
mod results;

pub use access::Access;
pub use feed::Feed;
pub use ingest::Ingest;
pub use rehearsal::Rehearsal;
pub use results::Results;
