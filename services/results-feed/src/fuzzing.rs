//! Doors for the targets in `fuzz/` to what reads the bytes of others. Compiled with `--cfg fuzzing` alone, and never part of
//! a program.

use crate::{cursor::Cursor, fanout::Filter, rsc::Prefix};

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
