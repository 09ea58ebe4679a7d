//! Code generated from `/proto` by a test of this crate, checked in so that nobody needs a protobuf compiler.
//! `proto::profile::v1::GetProfileRequest` is the message of that name in `proto/kotinos/profile/v1`.

/// Every file of `/proto` with its options, for reflection and for the policies of methods.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

#[expect(clippy::allow_attributes, reason = "generated code")]
mod generated {
    include!("gen/mod.rs");
}

pub use generated::kotinos::*;
