//! Words of code that do not get in.

use super::{
    Violation, hold,
    source::Source,
    tree::{self, File},
};

struct Banned {
    text: &'static str,
    todo: &'static str,
}

const BANNED: &[Banned] = &[
    Banned { text: "Utc::now", todo: "take `now` as an argument, or read the app's domain::Clock" },
    Banned {
        text: "Local::now",
        todo: "take `now` as an argument, or read the app's domain::Clock; zones are data",
    },
    Banned { text: "SystemTime::now", todo: "take `now` as an argument, or read the app's domain::Clock" },
    Banned { text: "Uuid::new_v4", todo: "use domain::new_id or a typed id: UUIDv7, in the order of time" },
    Banned { text: "#[allow(", todo: "use #[expect(lint, reason = \"...\")], which ends with its cause" },
    Banned { text: "#![allow(", todo: "use #![expect(lint, reason = \"...\")], which ends with its cause" },
    Banned { text: "todo!(", todo: "write it, or leave it out" },
    Banned { text: "unimplemented!(", todo: "write it, or leave it out" },
    Banned { text: "#[ignore]", todo: "say why and who runs it: #[ignore = \"...: run by `make faults`\"]" },
];

/// Files and folders where the clock is read, with the reason.
const CLOCKS: [(&str, &str); 2] = [
    ("crates/domain/src/clock.rs", "the one clock of the suite"),
    ("services/salesforce-simulator/", "the simulated org and its test client share no code with the suite"),
];

fn check(file: &File) -> Vec<Violation> {
    let source = Source::read(&file.text);
    let mut violations = Vec::new();
    for Banned { text, todo } in BANNED {
        if text.ends_with("::now") && CLOCKS.iter().any(|(path, _)| file.path.starts_with(path)) {
            continue;
        }
        for (at, _) in source.code.match_indices(text) {
            let after = source.code[at + text.len()..].chars().next();
            if text.ends_with(char::is_alphanumeric) && after.is_some_and(|c| c.is_alphanumeric() || c == '_')
            {
                continue;
            }
            let (file, line) = (file.path.clone(), source.line(at));
            violations.push(Violation { file, line, found: format!("`{text}`"), todo });
        }
    }
    violations
}

#[test]
fn nothing_banned_is_written() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check).collect();
    hold(
        "no clock but domain::Clock, no random ids, no #[allow], no unfinished code, no ignored test",
        &violations,
    );
}

#[test]
fn each_banned_word_is_caught_when_planted() {
    for Banned { text, .. } in BANNED {
        let planted = format!("fn a() {{\n    {text} }}");
        let found = check(&File::planted("services/profile/src/app.rs", &planted));
        assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), [2], "{text}");
        assert_eq!(check(&File::planted("services/profile/src/app.rs", &format!("// {text}"))), [], "{text}");
    }
    assert_eq!(check(&File::planted("crates/domain/src/clock.rs", "fn a() { Utc::now() }")), []);
    assert_eq!(check(&File::planted("crates/domain/src/clock.rs", "fn a() { Uuid::new_v4() }")).len(), 1);
}
