use std::{
    fs,
    path::{Path, PathBuf},
};

/// What holds no source of ours; `.git` is a file in a worktree.
const SKIPPED: [&str; 4] = ["target", ".local", ".git", "node_modules"];

/// A text file of the workspace.
#[derive(Debug, Clone)]
pub struct File {
    /// From the workspace root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl File {
    /// A file that exists only in a test of a rule.
    pub fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Service and the path below its `src`, of a file of a service.
    pub fn of_service(&self) -> Option<(&str, &str)> {
        let (service, rest) = self.path.strip_prefix("services/")?.split_once('/')?;
        Some((service, rest.strip_prefix("src/")?))
    }

    /// Whether it is Rust written by hand.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.is_generated()
    }

    /// Whether it is code of tests or benches, where the ceilings do not hold.
    pub fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        let name = parts.next_back().unwrap_or_default();
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.starts_with("tests/tests/")
            || parts.any(is_test_folder)
    }

    fn is_generated(&self) -> bool {
        self.path.starts_with("crates/proto/src/gen/")
    }
}

fn is_test_folder(name: &str) -> bool {
    // The package `tests/` itself holds the journey's driver, which is code like any other.
    name == "benches" || name == "it"
}

/// The folder of the workspace's Cargo.toml.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Every text file of the workspace, in order of its path.
pub fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if SKIPPED.contains(&entry.file_name().to_string_lossy().as_ref()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && path.extension().is_none_or(|extension| extension != "log")
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 50, "the walk found only {} files below {}", found.len(), root.display());
    found
}

/// Every Rust file written by hand.
pub fn rust_files() -> Vec<File> {
    files().into_iter().filter(File::is_rust).collect()
}

/// Names of the folders directly below `folder`.
pub fn folders_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_walk_sees_our_code_and_not_what_was_built() {
    let files = files();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"));
    assert!(files.iter().any(|file| file.path == "crates/domain/src/lib.rs"));
    assert!(!files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/")));
}

#[test]
fn tests_are_told_from_code() {
    assert!(File::planted("services/mailer/tests/it/main.rs", "").is_test());
    assert!(File::planted("services/mailer/src/smtp/tests.rs", "").is_test());
    assert!(File::planted("services/mailer/src/smtp_tests.rs", "").is_test());
    assert!(File::planted("tests/tests/rules/main.rs", "").is_test());
    assert!(!File::planted("tests/src/journey.rs", "").is_test());
    assert!(!File::planted("services/mailer/src/app.rs", "").is_test());
}
