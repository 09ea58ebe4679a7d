//! From the log to readers. Readers that ask for the same form a topic: what each entry means for them is decided once, each
//! frame is encoded once, and a connection is a cursor on the topic's rings. There is no queue a connection: a slow
//! reader costs its place, not memory.

mod budget;
mod catch_up;
mod figures;
mod filter;
mod hub;
#[cfg(test)]
mod model;
mod moved;
mod place;
mod reader;
mod rings;
mod sent;
mod slot;
mod snapshot;
mod tail;
mod telling;
mod topic;
mod topics;
mod view;

pub use budget::Budget;
pub use figures::{Carrier, Figures};
pub use filter::{Filter, MOST_PREFIXES};
pub use hub::Hub;
pub use place::{Mode, Place};
pub use reader::{Reader, Subscription};
pub use sent::Sent;
pub use tail::{Awaited, catch_up, follow, listen, look_after};
pub use topic::Representation;
pub use view::View;
