//! gRPC in: parse, one call of a use case, answer.

mod consents;
mod parse;
mod profiles;
mod schemas;

pub use consents::Consents;
pub use profiles::Profiles;
pub use schemas::Schemas;
