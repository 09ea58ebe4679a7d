//! The shell blocks of a section of a Markdown file.

/// What a section has to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Guide {
    /// The blocks before the first heading of the third level.
    pub first: String,
    /// Each heading of the third level with its blocks.
    pub ways: Vec<(String, String)>,
}

/// Reads the `sh` blocks below a heading of the second level.
pub fn section(text: &str, heading: &str) -> Guide {
    let mut guide = Guide { first: String::new(), ways: Vec::new() };
    let (mut here, mut in_block, mut is_shell) = (false, false, false);
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_block = !in_block;
            is_shell = in_block && language == "sh";
        } else if in_block {
            if here && is_shell {
                let script = guide.ways.last_mut().map_or(&mut guide.first, |(_, script)| script);
                script.push_str(line);
                script.push('\n');
            }
        } else if let Some(second) = line.strip_prefix("## ") {
            here = second == heading;
        } else if let Some(third) = line.strip_prefix("### ").filter(|_| here) {
            guide.ways.push((third.to_owned(), String::new()));
        }
    }
    guide
}

#[test]
fn the_blocks_of_a_section_are_found() {
    let text = "## One\n```sh\nno\n```\n## Two\n```sh\nfirst\n## not a heading\n```\n### A\nx\n```json\n{}\n```\n```sh\na\n```\n\
                ```sh\nb\n```\n## Three\n### B\n```sh\nno\n```\n";
    let guide = section(text, "Two");
    assert_eq!(guide.first, "first\n## not a heading\n");
    assert_eq!(guide.ways, [("A".to_owned(), "a\nb\n".to_owned())]);
}
