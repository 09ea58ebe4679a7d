//! What benchmarks share: command lines, figures as text, contestants, and what the system says of processes.

mod command_line;
mod contestant;
mod figures;
mod surroundings;
pub mod system;

pub use command_line::{Arguments, Scale};
pub use contestant::{Contestant, free_address, kept, until};
pub use figures::{Table, middle, milliseconds, number, quantile};
pub use surroundings::Surroundings;
