//! The commands of the partner's guide, run as they stand: one shell, one heading after the other.

use std::{path::Path, process::Stdio};

use testkit::races::hundred_metres_final;
use tokio::process::Command;

use crate::{
    process::{Process, Surroundings},
    world::World,
};

const SECTION: &str = "## Try it";
/// Needs a program that a fresh machine lacks.
const GRPC: &str = "### grpcurl";

/// The `sh` blocks of the section below each of its headings.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let (mut here, mut in_block, mut is_shell) = (false, false, false);
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_block = !in_block;
            is_shell = in_block && language == "sh";
        } else if in_block && is_shell && here {
            let (_, script) = blocks.last_mut().expect("a heading above each block");
            script.push_str(line);
            script.push('\n');
        } else if !in_block && line.starts_with("## ") {
            here = line == SECTION;
        } else if !in_block && here && line.starts_with("### ") {
            blocks.push((line.to_owned(), String::new()));
        }
    }
    blocks
}

fn has(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).exists())
}

#[tokio::test]
async fn the_commands_of_the_guide_work_as_they_stand() {
    let world = World::start().await;
    let process = Process::start(&Surroundings::of(&world)).await;
    let (_, key) = world.key("P", &[]).await;
    let issuer = world.app.issuer();
    let token = issuer.token(&issuer.claims("broadcaster", "broadcaster", &["results.subscribe"]));
    let folder = std::env::temp_dir().join(format!("kotinos-guide-{}", domain::new_id()));
    std::fs::create_dir(&folder).unwrap();
    let race = hundred_metres_final(1);
    std::fs::write(folder.join("start-list.xml"), &race[2].xml).unwrap();
    std::fs::write(folder.join("running.xml"), &race[4].xml).unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(package.join("tests/it/interop/reader.py"), folder.join("reader.py")).unwrap();

    let blocks = blocks(&std::fs::read_to_string(package.join("README.md")).unwrap());
    assert!(blocks.len() >= 4, "the guide has {blocks:?}");
    let mut script = "set -euo pipefail\n".to_owned();
    for (heading, block) in &blocks {
        if heading == GRPC && !has("grpcurl") {
            println!("skipped: {heading}, since there is no grpcurl here");
            continue;
        }
        script.push_str(&format!("echo '{heading}'\n{block}"));
    }
    std::fs::write(folder.join("guide.sh"), script).unwrap();
    let done = Command::new("bash")
        .arg("guide.sh")
        .current_dir(&folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("FEED", format!("http://{}", process.http))
        .env("GRPC", process.grpc.to_string())
        .env("KEY", key)
        .env("TOKEN", token)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{wrong}");
    for (part, shows) in [
        ("### Send a document", &[r#""outcome":"accepted","seq":1"#][..]),
        ("### curl", &[r#""t":"snap""#, r#""t":"live""#, r#""v":2"#]),
        ("### After a gap", &[r#""documents":[{"t":"snap""#]),
        ("### Python", &["1 2 {\"Competition\""]),
    ] {
        let after = said.split_once(part).unwrap_or_else(|| panic!("no {part} in {said}")).1;
        let own = after.split("### ").next().unwrap();
        for text in shows {
            assert!(own.contains(text), "{part} does not show {text}: {said}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    drop(process);
    world.app.stop().await;
}
