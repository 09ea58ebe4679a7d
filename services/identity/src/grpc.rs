//! gRPC in: parse, one call of a use case, answer. And out: the services that identity calls.

mod audit;
mod parse;
pub mod peers;
mod sessions;
mod staff;
mod users;

pub use audit::Audit;
pub use sessions::Sessions;
pub use staff::Staff;
pub use users::Users;
