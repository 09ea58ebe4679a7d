use proptest::prelude::*;

use super::*;
use crate::document_type::{FeedFlag, ResultStatus};

const HEADER: &str = r#"CompetitionCode="SYN2030" DocumentCode="ATHM100M--------------FNL-000100--" DocumentType="DT_RESULT"
    Version="3" ResultStatus="LIVE" FeedFlag="P" Date="2030-08-04" Time="215012345" LogicalDate="2030-08-04" Source="ATHTIM1""#;

fn document(inside: &str) -> String {
    format!(r#"<?xml version="1.0" encoding="UTF-8"?><OdfBody {HEADER}>{inside}</OdfBody>"#)
}

fn reason(text: &str) -> Reason {
    decode(text.as_bytes()).unwrap_err()
}

fn without(field: &str) -> String {
    let start = document("<Competition/>");
    let at = start.find(&format!("{field}=\"")).unwrap();
    let end = at + field.len() + 2 + start[at + field.len() + 2..].find('"').unwrap() + 1;
    format!("{}{}", &start[..at], &start[end..])
}

#[test]
fn a_result_is_read_with_its_header() {
    let decoded = decode(
        document(
            r#"<Competition Gen="1"><Result Rank="1" Result="9.79" SortOrder="1">
               <Competitor Code="1" Organisation="JPN"/></Result></Competition>"#,
        )
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(decoded.header.version, 3);
    assert_eq!(decoded.header.status, Some(ResultStatus::Live));
    assert_eq!(decoded.header.feed_flag, FeedFlag::Production);
    assert_eq!(decoded.header.key.language, "ENG");
    let body = decoded.body.unwrap();
    assert_eq!(body.at(&["Competition", "Result", "1"]).unwrap().text("Result"), "9.79");
}

#[test]
fn attribute_order_comments_and_blanks_do_not_change_the_canonical_bytes() {
    let one =
        decode(document(r#"<Competition A="1" B="2"><!-- x --><Unit Code="u"/></Competition>"#).as_bytes());
    let two = decode(
        document("<Competition  B='2'\n A='1' C=''>\n <Unit Code='u'></Unit></Competition>").as_bytes(),
    );
    assert_eq!(one.unwrap().body.unwrap().to_bytes(), two.unwrap().body.unwrap().to_bytes());
}

#[test]
fn the_predefined_entities_are_resolved_and_no_other() {
    let body = decode(
        document(r#"<Competition A="&lt;&#65;"><T>&amp;&quot;<![CDATA[<b>]]></T></Competition>"#).as_bytes(),
    )
    .unwrap()
    .body
    .unwrap();
    assert_eq!(body.at(&["Competition"]).unwrap().text("A"), "<A");
    assert_eq!(body.at(&["Competition", "T"]).unwrap().text("#text"), "&\"<b>");
    assert_eq!(reason(&document("<Competition>&nbsp;</Competition>")), Reason::NotXml);
    assert_eq!(reason(&document(r#"<Competition A="&x;"/>"#)), Reason::NotXml);
    assert_eq!(reason(&document(r#"<Competition A="&#0;"/>"#)), Reason::NotXml);
    assert_eq!(reason(&document("<Competition>&#1;</Competition>")), Reason::NotXml);
}

#[test]
fn a_document_without_competition_invalidates() {
    assert_eq!(decode(document("").as_bytes()).unwrap().body, None);
}

#[test]
fn an_entity_bomb_is_refused_at_its_doctype() {
    let bomb = format!(
        r#"<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><OdfBody {HEADER}><Competition A="&b;"/></OdfBody>"#
    );
    assert_eq!(reason(&bomb), Reason::Doctype);
    let outside = format!(r#"<!DOCTYPE x SYSTEM "file:///etc/passwd"><OdfBody {HEADER}/>"#);
    assert_eq!(reason(&outside), Reason::Doctype);
}

#[test]
fn depth_and_width_have_bounds() {
    let deep = |levels: usize| {
        document(&format!("<Competition>{}{}</Competition>", "<a>".repeat(levels), "</a>".repeat(levels)))
    };
    assert!(decode(deep(62).as_bytes()).is_ok());
    assert_eq!(reason(&deep(63)), Reason::TooComplex);
    assert_eq!(reason(&document(&"<a>".repeat(100_000))), Reason::TooComplex);
    let keyed =
        format!("<Competition>{}{}</Competition>", r#"<Unit Code="1">"#.repeat(62), "</Unit>".repeat(62));
    assert_eq!(reason(&document(&keyed)), Reason::TooComplex, "a key a level makes the JSON too deep");
    let wide: String = (0..300).map(|index| format!(" a{index}=\"1\"")).collect();
    assert_eq!(reason(&document(&format!("<Competition{wide}/>"))), Reason::TooComplex);
}

#[test]
fn malformed_xml_is_no_xml() {
    for text in [
        "",
        " ",
        "no xml",
        "<OdfBody",
        "<OdfBody>",
        "<a></b>",
        "<OdfBody/><OdfBody/>",
        "<OdfBody/>text",
        r#"<OdfBody A="1" A="2"/>"#,
        r#"<?xml version="1.0" encoding="ISO-8859-1"?><OdfBody/>"#,
    ] {
        assert_eq!(reason(text), Reason::NotXml, "{text}");
    }
    assert_eq!(decode(b"<OdfBody A='\xff'/>").unwrap_err(), Reason::NotXml);
    assert_eq!(reason("<html/>"), Reason::HeaderMissing("OdfBody"));
}

#[test]
fn each_header_field_is_named_when_it_is_missing_or_wrong() {
    for field in
        ["CompetitionCode", "DocumentCode", "DocumentType", "Version", "FeedFlag", "Date", "Time", "Source"]
    {
        assert_eq!(reason(&without(field)), Reason::HeaderMissing(field));
    }
    let with = |from: &str, to: &str| document("<Competition/>").replace(from, to);
    assert_eq!(reason(&with("000100--", "000100-")), Reason::RscInvalid(34));
    assert_eq!(reason(&with("DT_RESULT", "DT_RESULTS")), Reason::UnknownType);
    assert_eq!(reason(&with("Version=\"3\"", "Version=\"0\"")), Reason::HeaderInvalid("Version"));
    assert_eq!(reason(&with("Version=\"3\"", "Version=\"+3\"")), Reason::HeaderInvalid("Version"));
    assert_eq!(reason(&with("LIVE", "ALIVE")), Reason::HeaderInvalid("ResultStatus"));
    assert_eq!(reason(&with("FeedFlag=\"P\"", "FeedFlag=\"X\"")), Reason::HeaderInvalid("FeedFlag"));
    assert_eq!(
        reason(&with("Date=\"2030-08-04\" Time", "Date=\"2030-13-04\" Time")),
        Reason::HeaderInvalid("Date")
    );
    assert_eq!(reason(&with("SYN2030", &"S".repeat(61))), Reason::HeaderInvalid("CompetitionCode"));
    assert_eq!(reason(&with("SYN2030", "'; drop table")), Reason::HeaderInvalid("CompetitionCode"));
}

#[test]
fn of_a_picture_only_the_header_is_read() {
    let text = document("<Competition><Pdf>JVBERi0</Pdf></Competition>").replace("DT_RESULT", "DT_PDF");
    let decoded = decode(text.as_bytes()).unwrap();
    assert_eq!(decoded.body.unwrap().to_bytes(), br#"{"Competition":{}}"#);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_markup_makes_it_panic(parts in proptest::collection::vec(
        prop_oneof!["<[a-zA-Z]{1,3}", "</[a-z]{1,3}>", " [a-zA-Z]{1,3}=\"[^\"]{0,4}\"", Just("/>".to_owned()), Just(">".to_owned()),
            Just("<![CDATA[".to_owned()), Just("]]>".to_owned()), Just("<!--".to_owned()), Just("&#x".to_owned()), "\\PC{0,4}"], 0..40,
    )) {
        let text = parts.concat();
        let _ = decode(text.as_bytes());
        let _ = decode(document(&text).as_bytes());
    }
}
