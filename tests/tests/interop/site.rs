//! The scripts of `tests/interop`, each a library's site as a program of its own.

use std::path::Path;

use anyhow::{Result, ensure};
use e2e::Program;
use serde_json::Value;
use tokio::process::Command;

/// Starts a script; what it complains of lies in `log`.
pub fn start(words: &[&str], given: &Value, log: &Path) -> Result<Program> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let program = match words[0] {
        // The interpreter that sees the packages that are locked there.
        "python" => folder.join("../../.local/interop-venv/bin/python").into_os_string(),
        other => other.into(),
    };
    ensure!(folder.join("node_modules").exists(), "run: make interop");
    let mut command = Command::new(program);
    Program::start(command.args(&words[1..]).arg(given.to_string()).current_dir(folder), log)
}
