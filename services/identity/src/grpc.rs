//! gRPC in: parse, one call of a use case, answer. And out: the services that identity calls.

mod audit;
mod clients;
mod keys;
mod parse;
pub mod peers;
mod sessions;
mod staff;
mod user_parts;
mod users;

pub use audit::Audit;
pub use clients::Clients;
pub use keys::Keys;
pub use sessions::Sessions;
pub use staff::Staff;
pub use users::Users;
