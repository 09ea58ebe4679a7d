//! The project runs wherever it is cloned: no path of one machine.

use super::{
    Violation, hold,
    tree::{self, File},
};

/// In parts, since this file is read too.
const FOLDERS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const TODO: &str = "start from the workspace, the file's own folder or a variable";

fn check(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for folder in FOLDERS {
            // `https://example.org/home/` and `crates/work/` are no such paths.
            let starts = |(at, _): (usize, &str)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '/' | '.' | '-' | '_' | '}' | '*'))
            };
            if line.match_indices(folder).any(starts) {
                let found = format!("a path below {folder}");
                violations.push(Violation { file: file.path.clone(), line: index + 1, found, todo: TODO });
            }
        }
    }
    violations
}

#[test]
fn no_path_of_one_machine() {
    let violations: Vec<Violation> = tree::files().iter().flat_map(check).collect();
    hold("no absolute path of a machine", &violations);
}

#[test]
fn a_planted_path_is_caught() {
    for folder in FOLDERS {
        for text in [format!("a\n\"{folder}main\""), format!("\ncd {folder}x"), format!("\nDIR={folder}")] {
            let lines: Vec<usize> =
                check(&File::planted("Makefile", &text)).iter().map(|found| found.line).collect();
            assert_eq!(lines, [2], "{text}");
        }
        assert_eq!(check(&File::planted("README.md", &format!("https://example.org{folder}"))), []);
    }
}
