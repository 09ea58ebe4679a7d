//! What benchmarks share: figures as text, contestants, and what the system says of processes.

mod contestant;
mod figures;
mod surroundings;
pub mod system;

pub use contestant::{Contestant, free_address, kept, until};
pub use figures::{Table, middle, milliseconds, number, quantile};
pub use surroundings::Surroundings;
