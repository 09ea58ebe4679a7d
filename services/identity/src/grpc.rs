//! gRPC in: parse, one call of a use case, answer. And out: the services that identity calls.

mod parse;
pub mod peers;
mod sessions;
mod staff;
mod users;

pub use sessions::Sessions;
pub use staff::Staff;
pub use users::Users;
