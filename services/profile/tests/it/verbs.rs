//! The program's verbs, as an operator types them beside a process that runs.

use std::process::Command;

use serde_json::Value;
use testkit::eventually;

use crate::world::{CONSENTS, DEADLINE, PROFILES, World, alice, gives};

struct Ran {
    code: Option<i32>,
    answer: String,
    errors: String,
}

fn run(world: &World, arguments: &[&str]) -> Ran {
    let topics = world.app.topics();
    let output = Command::new(env!("CARGO_BIN_EXE_profile"))
        .args(arguments)
        .env_clear()
        .env("PROFILE_DATABASE_URL", world.app.database_url())
        .env("KOTINOS_KAFKA_BROKERS", &topics.brokers)
        .env("KOTINOS_TOPIC_PREFIX", &topics.prefix)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), answer: text(output.stdout), errors: text(output.stderr) }
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_user_who_cannot_be_read_is_listed_and_discarded_by_hand() {
    let world = World::start().await;
    let user = alice();
    world.publish_payload(&user, b"\xff alice@example.org".to_vec()).await;
    let listed = eventually(DEADLINE, || async {
        let listed = run(&world, &["records", "list", "--json"]);
        assert_eq!(listed.code, Some(0), "{}", listed.errors);
        (!listed.answer.is_empty()).then_some(listed.answer)
    })
    .await;
    let record = &objects(&listed)[0];
    assert_eq!((&record["consumer"], &record["key"]), (&"profile".into(), &user.id.to_string().into()));
    assert!(!listed.contains("example.org"), "no payload unless it is asked for: {listed}");

    let planned = run(&world, &["records", "discard", "--all"]);
    assert_eq!(planned.code, Some(3), "{}", planned.errors);
    assert!(planned.answer.starts_with("CONSUMER") && planned.errors.contains("--yes"), "{}", planned.errors);
    let done = run(&world, &["records", "discard", "--all", "--yes"]);
    assert_eq!((done.code, done.answer.as_str()), (Some(0), "1 records are discarded\n"), "{}", done.errors);
    let event = record["event_id"].as_str().unwrap();
    let logged = objects(&done.errors).into_iter().find(|line| line["event_id"] == event).unwrap();
    assert_eq!((&logged["verb"], &logged["service"]), (&"records discard".into(), &"profile".into()));
    assert_eq!(
        run(&world, &["records", "discard", "--all", "--yes"]).code,
        Some(1),
        "there is none any more"
    );
    world.app.stop().await;
}

#[tokio::test]
async fn help_teaches_and_wrong_words_are_code_2() {
    let world = World::start().await;
    for verb in ["records", "consumer", "outbox", "topics", "republish"] {
        let help = run(&world, &[verb, "--help"]);
        assert_eq!(help.code, Some(0), "{}", help.errors);
        assert!(help.answer.contains(&format!("Example: profile {verb}")), "{}", help.answer);
    }
    for wrong in
        [&["records", "burn"][..], &["records"], &["consumer", "pause", "nobody"], &["republish", "nothing"]]
    {
        let ran = run(&world, wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.errors);
        assert!(!ran.errors.is_empty());
    }
    let rows = run(&world, &["topics"]);
    assert_eq!(rows.code, Some(0), "{}", rows.errors);
    assert_eq!(rows.answer.lines().count(), 3, "{}", rows.answer);
    world.app.stop().await;
}

#[tokio::test]
async fn profiles_and_consents_are_told_again() {
    let world = World::start().await;
    let user = alice();
    let profile = world.follow(&user).await;
    world.notice("committee_newsletter", "ja", 1).await;
    world.record(&user, &profile.profile_id, &[gives("committee_newsletter")]).await.unwrap();
    for topic in [PROFILES, CONSENTS] {
        let ran = run(&world, &["republish", topic]);
        assert_eq!(ran.answer, format!("1 states of {topic} are on their way\n"), "{}", ran.errors);
        let told = world.told(topic).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!((&told[0].key, told[0].version), (&told[1].key, told[1].version));
        assert_ne!(told[0].payload, None);
    }
    let consents = world.told(CONSENTS).await;
    assert_eq!(consents[1].fact_type, "ConsentGiven");
    world.app.stop().await;
}
