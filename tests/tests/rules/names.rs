//! Names that say nothing.

use super::{
    Violation, hold,
    source::{Source, identifier, words},
    tree::{self, File},
};

const BANNED: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "types", "manager"];
const TODO: &str =
    "name it for the noun that it holds; a new shared crate needs its reason in ARCHITECTURE.md";

fn check(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    let parts: Vec<&str> = file.path.trim_end_matches(".rs").split('/').collect();
    if let Some(name) = parts.iter().find(|name| BANNED.contains(name)) {
        violations.push(Violation {
            file: file.path.clone(),
            line: 0,
            found: format!("named {name}"),
            todo: TODO,
        });
    }
    let source = Source::read(&file.text);
    for at in words(&source.code, "mod") {
        let name = identifier(&source.code[at + 3..]);
        if BANNED.contains(&name.as_str()) {
            let line = source.line(at);
            violations.push(Violation {
                file: file.path.clone(),
                line,
                found: format!("mod {name}"),
                todo: TODO,
            });
        }
    }
    violations
}

#[test]
fn no_module_has_an_empty_name() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check).collect();
    hold(
        "no module, file or folder is called util(s), common, helper(s), misc, types or manager",
        &violations,
    );
}

#[test]
fn a_planted_name_is_caught() {
    for name in BANNED {
        assert_eq!(check(&File::planted(&format!("services/mailer/src/{name}.rs"), "")).len(), 1, "{name}");
        assert_eq!(check(&File::planted(&format!("crates/{name}/src/lib.rs"), "")).len(), 1, "{name}");
        assert_eq!(
            check(&File::planted("crates/domain/src/lib.rs", &format!("pub mod {name};"))).len(),
            1,
            "{name}"
        );
    }
    assert_eq!(check(&File::planted("crates/domain/src/sport_types.rs", "mod commons; // mod util")), []);
}
