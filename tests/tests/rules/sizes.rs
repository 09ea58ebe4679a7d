//! Ceilings: what does not fit a screen or two is not read.

use super::{
    Violation, hold,
    source::{Source, words},
    tree::{self, File},
};

const FILE: usize = 400;
const FUNCTION: usize = 60;
const MAIN: usize = 15;
/// all-in-one lists its components; the simulator shares no code with the suite, so its main starts a process itself.
const LONGER_MAIN: usize = 60;

fn check_file(file: &File) -> Vec<Violation> {
    if file.is_test() {
        return Vec::new();
    }
    let lines = lines_without_tests(&file.text);
    let (ceiling, todo) = match file.path.as_str() {
        "services/all-in-one/src/main.rs" | "services/salesforce-simulator/src/main.rs" => {
            (LONGER_MAIN, "leave only the start in main.rs and move the rest into a library")
        }
        path if path.starts_with("services/") && path.ends_with("/src/main.rs") => {
            (MAIN, "leave one call of chassis::run in main.rs and move the rest into lib.rs")
        }
        _ => (FILE, "make the file a folder of use cases: app.rs becomes app/merge.rs, app/erase.rs, ..."),
    };
    if lines <= ceiling {
        return Vec::new();
    }
    let found = format!("{lines} lines without tests, at most {ceiling}");
    vec![Violation { file: file.path.clone(), line: 0, found, todo }]
}

/// A file called `tests` escapes the ceilings, so it must be part of tests alone: no other code may name it as a module.
fn check_test_file(file: &File, files: &[File]) -> Vec<Violation> {
    let Some((folder, name)) = file.path.rsplit_once('/') else { return Vec::new() };
    if !file.is_test() || !folder.split('/').any(|part| part == "src") {
        return Vec::new();
    }
    let module = name.trim_end_matches(".rs");
    let near = |other: &&File| {
        let above = folder.rsplit_once('/').map_or(folder, |(above, _)| above);
        other.is_rust() && other.path != file.path && other.path.starts_with(&format!("{above}/"))
    };
    let names_it = |other: &&File| {
        let source = Source::read(&other.text).without_tests();
        let declared = words(&source.code, "mod").into_iter().any(|at| {
            let rest = source.code[at + 3..].trim_start();
            rest.strip_prefix(module).is_some_and(|rest| rest.trim_start().starts_with(';'))
                && other.path.rsplit_once('/').is_some_and(|(of, file)| {
                    of == folder || format!("{of}/{}", file.trim_end_matches(".rs")) == folder
                })
        });
        declared || source.strings.iter().any(|literal| literal.text == name)
    };
    let violation = |other: &File| Violation {
        file: other.path.clone(),
        line: 0,
        found: format!("{name} is part of more than tests"),
        todo: "put #[cfg(test)] before its `mod`, or name it for what it holds",
    };
    files.iter().filter(near).filter(names_it).map(violation).collect()
}

/// Lines that are not wholly part of a test item. Comments and blank lines count: they are read too.
fn lines_without_tests(text: &str) -> usize {
    let whole = Source::read(text);
    let kept = whole.clone().without_tests();
    let blanked = |(whole, kept): &(&str, &str)| !whole.trim().is_empty() && kept.trim().is_empty();
    let code_lines = whole.code.lines().zip(kept.code.lines()).filter(blanked).count();
    text.lines().count() - code_lines
}

fn check_functions(file: &File) -> Vec<Violation> {
    if file.is_test() {
        return Vec::new();
    }
    let functions = Source::read(&file.text).without_tests().functions();
    let long = functions.into_iter().filter(|function| function.lines > FUNCTION);
    let violation = |function: super::source::Function| Violation {
        file: file.path.clone(),
        line: function.line,
        found: format!("fn {} has {} lines, at most {FUNCTION}", function.name, function.lines),
        todo: "give a part of it a name of its own, or return early instead of nesting",
    };
    long.map(violation).collect()
}

#[test]
fn files_stay_below_their_ceiling() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check_file).collect();
    hold("a file has at most 400 lines, main.rs of a service 15", &violations);
}

#[test]
fn functions_stay_below_their_ceiling() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check_functions).collect();
    hold("a function has at most 60 lines", &violations);
}

#[test]
fn files_called_tests_are_tests() {
    let files = tree::rust_files();
    let violations: Vec<Violation> = files.iter().flat_map(|file| check_test_file(file, &files)).collect();
    hold("tests.rs and *_tests.rs are compiled for tests alone", &violations);
}

#[test]
fn a_planted_file_that_only_pretends_to_be_tests_is_caught() {
    let tests = File::planted("services/mailer/src/mime/mime_tests.rs", "");
    let cases = [
        ("services/mailer/src/mime.rs", "mod mime_tests;", 1),
        ("services/mailer/src/mime/mod.rs", "pub mod mime_tests;", 1),
        ("services/mailer/src/mime.rs", "#[path = \"mime_tests.rs\"]\nmod tests;", 1),
        ("services/mailer/src/mime.rs", "#[cfg(test)]\nmod mime_tests;", 0),
        ("services/mailer/src/mime.rs", "#[cfg(test)]\n#[path = \"mime_tests.rs\"]\nmod tests;", 0),
        ("services/mailer/src/app.rs", "mod mime_tests;", 0),
    ];
    for (path, text, count) in cases {
        assert_eq!(check_test_file(&tests, &[File::planted(path, text)]).len(), count, "{path}: {text}");
    }
}

#[test]
fn a_planted_long_file_is_caught() {
    let long = "fn a() {}\n".repeat(401);
    assert_eq!(check_file(&File::planted("crates/chassis/src/lib.rs", &long)).len(), 1);
    assert_eq!(check_file(&File::planted("crates/chassis/tests/it/main.rs", &long)), []);
    let short = "fn a() {}\n".repeat(16);
    assert_eq!(check_file(&File::planted("services/mailer/src/main.rs", &short)).len(), 1);
    assert_eq!(check_file(&File::planted("services/all-in-one/src/main.rs", &short)), []);
    let tested =
        format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(390), "fn b() {}\n".repeat(300));
    assert_eq!(check_file(&File::planted("crates/chassis/src/lib.rs", &tested)), []);
}

#[test]
fn a_planted_long_function_is_caught() {
    let long = format!("fn short() {{}}\nfn long() {{\n{}}}\n", "    let s = \"}\"; // }\n".repeat(59));
    let found = check_functions(&File::planted("crates/chassis/src/lib.rs", &long));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].found.contains("fn long has 61 lines")), (2, true), "{found:?}");
    let fits = format!("fn long() {{\n{}}}\n", "    a();\n".repeat(58));
    assert_eq!(check_functions(&File::planted("crates/chassis/src/lib.rs", &fits)), []);
}
