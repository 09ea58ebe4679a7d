use std::{fs, io::Write as _, path::PathBuf, process::Command};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use reqwest::StatusCode;

use crate::{
    browser::{Arrived, Asks, Browser, Page},
    world::{ALICE, World},
};

/// A file that goes with its owner.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("kotinos-list-{}", domain::new_id().simple())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What the script makes of a list as it is downloaded.
fn list_of(lines: &[String]) -> Result<Temporary, String> {
    let (downloaded, list) = (Temporary::new(), Temporary::new());
    fs::File::create(&downloaded.0).unwrap().write_all(lines.join("\r\n").as_bytes()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/breached-list");
    let output = fs::File::create(&list.0).unwrap();
    let done = Command::new(script).arg(&downloaded.0).stdout(output).output().unwrap();
    if done.status.success() { Ok(list) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

fn line_of(password: &str) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let text: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{text}:{}", password.len())
}

async fn page_for_a_password(browser: &mut Browser<'_>, world: &World) -> Page {
    let page = browser.open("/signup").await.page();
    let mut form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, ALICE.email);
    let page = browser.submit(&form, None).await.page();
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, &world.peers.code_for(ALICE.email).await);
    browser.submit(&form, None).await.page()
}

async fn choose(browser: &mut Browser<'_>, page: &Page, password: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

#[tokio::test]
async fn a_password_of_a_breach_or_of_the_first_guesses_is_refused() {
    let mut lines: Vec<String> = (0..2_000).map(|number| line_of(&format!("{number} monkeys"))).collect();
    lines.push(line_of("seven lanterns drift away"));
    lines.sort();
    let list = list_of(&lines).unwrap();
    let file = list.0.clone();
    let world = World::start_with(move |config| config.breached_file = Some(file.clone())).await;
    let mut browser = world.browser();
    let page = page_for_a_password(&mut browser, &world).await;
    for (refused, words) in [
        ("seven lanterns drift away", "known from a breach"),
        // As an input method writes it.
        ("ｓｅｖｅｎ　ｌａｎｔｅｒｎｓ　ｄｒｉｆｔ　ａｗａｙ", "known from a breach"),
        ("Passw0rd!", "harder to guess"),
        ("alice123", "harder to guess"),
        ("qwertyuiop", "harder to guess"),
    ] {
        let again = choose(&mut browser, &page, refused).await.page();
        assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert!(again.text().contains(words), "{refused}: {}", again.text());
    }
    let own = choose(&mut browser, &page, "seven lanterns drift home").await.page();
    assert_eq!(own.url.path(), "/account/security");
}

#[test]
fn a_list_that_is_none_is_refused_by_its_script() {
    let (first, second) = ("0".repeat(40), "F".repeat(40));
    for (lines, says) in [
        (vec![], "there is nothing in it"),
        (vec!["not a digest".to_owned()], "line 1 does not begin"),
        (vec![format!("{first}:1"), "5BAA61".to_owned()], "line 2 does not begin"),
        (vec![second.clone(), first.clone()], "line 2 is not in the order"),
    ] {
        let said = list_of(&lines).err().unwrap();
        assert!(said.contains(says), "{said}");
    }
    let list = list_of(&[first.clone(), first, second]).unwrap();
    let written = fs::read(&list.0).unwrap();
    assert_eq!((&written[..12], &written[12..20]), (&b"kotinos-sha1"[..], &2_u64.to_be_bytes()[..]));
    assert_eq!(written.len(), 60);
}

#[tokio::test]
async fn who_comes_when_the_queue_of_passwords_is_full_is_asked_to_come_back() {
    let world = World::start_with(|config| config.hash_threads = 1).await;
    // Far more than one thread hashes in the two seconds that the queue holds.
    let tries = (0..300).map(|number| {
        let world = &world;
        async move {
            let mut browser = world.browser();
            let mut form = browser.open("/login").await.page().form_asking(Asks::Password).unwrap();
            form.fill(Asks::Address, &format!("fan{number}@example.org"));
            form.fill(Asks::Password, "wrong horse battery");
            browser.submit(&form, None).await.page()
        }
    });
    let pages = futures::future::join_all(tries).await;
    let (busy, judged): (Vec<Page>, Vec<Page>) =
        pages.into_iter().partition(|page| page.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(!busy.is_empty() && !judged.is_empty(), "{} busy, {} judged", busy.len(), judged.len());
    assert!(busy.iter().all(|page| page.headers.contains_key("retry-after")));
    assert!(judged.iter().all(|page| page.status == StatusCode::UNPROCESSABLE_ENTITY));
    // It was for the queue, and not for want of something else.
    let figures =
        world.app.http().get(world.app.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let refused = |line: &str| line.starts_with("identity_hashes_total") && line.contains("refused");
    assert!(figures.lines().any(|line| refused(line) && !line.ends_with(" 0")), "{figures}");
}
