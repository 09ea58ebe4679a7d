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
    let body = decoded.body.unwrap();
    assert_eq!(body.at(&["Competition"]).unwrap().text("#sha256").len(), 64);
    let again = decode(text.replace("215012345", "215012999").as_bytes()).unwrap();
    assert_eq!(again.body.unwrap(), body, "sent again at another time");
    let other = decode(text.replace("JVBERi0", "JVBERi1").as_bytes()).unwrap();
    assert_ne!(other.body.unwrap(), body);
    let empty = text.replace("<Competition><Pdf>JVBERi0</Pdf></Competition>", "");
    assert_eq!(decode(empty.as_bytes()).unwrap().body, None, "invalidated");
    assert_eq!(reason(&text[..text.len() - 20]), Reason::NotXml, "cut");
    assert_eq!(reason(&text.replace("JVBERi0", "&nbsp;")), Reason::NotXml);
    assert_eq!(reason(&text.replace("<Pdf>", &"<Pdf>".repeat(100))), Reason::TooComplex);
}

#[test]
fn a_message_of_odf1_is_kept_under_its_serial() {
    let text = r#"<?xml version="1.0" encoding="utf-8"?>
        <OdfBody DocumentCode="GL0000000" FeedFlag="T" Source="IDS" Serial="41" Time="061249007" CompetitionCode="SYN2016"
            Date="2016-01-19" LogicalDate="2016-01-19" DocumentType="DT_CODES" Version="52" DocumentSubtype="COUNTRY">
          <Competition Code="SYN2016"><CodeSet Code="AFG"/></Competition></OdfBody>"#;
    let decoded = decode(text.as_bytes()).unwrap();
    let key = &decoded.header.key;
    assert_eq!(decoded.header.serial, Some(41));
    assert_eq!((key.document_type.as_str(), key.document_code.as_str()), ("DT_CODES", "GL0000000"));
    assert_eq!((key.document_subcode.as_str(), key.document_subtype.as_str()), ("41", "COUNTRY"));
    assert!(decoded.body.is_some());
    for wrong in ["-1", "4 1", "99999999999"] {
        let wrong = text.replace("Serial=\"41\"", &format!("Serial=\"{wrong}\""));
        assert_eq!(reason(&wrong), Reason::HeaderInvalid("Serial"));
    }
}

