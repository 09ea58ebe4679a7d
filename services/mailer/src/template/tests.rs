use proptest::prelude::*;

use super::{compiled::RenderError, *};
use crate::recipient::Fields;

fn block(language: &str) -> Block {
    Block {
        language: language.to_owned(),
        subject: format!("{language} {{{{ given_name }}}}"),
        preheader: "two finals".to_owned(),
        html: "<p>Hello {{ given_name }}</p><a href=\"https://games.example/a?x=1&amp;y=2\">A</a> \
               <a class='b' href='https://games.example/b'>B</a>"
            .to_owned(),
        text: "Hello {{ given_name }}{% if \"ATH\" in favourite_sports %}, athletics{% endif %}".to_owned(),
    }
}

fn source(blocks: Vec<Block>) -> Source {
    let variables = ["given_name", "favourite_sports"].map(str::to_owned).to_vec();
    Source { blocks, default_language: "en".to_owned(), variables }
}

fn faults(change: impl FnOnce(&mut Block)) -> Vec<String> {
    let mut block = block("en");
    change(&mut block);
    source(vec![block])
        .compile()
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|fault| fault.field + ": " + &fault.rule)
        .collect()
}

fn links() -> Links {
    Links {
        targets: vec!["https://m.example/c/1?a&b".to_owned(), "https://m.example/c/2".to_owned()],
        unsubscribe: "https://m.example/u/1".to_owned(),
        pixel: Some("https://m.example/o/1.gif".to_owned()),
    }
}

#[test]
fn the_closest_language_is_chosen() {
    let compiled = source(vec![block("fr"), block("en"), block("pt-BR")]).compile().unwrap();
    for (locale, chosen) in [("fr-CA", "fr"), ("pt-br", "pt-BR"), ("de", "en"), ("", "en"), ("pt", "en")] {
        assert_eq!(compiled.choose(locale), chosen, "{locale}");
    }
    let compiled = source(vec![block("fr"), block("ja")]).compile().unwrap();
    assert_eq!(compiled.choose("de"), "fr");
    assert!(!source(vec![block("fr"), block("ja")]).has_fallback());
}

#[test]
fn links_are_numbered_and_names_are_escaped() {
    let compiled = source(vec![block("en")]).compile().unwrap();
    assert_eq!(compiled.links(), ["https://games.example/a?x=1&y=2", "https://games.example/b"]);
    assert_eq!((compiled.links_held("en"), compiled.links_held("ja")), (2, 0));
    let fields = Fields { given_name: "<b>Alice</b>".to_owned(), ..Fields::default() };
    let mail = compiled.render("en", &fields, &links(), "Committee\nTokyo").unwrap();
    assert!(mail.html.contains("Hello &lt;b&gt;Alice&lt;&#x2f;b&gt;"), "{}", mail.html);
    assert!(mail.html.contains("href=\"https://m.example/c/1?a&amp;b\""), "{}", mail.html);
    assert!(mail.html.contains("href='https://m.example/c/2'"), "{}", mail.html);
    assert!(mail.html.contains("https://m.example/o/1.gif"), "{}", mail.html);
    assert!(mail.text.ends_with("Committee\nTokyo\nUnsubscribe: https://m.example/u/1\n"), "{}", mail.text);
    assert_eq!(mail.subject, "en <b>Alice</b>");
}

#[test]
fn places_are_made_inside_a_body() {
    let mut block = block("en");
    block.html = "<html><BODY style=\"x>y\"><p>x</p></BODY></html>".to_owned();
    let mail =
        source(vec![block]).compile().unwrap().render("en", &Fields::default(), &links(), "F").unwrap();
    assert!(mail.html.contains("<BODY style=\"x>y\"><div style=\"display:none"), "{}", mail.html);
    assert!(mail.html.contains("alt=\"\"></BODY>"), "{}", mail.html);
}

#[test]
fn what_breaks_a_rule_is_named_with_its_line() {
    let cases: [(&str, Vec<String>); 12] = [
        ("line 2: variable password is not declared", faults(|b| b.html = "<p>\n{{ password }}".to_owned())),
        ("line 2: ", faults(|b| b.text = "a\n{{ given_name".to_owned())),
        ("blocks[0].subject: must be 1 to 200", faults(|b| b.subject = "a\r\nBcc: x".to_owned())),
        ("blocks[0].subject: must be 1 to 200", faults(|b| b.subject = "x".repeat(201))),
        ("a mail must not hold <script>", faults(|b| b.html = "<ScRipt>x</script>".to_owned())),
        ("event handlers", faults(|b| b.html = "<p ONclick=x>".to_owned())),
        (
            "must be an http, https or mailto",
            faults(|b| b.html = "<a href=javascript:alert(1)>x</a>".to_owned()),
        ),
        ("written out", faults(|b| b.html = "<a href='https://x.example/{{ given_name }}'>x</a>".to_owned())),
        ("include", faults(|b| b.html = "{%- include 'etc' %}".to_owned())),
        (
            "autoescape",
            faults(|b| b.html = "{% autoescape false %}{{ given_name }}{% endautoescape %}".to_owned()),
        ),
        ("blocks[0].html: ", faults(|b| b.html = "{{ given_name|safe }}".to_owned())),
        (
            "blocks[0].html: ",
            faults(|b| {
                b.html = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"
                    .to_owned();
            }),
        ),
    ];
    for (expected, found) in cases {
        assert!(found.first().is_some_and(|fault| fault.contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn a_person_s_line_break_cannot_reach_the_subject() {
    let compiled = source(vec![block("en")]).compile().unwrap();
    let fields = Fields { given_name: "A\r\nBcc: eve@example.org".to_owned(), ..Fields::default() };
    assert!(matches!(compiled.render("en", &fields, &links(), ""), Err(RenderError::Subject)));
}

proptest! {
    #[test]
    fn no_source_panics(html in "([<>{}%\"'= a-z#/!-]|href|<a |\\{\\{|\\}\\}|style){1,60}", text in "\\PC{1,80}") {
        let block = Block { html, text, ..block("en") };
        let _ = source(vec![block]).compile();
    }
}
