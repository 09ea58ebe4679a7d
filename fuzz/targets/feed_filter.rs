//! The prefixes of a filter of the results feed, one a line, and a document's code on the last one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use results_feed::fuzzing::filter;

fuzz_target!(|text: &str| {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let code = lines.pop().unwrap_or_default();
    let Ok(shared) = filter(&lines) else { return };
    let wanted = lines.is_empty() || lines.iter().any(|prefix| code.starts_with(prefix));
    let found = shared.iter().filter(|prefix| code.starts_with(prefix.as_str())).count();
    assert_eq!(found, usize::from(wanted), "{shared:?}");
    lines.reverse();
    assert_eq!(filter(&lines).as_ref(), Ok(&shared), "the order does not matter");
    let again: Vec<&str> = shared.iter().map(String::as_str).collect();
    assert_eq!(filter(&again).as_ref(), Ok(&shared));
});
