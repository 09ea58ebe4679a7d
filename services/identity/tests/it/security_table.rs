//! The table of SECURITY.md has every requirement of its chapters, and each test that it names is there.

use std::{collections::BTreeSet, fs, path::Path};

const TABLE: &str = include_str!("../../SECURITY.md");

/// The requirements of levels 1 and 2 of OWASP ASVS 5.0, by section.
const REQUIREMENTS: [(&str, &[u8]); 57] = [
    ("2.1", &[1, 2, 3]),
    ("2.2", &[1, 2, 3]),
    ("2.3", &[1, 2, 3, 4]),
    ("2.4", &[1]),
    ("3.2", &[1, 2]),
    ("3.3", &[1, 2, 3, 4]),
    ("3.4", &[1, 2, 3, 4, 5, 6]),
    ("3.5", &[1, 2, 3, 4, 5]),
    ("3.7", &[1, 2]),
    ("4.1", &[1, 2, 3]),
    ("4.2", &[1]),
    ("4.3", &[1, 2]),
    ("4.4", &[1, 2, 3, 4]),
    ("6.1", &[1, 2, 3]),
    ("6.2", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("6.3", &[1, 2, 3, 4]),
    ("6.4", &[1, 2, 3, 4]),
    ("6.5", &[1, 2, 3, 4, 5]),
    ("6.6", &[1, 2, 3]),
    ("6.8", &[1, 2, 3, 4]),
    ("7.1", &[1, 2, 3]),
    ("7.2", &[1, 2, 3, 4]),
    ("7.3", &[1, 2]),
    ("7.4", &[1, 2, 3, 4, 5]),
    ("7.5", &[1, 2]),
    ("7.6", &[1, 2]),
    ("8.1", &[1, 2]),
    ("8.2", &[1, 2, 3]),
    ("8.3", &[1]),
    ("8.4", &[1]),
    ("9.1", &[1, 2, 3]),
    ("9.2", &[1, 2, 3, 4]),
    ("10.1", &[1, 2]),
    ("10.2", &[1, 2]),
    ("10.3", &[1, 2, 3, 4]),
    ("10.4", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("10.5", &[1, 2, 3, 4, 5]),
    ("10.6", &[1, 2]),
    ("10.7", &[1, 2, 3]),
    ("11.1", &[1, 2]),
    ("11.2", &[1, 2, 3]),
    ("11.3", &[1, 2, 3]),
    ("11.4", &[1, 2, 3, 4]),
    ("11.5", &[1]),
    ("11.6", &[1]),
    ("13.1", &[1]),
    ("13.2", &[1, 2, 3, 4, 5]),
    ("13.3", &[1, 2]),
    ("13.4", &[1, 2, 3, 4, 5]),
    ("14.1", &[1, 2]),
    ("14.2", &[1, 2, 3, 4]),
    ("14.3", &[1, 2, 3]),
    ("16.1", &[1]),
    ("16.2", &[1, 2, 3, 4, 5]),
    ("16.3", &[1, 2, 3, 4]),
    ("16.4", &[1, 2, 3]),
    ("16.5", &[1, 2, 3]),
];

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Names of all tests of identity and of what it stands on.
fn tests() -> BTreeSet<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "tests", "../../crates/chassis/src", "../../crates/domain/src"] {
        sources(&here.join(folder), &mut text);
    }
    let (mut names, mut is_test) = (BTreeSet::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ") {
            if is_test {
                names.insert(rest.split('(').next().unwrap_or_default().to_owned());
            }
            is_test = false;
        }
    }
    names
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    TABLE.lines().filter(|line| line.starts_with("| ")).map(cells).filter(|cells| {
        cells[0].contains('.') && cells[0].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

#[test]
fn every_requirement_has_its_row() {
    let expected: Vec<String> = REQUIREMENTS
        .iter()
        .flat_map(|(section, numbers)| numbers.iter().map(move |number| format!("{section}.{number}")))
        .collect();
    let found: Vec<&str> = rows().map(|cells| cells[0]).collect();
    assert_eq!(found, expected);
    for cells in rows() {
        assert_eq!(cells.len(), 4, "{}", cells[0]);
        assert!(["yes", "in part", "no", "-"].contains(&cells[2]), "{}: {}", cells[0], cells[2]);
        assert!(!cells[1].is_empty() && !cells[3].is_empty(), "{}", cells[0]);
    }
}

#[test]
fn every_test_that_it_names_is_there() {
    let tests = tests();
    assert!(tests.len() > 200, "{}", tests.len());
    let mut named = 0;
    for cells in rows() {
        for name in cells[3].split('`').skip(1).step_by(2) {
            let is_test = name.bytes().filter(|byte| *byte == b'_').count() >= 3
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if is_test {
                named += 1;
                assert!(tests.contains(name), "{}: there is no test {name}", cells[0]);
            }
        }
    }
    assert!(named > 100, "{named}");
}
