//! From the sender's bytes to a header and a canonical document.

pub mod gzip;
pub mod odf;

use crate::{canonical::Node, header::Header};

/// A document as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Its header.
    pub header: Header,
    /// What follows the header; `None` invalidates the version that the header names (no `Competition` element).
    pub body: Option<Node>,
}
