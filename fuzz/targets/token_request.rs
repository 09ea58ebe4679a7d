//! An `Authorization` header on the first line, none when it is empty; then a form.
#![no_main]

use identity::fuzzing::Form;
use libfuzzer_sys::fuzz_target;

const MOST: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, body) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    let Some(header) =
        std::str::from_utf8(header).ok().filter(|text| text.bytes().all(|byte| is_visible(&byte)))
    else {
        return;
    };
    let header = (!header.is_empty()).then_some(header);
    let Some(form) = Form::read(body) else { return };
    assert!(body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).count() <= MOST);

    let named = form.get("client_id");
    let (secret, assertion) = (form.get("client_secret"), form.get("client_assertion"));
    match form.client(header) {
        Ok((client_id, kind)) => {
            let given = [header.is_some(), secret.is_some(), assertion.is_some()];
            let expected = match given {
                [true, false, false] => "basic",
                [false, true, false] => "post",
                [false, false, true] => "assertion",
                [false, false, false] => "public",
                _ => panic!("more than one proof was taken"),
            };
            assert_eq!(kind, expected);
            if let Some(named) = named {
                assert_eq!(client_id.as_deref(), Some(named), "two names");
            }
            if kind != "assertion" {
                assert!(client_id.is_some());
            }
        }
        Err(error) => assert!(matches!(error, "invalid_request" | "invalid_client"), "{error}"),
    }
});
