//! From the log to readers: a ring of the newest entries that every connection of the process shares, and readers that
//! are cursors on it. There is no queue a connection: a slow reader costs its place, not memory.

mod hub;
mod live;
mod reader;
mod tail;

pub use hub::{Hub, Read};
pub use reader::{Mode, Reader, Subscription};
pub use tail::{catch_up, follow};
