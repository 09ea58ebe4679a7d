//! A results system code: one that is read is printed back, and one that is not says where it goes wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use results_feed::rsc::{LENGTH, Prefix, Rsc};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Rsc>() {
        Ok(rsc) => {
            assert_eq!(rsc.to_string(), text);
            let event = rsc.sport_event();
            assert_eq!(event.sport_event(), event);
            assert!(!event.is_unit() && event.to_string().parse::<Rsc>() == Ok(event));
            for end in 0..=LENGTH {
                let prefix: Prefix = text[..end].parse().expect("the beginning of an RSC");
                assert!(rsc.starts_with(&prefix));
            }
        }
        Err(error) => {
            assert!((1..=LENGTH + 1).contains(&error.position), "{error}");
            // What comes before is the beginning of one.
            let before: String = text.chars().take(error.position - 1).collect();
            assert!(before.is_ascii());
        }
    }
});