#[test]
fn odd_content_is_taken_and_counted() {
    let result = |order: &str, code: &str| {
        format!(r#"<Result SortOrder="{order}" Rank=""><Competitor Code="{code}"/></Result>"#)
    };
    let lists = |orders: [&str; 3]| {
        let results: String =
            orders.iter().zip(["a", "b", "c"]).map(|(order, code)| result(order, code)).collect();
        decode(document(&format!("<Competition>{results}</Competition>")).as_bytes()).unwrap().defects
    };
    assert_eq!(lists(["1", "2", "3"]), Defects { empty_attributes: 3, doubled_sort_orders: 0 });
    assert_eq!(lists(["2", "1", "2"]), Defects { empty_attributes: 3, doubled_sort_orders: 1 });
    assert!(lists(["", "", ""]).doubled_sort_orders == 0, "none has an order");
    assert!(decode(document("<Competition A=\"1\"/>").as_bytes()).unwrap().defects.is_none());
}

#[test]
fn one_competitor_has_the_path_that_it_keeps_among_eight() {
    let body = |inside: &str| {
        decode(document(&format!("<Competition>{inside}</Competition>")).as_bytes()).unwrap().body.unwrap()
    };
    let one = body(r#"<Competitor Code="1"/>"#);
    let two = body(r#"<Competitor Code="1"/><Competitor Code="2"/>"#);
    let path = ["Competition", "Competitor", "1"];
    assert!(one.at(&path).is_some() && one.at(&path) == two.at(&path));
}

#[test]
fn doubled_or_missing_keys_fall_back_to_places() {
    let body = |inside: &str| {
        decode(document(&format!("<Competition>{inside}</Competition>")).as_bytes()).unwrap().body.unwrap()
    };
    let doubled = body(r#"<Unit Code="1"/><Unit Code="1"/>"#);
    assert!(doubled.at(&["Competition", "Unit", "000001"]).is_some());
    let missing = body(r#"<Unit/><Unit Code="1"/>"#);
    assert!(missing.at(&["Competition", "Unit", "000000"]).is_some());
    let unlisted = body(r#"<Odd A="1"/><Other/><Odd A="2"/>"#);
    assert_eq!(unlisted.at(&["Competition", "Odd", "000001"]).unwrap().text("A"), "2");
    let relay = body(
        r#"<Result><Competitor Code="1"/><Competitor Code="2"/></Result><Result><Competitor Code="3"/></Result>"#,
    );
    assert!(relay.at(&["Competition", "Result", "000000", "Competitor", "2"]).is_some());
}

#[test]
fn an_attribute_gives_way_to_a_child_of_its_name() {
    let text = document(r#"<Competition Result="9.79" A="1" Z="2">x<Result/></Competition>"#);
    let body = decode(text.as_bytes()).unwrap().body.unwrap();
    let bytes = std::str::from_utf8(body.bytes()).unwrap();
    assert_eq!(
        bytes,
        r##"{"Competition":{"#text":"x","@Result":"9.79","A":"1","Result":{"000000":{}},"Z":"2"}}"##
    );
}

#[test]
fn text_in_pieces_is_one_text() {
    let text = document("<Competition><T> a &amp;&lt;<x/> b<!-- c -->\r\nd<![CDATA[ ]]> </T></Competition>");
    let body = decode(text.as_bytes()).unwrap().body.unwrap();
    assert_eq!(body.at(&["Competition", "T"]).unwrap().text("#text"), "a &< b\nd");
}

#[test]
fn many_children_and_many_references_take_linear_time() {
    let many = "<a/>".repeat(200_000);
    let started = std::time::Instant::now();
    assert!(decode(document(&format!("<Competition>{many}</Competition>")).as_bytes()).is_ok());
    let references = "&amp;<a b=\"&lt;\"/>".repeat(100_000);
    assert!(decode(document(&format!("<Competition>{references}</Competition>")).as_bytes()).is_ok());
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    let too_many = "<a/>".repeat(MOST_NODES);
    assert_eq!(reason(&document(&format!("<Competition>{too_many}</Competition>"))), Reason::TooComplex);
}

fn elements() -> impl Strategy<Value = String> {
    let name = || {
        prop_oneof![
            "[A-D]",
            Just("Unit".to_owned()),
            Just("Result".to_owned()),
            Just("Competitor".to_owned())
        ]
    };
    let attributes = || {
        proptest::collection::btree_map(
            prop_oneof!["[A-D]", Just("Code".to_owned()), Just("SortOrder".to_owned())],
            "[a-b&\"<é\n\\\\]{0,3}",
            0..4,
        )
    };
    let tag = move |name: &str, attributes: std::collections::BTreeMap<String, String>, inside: &str| {
        let attributes: String = attributes
            .iter()
            .map(|(name, value)| format!(" {name}=\"{}\"", quick_xml::escape::escape(value.as_str())))
            .collect();
        format!("<{name}{attributes}>{inside}</{name}>")
    };
    let leaf = (name(), attributes(), "[a-c &]{0,4}")
        .prop_map(move |(name, held, text)| tag(&name, held, &quick_xml::escape::escape(text.as_str())));
    leaf.prop_recursive(4, 60, 5, move |inner| {
        (name(), attributes(), proptest::collection::vec(inner, 0..5))
            .prop_map(move |(name, held, children)| tag(&name, held, &children.concat()))
    })
}

proptest! {
    #[test]
    fn canonical_bytes_are_those_of_their_tree(inside in elements()) {
        let body = decode(document(&format!("<Competition>{inside}</Competition>")).as_bytes()).unwrap().body.unwrap();
        prop_assert_eq!(&crate::canonical::Node::from_bytes(body.bytes()).unwrap().to_bytes(), body.bytes());
    }

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
