//! From the sender's bytes to a header and a canonical document.

pub mod gzip;
pub mod odf;

use crate::{canonical::Body, header::Header};

/// A document as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Its header.
    pub header: Header,
    /// What follows the header; `None` invalidates the version that the header names (no `Competition` element).
    pub body: Option<Body>,
    /// What is odd in its content without being wrong.
    pub defects: Defects,
}

/// Defects of content. They are counted and told to operators; no document is refused for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defects {
    /// Attributes without a value: ODF takes them for absent (Foundation Principles 6.7).
    pub empty_attributes: u32,
    /// Results that share a SortOrder with another one of their list.
    pub doubled_sort_orders: u32,
}

impl Defects {
    /// Whether there are any.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}
