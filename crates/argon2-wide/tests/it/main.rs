//! The hash against RFC 9106 and against crate `argon2`.

mod differential;
mod vectors;
