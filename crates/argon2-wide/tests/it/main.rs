//! The hash against RFC 9106 and against crate `argon2`.
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod differential;
mod vectors;
