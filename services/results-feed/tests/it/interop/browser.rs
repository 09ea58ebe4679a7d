//! Chromium's own EventSource and WebSocket.

use std::{path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{lines, story, tell};
use crate::{
    balancer::Balancer,
    world::{DEADLINE, World},
};

/// A browser with both readers in one page.
struct Browser {
    _child: Child,
    answers: Lines<BufReader<ChildStdout>>,
    questions: ChildStdin,
}

impl Browser {
    /// Nothing where a part is missing, which is said.
    fn open(origin: &str, query: &str) -> Option<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let chromium = std::env::split_paths(&path)
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|program| program.exists());
        let (Some(chromium), true) = (chromium, folder.join("node_modules").exists()) else {
            println!(
                "skipped: it needs `deploy/local/prerequisites browser` and `npm ci --prefix tests/browser`"
            );
            return None;
        };
        let given = json!({ "origin": origin, "query": query, "chromium": chromium });
        let mut child = Command::new("node")
            .arg("feed.mjs")
            .arg(given.to_string())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let questions = child.stdin.take().unwrap();
        Some(Self { _child: child, answers, questions })
    }

    /// What both readers hold once they have these entries.
    async fn after(&mut self, seqs: &[i64]) -> Value {
        let question = json!({ "until": seqs });
        self.questions.write_all(format!("{question}\n").as_bytes()).await.unwrap();
        let line = timeout(2 * DEADLINE, self.answers.next_line()).await.expect("an answer in time").unwrap();
        serde_json::from_str(&line.expect("an answer")).unwrap()
    }
}

#[tokio::test]
async fn a_browsers_event_source_and_web_socket_come_back_by_themselves() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let balancer =
        Balancer::over(&[world.app.http_url("").trim_start_matches("http://").parse().unwrap()]).await;
    let (story, query) = (story(), "?mode=every");
    tell(&world, &key, &story[..3]).await;
    if let Some(mut browser) = Browser::open(&balancer.url(""), query) {
        browser.after(&[]).await;
        let seen = tell(&world, &key, &story[3..7]).await;
        browser.after(&[seen]).await;
        balancer.hang_up();
        let last = tell(&world, &key, &story[7..]).await;
        let told = browser.after(&(4..=last).collect::<Vec<i64>>()).await;
        for reader in ["events", "socket"] {
            assert_eq!(told[reader]["lines"], json!(lines(&world, query).await), "{reader}");
            assert_eq!(
                (&told[reader]["faults"], told[reader]["connections"].as_i64()),
                (&json!([]), Some(2))
            );
        }
    }
    world.app.stop().await;
}
