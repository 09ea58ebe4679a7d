use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use testkit::SpanKind;

use super::*;

const ADDRESS: &str = "alice.aoki@fans.example";
const NAME: &str = "青木";
const PHONE: &str = "+81355500142";
const STREET: &str = "銀杏町4-2-17 エルム202";
const SECRETS: [&str; 4] = [ADDRESS, NAME, PHONE, STREET];

fn record(key: &str, header: &str) -> CaughtRecord {
    CaughtRecord {
        topic: "kotinos.profile.profile.v1".to_owned(),
        partition: 3,
        offset: 17,
        key: key.to_owned(),
        ce_type: "ProfileUpdated".to_owned(),
        headers: BTreeMap::from([("ce_subject".to_owned(), header.to_owned())]),
        payload: Some(ADDRESS.into()),
    }
}

fn span(name: &str, attribute: &str, event: &str, error: &str) -> Span {
    let values = |value: &str| BTreeMap::from([("http.route".to_owned(), value.to_owned())]);
    Span {
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        span_id: "b7ad6b7169203331".to_owned(),
        parent_span_id: String::new(),
        name: name.to_owned(),
        kind: SpanKind::Server,
        service: "portal".to_owned(),
        instance: "1".to_owned(),
        attributes: values(attribute),
        events: vec![("retried".to_owned(), values(event))],
        links: Vec::new(),
        start: domain::DateTime::UNIX_EPOCH,
        end: domain::DateTime::UNIX_EPOCH,
        error: Some(error.to_owned()),
    }
}

const ID: &str = "0198b7d2-6f3a-7c11-9d52-3f6c1a2b4c5d";

/// Each place with a hole for a text.
fn planted(text: &str) -> Vec<Place> {
    let log =
        format!(r#"{{"level":"INFO","message":"sent","error":"to {text}: refused","profile_id":"{ID}"}}"#);
    let metrics = format!("rpc_server_call_duration_seconds_count{{rpc_method=\"{text}\"}} 3\n# EOF\n");
    vec![
        Place::log("mailer", log),
        Place::metrics("portal", metrics),
        Place::span(&span(text, "/account", "2", "")),
        Place::span(&span("GET /account", text, "2", "")),
        Place::span(&span("GET /account", "/account", text, "")),
        Place::span(&span("GET /account", "/account", "2", text)),
        Place::record(&record(text, ID)),
        Place::record(&record(ID, text)),
    ]
}

/// Every writing that a text is found in.
fn writings(secret: &str) -> Vec<String> {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let twice: String = url::form_urlencoded::byte_serialize(percent.as_bytes()).collect();
    let units = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    let escaped: String = units.collect();
    let hex = |sign: &str| secret.bytes().map(|byte| format!("{sign}{byte:02X}")).collect::<String>();
    let mut writings = vec![
        secret.to_owned(),
        secret.to_uppercase(),
        percent.to_lowercase(),
        percent,
        twice,
        escaped.replace('\\', "\\\\"),
        escaped,
        secret.escape_unicode().to_string(),
        hex("%"),
        hex("\\x"),
        hex(""),
        format!("=?utf-8?q?{}?=", hex("=")),
        secret.bytes().map(|byte| format!("\\{byte:03o}")).collect(),
        secret.chars().map(|letter| format!("&#{};", u32::from(letter))).collect(),
        secret.chars().map(|letter| format!("&#x{:x};", u32::from(letter))).collect(),
        format!("{:?}", secret.as_bytes()),
        serde_json::to_string(secret.as_bytes()).unwrap(),
    ];
    // Within a longer text, at each of the three places that base64 knows.
    writings.extend(["", "a", "ab"].map(|before| STANDARD.encode(format!("{before}{secret} and more"))));
    writings
}

#[test]
fn a_leak_planted_anywhere_is_found_in_any_writing() {
    for secret in SECRETS {
        for text in writings(secret) {
            for place in planted(&text) {
                let found = leaks(std::slice::from_ref(&place), &SECRETS);
                assert!(
                    found.iter().any(|leak| leak.secret == secret && leak.place == place.name),
                    "{secret} written {text} is not found in {}: {}",
                    place.name,
                    place.text
                );
            }
        }
    }
}

#[test]
fn a_mail_broken_over_lines_is_read() {
    let text = "to alice.aoki=40fans.=\r\nexample".to_owned();
    let found = leaks(&[Place::log("mailer", text)], &[ADDRESS]);
    assert_eq!(found[0].writing, "quoted-printable");
    assert_eq!(found[0].to_string(), "the log of mailer holds alice.aoki@fans.example, quoted-printable");
}

#[test]
fn what_is_nobodys_is_no_leak() {
    for text in [ID, "GET /account", "alice", "%", "\\", "\\u12", "%zz", "=?", "&#;", "&#xfffffff;", "Ym9i"] {
        assert_eq!(leaks(&planted(text), &SECRETS), [], "{text}");
    }
}

#[test]
fn a_payload_is_where_it_belongs() {
    assert_eq!(leaks(&[Place::record(&record(ID, ID))], &SECRETS), []);
}
