//! gRPC in: parse, one call of a use case, answer.

mod access;
mod feed;
mod gaps;
mod ingest;
mod parse;
mod results;

pub use access::Access;
pub use feed::Feed;
pub use ingest::Ingest;
pub use results::Results;
