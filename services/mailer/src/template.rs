//! A template: one block a language, checked when it is saved, compiled once, rendered for each person.

mod compiled;
mod html;

use std::collections::BTreeSet;

pub use compiled::{Compiled, Links, choose, escape};
use serde::{Deserialize, Serialize};

/// Variables that blocks may use. `favourite_sports` is a list of discipline codes.
pub const VARIABLES: [&str; 4] = ["family_name", "given_name", "prefecture", "favourite_sports"];
const MOST_BLOCKS: usize = 20;
const LONGEST_LINE: usize = 200;
/// Longest source of a part, in bytes.
const LONGEST_PART: usize = 256 * 1_024;

/// One language of a template, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// BCP 47 tag: `ja`, `fr-CA`.
    pub language: String,
    /// One line.
    pub subject: String,
    /// What a mailbox shows beside the subject; may be empty.
    pub preheader: String,
    /// HTML with `{{ variable }}` holes.
    pub html: String,
    /// Plain text with the same holes.
    pub text: String,
}

/// All languages of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// In the order in which they were given.
    pub blocks: Vec<Block>,
    /// What everything falls back to at last.
    pub default_language: String,
    /// The declared variables.
    pub variables: Vec<String>,
}

/// A rule that a part of a template breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path: `blocks[0].html`.
    pub field: String,
    /// What is wrong, with the line where that is known.
    pub rule: String,
}

impl Fault {
    fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

impl Source {
    /// Checks everything and compiles every block.
    ///
    /// # Errors
    /// Every part that breaks a rule.
    pub fn compile(&self) -> Result<Compiled, Vec<Fault>> {
        let mut faults = self.check_shape();
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut compiled = Compiled::empty(&self.default_language);
        for (at, block) in self.blocks.iter().enumerate() {
            faults.extend(compiled.add(&format!("blocks[{at}]"), block, &self.variables));
        }
        if faults.is_empty() { Ok(compiled) } else { Err(faults) }
    }

    /// Whether everybody gets a language: `en` or the default language is there.
    #[must_use]
    pub fn has_fallback(&self) -> bool {
        self.blocks.iter().any(|block| block.language == "en" || block.language == self.default_language)
    }

    fn check_shape(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.blocks.is_empty() || self.blocks.len() > MOST_BLOCKS {
            faults.push(Fault::new("blocks", "must hold 1 to 20 languages"));
            return faults;
        }
        if !is_language(&self.default_language) {
            faults.push(Fault::new("default_language", "must be a language tag such as en or fr-CA"));
        }
        let mut declared = BTreeSet::new();
        for (at, name) in self.variables.iter().enumerate().take(VARIABLES.len() + 1) {
            if !VARIABLES.contains(&name.as_str()) || !declared.insert(name) {
                let rule = "must be one of family_name, given_name, prefecture, favourite_sports, once";
                faults.push(Fault::new(format!("variables[{at}]"), rule));
            }
        }
        let mut languages = BTreeSet::new();
        for (at, block) in self.blocks.iter().enumerate() {
            let field = |name: &str| format!("blocks[{at}].{name}");
            if !is_language(&block.language) || !languages.insert(&block.language) {
                faults.push(Fault::new(field("language"), "must be a language tag such as ja, once"));
            }
            if block.subject.trim().is_empty() || !is_line(&block.subject) {
                faults.push(Fault::new(field("subject"), "must be 1 to 200 characters without a line break"));
            }
            if !is_line(&block.preheader) {
                faults.push(Fault::new(
                    field("preheader"),
                    "must be at most 200 characters without a line break",
                ));
            }
            for (name, part) in [("html", &block.html), ("text", &block.text)] {
                if part.trim().is_empty() || part.len() > LONGEST_PART || part.contains('\0') {
                    faults.push(Fault::new(field(name), "must be 1 byte to 256 KiB of text"));
                }
            }
        }
        faults
    }
}

fn is_line(text: &str) -> bool {
    text.chars().count() <= LONGEST_LINE && !text.chars().any(char::is_control)
}

// RFC 5646 in its common shape; the length keeps out private-use chains.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    tag.len() <= 20
        && (2..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| {
            (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests;
