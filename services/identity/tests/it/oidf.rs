//! The modules of the OpenID Foundation's conformance suite, one function for each, under the module's name with underscores.
//! Each checks what its module checks; the crate's README maps functions to modules.

pub mod fapi2;
