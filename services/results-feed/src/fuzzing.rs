//! Doors for the targets in `fuzz/` to what reads the bytes of senders. Compiled with `--cfg fuzzing` alone, and never part
//! of a program.

use crate::{
    canonical::Node,
    cursor::Cursor,
    decoders::{gzip, odf},
    difference::Difference,
    fanout::Filter,
    merge_patch::{self, Patch},
    rsc::Prefix,
};

/// Canonical bytes of a document's body, empty where it has none, or the reason for its quarantine.
///
/// # Errors
/// The reason as senders read it.
pub fn decode(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let decoded = odf::decode(bytes).map_err(|reason| reason.to_string())?;
    Ok(decoded.body.map(|body| body.bytes().to_vec()).unwrap_or_default())
}

/// Whether canonical bytes are those of their tree, and a patch between any two of them leads from one to the other.
///
/// # Panics
/// Where they are not, or it does not.
pub fn holds_together(base: &[u8], target: &[u8]) {
    let trees = [base, target].map(|bytes| Node::from_bytes(bytes).expect("canonical bytes"));
    for (tree, bytes) in trees.iter().zip([base, target]) {
        assert_eq!(tree.to_bytes(), bytes, "canonical bytes are those of their tree");
    }
    let difference = Difference::between(base, target).expect("both are canonical");
    let patch: Patch = serde_json::from_slice(&difference.patch).expect("a merge patch");
    let [base, target] = trees;
    assert_eq!(merge_patch::apply(Some(&base), &patch), Some(target));
}

/// What a body inflates to; none where it is refused.
#[must_use]
pub fn inflate(body: &[u8]) -> Option<Vec<u8>> {
    gzip::inflate(body).ok()
}

/// Most bytes of an inflated body.
pub const LONGEST: usize = gzip::LONGEST;

/// Reads a cursor and prints it again, with its place in each lane.
///
/// # Errors
/// It is none.
pub fn cursor(text: &str) -> Result<(String, [i64; 3]), String> {
    let cursor: Cursor = text.parse().map_err(|error| format!("{error}"))?;
    Ok((cursor.to_string(), cursor.at))
}

/// The prefixes of a filter as readers share it.
///
/// # Errors
/// One of them is none.
pub fn filter(prefixes: &[&str]) -> Result<Vec<String>, String> {
    let prefixes: Result<Vec<Prefix>, _> = prefixes.iter().map(|prefix| prefix.parse::<Prefix>()).collect();
    let filter = Filter::new(prefixes.map_err(|error| format!("{error}"))?);
    Ok(filter.prefixes().iter().map(|prefix| prefix.as_str().to_owned()).collect())
}
