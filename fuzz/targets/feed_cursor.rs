//! A cursor of the results feed, as a reader gives it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use results_feed::fuzzing::cursor;

fuzz_target!(|text: &str| {
    let Ok((printed, at)) = cursor(text) else { return };
    assert_eq!(printed, text, "a place is written in one way");
    assert!(at.iter().all(|at| *at >= 0), "{at:?}");
});
