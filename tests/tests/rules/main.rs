//! The rules of ARCHITECTURE.md that a machine can check, each a test of its own. A failure names the file, the line,
//! the rule and what to do. Beside each rule stand planted violations, so that no check is unable to fail.
//!
//! Only std: the rules run before anything else of the workspace builds.
#![expect(clippy::panic, reason = "a broken rule fails its test")]

mod banned;
mod imports;
mod layers;
mod log_text;
mod machine_paths;
mod manifests;
mod names;
mod sizes;
mod source;
mod sql;
mod tree;

use std::fmt::Write as _;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// From the workspace root, with `/`.
    pub file: String,
    /// From 1; 0 when it is about the whole file.
    pub line: usize,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub todo: &'static str,
}

/// Fails the test, listing every violation, when there is one.
#[track_caller]
pub fn hold(rule: &str, violations: &[Violation]) {
    if violations.is_empty() {
        return;
    }
    let mut text = format!("rule broken: {rule}\n");
    for (index, Violation { file, line, found, todo }) in violations.iter().enumerate() {
        let _ = writeln!(text, "{file}:{line}: {found}");
        if violations.get(index + 1).is_none_or(|next| next.todo != *todo) {
            let _ = writeln!(text, "    what to do: {todo}");
        }
    }
    panic!("{text}{} violation(s) of: {rule}", violations.len());
}
