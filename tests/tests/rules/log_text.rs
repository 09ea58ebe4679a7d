//! Text of logs and errors: it is joined to other text, so it starts lower case and ends without a full stop, and what
//! varies is a field, so that equal things are found by equal text.

use super::{
    Violation, hold,
    source::{Literal, Source, matching, words},
    tree::{self, File},
};

const MACROS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "event"];
const LOG_TODO: &str =
    "start lower case, drop the full stop, and put values into fields: info!(%user_id, \"user registered\")";
const ERROR_TODO: &str = "start lower case and drop the full stop: the text is joined into a chain of causes";

fn check(file: &File) -> Vec<Violation> {
    if file.is_test() {
        return Vec::new();
    }
    let source = Source::read(&file.text).without_tests();
    let mut violations = Vec::new();
    for literal in logged(&source) {
        if let Some(fault) = fault(&literal.text, true) {
            violations.push(violation(file, &source, literal, "log text", fault, LOG_TODO));
        }
    }
    for literal in displayed(&source) {
        if let Some(fault) = fault(&literal.text, false) {
            violations.push(violation(file, &source, literal, "error text", fault, ERROR_TODO));
        }
    }
    violations
}

fn violation(
    file: &File,
    source: &Source,
    literal: &Literal,
    what: &str,
    fault: &str,
    todo: &'static str,
) -> Violation {
    let found = format!("{what} {fault}: \"{}\"", literal.text);
    Violation { file: file.path.clone(), line: source.line(literal.start), found, todo }
}

fn fault(text: &str, log: bool) -> Option<&'static str> {
    let first: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    let acronym = first.chars().filter(|c| c.is_uppercase() || c.is_numeric()).count() > 1;
    if first.starts_with(char::is_uppercase) && !acronym {
        return Some("starts upper case");
    }
    if text.ends_with('.') && !text.ends_with("...") {
        return Some("ends with a full stop");
    }
    (log && text.contains('{')).then_some("has a value inside")
}

/// Messages of tracing's macros: a literal that is an argument by itself.
fn logged(source: &Source) -> Vec<&Literal> {
    let bytes = source.code.as_bytes();
    let mut found = Vec::new();
    for name in MACROS {
        for at in words(&source.code, name) {
            let open = at + name.len() + 1;
            if bytes.get(open - 1) != Some(&b'!') || !matches!(bytes.get(open), Some(b'(' | b'{' | b'[')) {
                continue;
            }
            let close = matching(bytes, open);
            let inside = |literal: &&Literal| literal.start > open && literal.start < close;
            found.extend(
                source.strings.iter().filter(inside).filter(|l| is_argument(&source.code, open, l.start)),
            );
        }
    }
    found
}

fn is_argument(code: &str, open: usize, at: usize) -> bool {
    let before = &code[open + 1..at];
    let (mut depth, mut last) = (0_i32, '(');
    for c in before.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        last = c;
    }
    depth == 0 && matches!(last, '(' | ',')
}

/// Texts of `#[error("...")]`.
fn displayed(source: &Source) -> Vec<&Literal> {
    let starts = source.code.match_indices("#[error(").map(|(at, found)| at + found.len());
    starts.filter_map(|at| source.strings.iter().find(|literal| literal.start == at)).collect()
}

#[test]
fn log_and_error_texts_read_alike() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check).collect();
    hold(
        "a text of logs and errors starts lower case, ends without a full stop; values of logs are fields",
        &violations,
    );
}

#[test]
fn a_planted_text_is_caught() {
    let cases = [
        "fn a() { tracing::info!(\"User registered\"); }",
        "fn a() { info!(%user_id, \"user registered.\"); }",
        "fn a() { tracing::warn!(error = %e, \"user {user_id} lost\"); }",
        "fn a() { error!(target: \"kotinos\", a = f(\"Inner.\"),\n \"Broken\"); }",
        "#[error(\"No such user\")] struct A;",
        "#[error(\"no such user.\")] struct A;",
    ];
    for text in cases {
        assert_eq!(check(&File::planted("services/profile/src/app.rs", text)).len(), 1, "{text}");
    }
}

#[test]
fn a_right_text_passes() {
    let cases = [
        "fn a() { tracing::info!(%user_id, route = \"Users\", \"user registered\"); }",
        "fn a() { tracing::info!(\"OTLP exporter is off\"); tracing::info!(\"SMTP's greeting came late\"); }",
        "fn a() { tracing::info!(name, \"waiting ...\"); log::information!(\"Not ours.\"); }",
        "#[error(\"{field} must be shorter\")] struct A; #[error(transparent)] struct B;",
        "#[cfg(test)] mod tests { fn a() { info!(\"Upper.\"); } }",
    ];
    for text in cases {
        assert_eq!(check(&File::planted("services/profile/src/app.rs", text)), [], "{text}");
    }
}
