//! What operators do by the command line, beside a process that runs.

use domain::Service;
use serde_json::Value;

use crate::world::{ALICE, BOB, World};

struct Answer {
    text: String,
    why: String,
    code: u8,
}

async fn operate(world: &World, arguments: &[&str]) -> Answer {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--operator", "olga"]).collect();
    let (text, ended) = world.operate(&arguments).await;
    let (why, code) = match ended {
        Ok(()) => (String::new(), 0),
        Err(stop) => (stop.to_string(), stop.exit_code()),
    };
    Answer { text, why, code }
}

/// The objects of a verb that was asked for JSON.
async fn lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let answer = operate(world, &arguments).await;
    assert_eq!(answer.code, 0, "{arguments:?}: {} {}", answer.text, answer.why);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_user_is_found_shut_out_and_let_in_by_name_of_the_operator() {
    let world = World::start().await;
    let (_browser, _) = world.tokens(ALICE).await;
    world.sign_up(BOB).await;
    let listed = lines(&world, &["users", "list"]).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["address"], "a•••@example.jp", "{}", listed[0]);
    let shown = lines(&world, &["users", "show", ALICE.email, "--reveal"]).await.remove(0);
    let user_id = shown["user_id"].as_str().unwrap().to_owned();
    assert_eq!((&shown["address"], &listed[0]["user_id"]), (&Value::from(ALICE.email), &shown["user_id"]));

    let sessions = lines(&world, &["sessions", "list", &user_id]).await;
    assert_eq!((sessions.len(), sessions[0]["client_ids"].as_str()), (1, Some("portal")));
    let disabled = lines(&world, &["users", "disable", ALICE.email, "--reason", "tickets sold on"]).await;
    assert_eq!(disabled[0]["status"], "disabled");
    assert!(lines(&world, &["sessions", "list", &user_id]).await.is_empty());
    world.relying_parties.told_times("portal", 1).await;
    let told = lines(&world, &["deliveries", "list", "--client", "portal"]).await;
    assert_eq!((told.len(), told[0]["cause"].as_str()), (1, Some("disable")));
    lines(&world, &["users", "enable", &user_id]).await;

    let audit = lines(&world, &["audit", "list", "--actor", "operator:olga"]).await;
    let done: Vec<&str> = audit.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(done, ["enable_user", "disable_user"]);
    assert!(audit[1]["detail"].as_str().unwrap().contains("tickets sold on"));
    let table = operate(&world, &["users", "list", "--status", "disabled"]).await.text;
    assert_eq!(table, "USER ID  ADDRESS  STATUS  LOCALE  ORIGIN  CREATED AT\n");
}

#[tokio::test]
async fn a_client_is_made_of_a_file_and_its_secret_is_shown_once() {
    let world = World::start().await;
    let path = std::env::temp_dir().join(format!("kotinos-client-{}.json", domain::new_id().simple()));
    let file = path.to_str().unwrap();
    std::fs::write(
        &path,
        r#"{"client_id": "kiosk", "name": "Kiosk", "kind": "partner",
            "token_endpoint_auth_method": "client_secret_post", "grant_types": ["client_credentials"]}"#,
    )
    .unwrap();
    let created = lines(&world, &["clients", "create", file]).await.remove(0);
    let secret = created["client_secret"].as_str().unwrap().to_owned();
    let form = |secret: &str| {
        [("grant_type", "client_credentials"), ("client_id", "kiosk"), ("client_secret", secret)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    assert_eq!(world.post("/oauth2/token", None, &form(&secret)).await.status, 200);
    let again = operate(&world, &["clients", "create", file]).await;
    assert_eq!((again.code, again.why.as_str()), (3, "there is a client already"));

    let plan = operate(&world, &["clients", "rotate", "kiosk"]).await;
    assert_eq!(plan.code, 3, "{}", plan.why);
    assert_eq!(world.post("/oauth2/token", None, &form(&secret)).await.status, 200);
    let rotated = lines(&world, &["clients", "rotate", "kiosk", "--yes"]).await.remove(0);
    let former = secret;
    let secret = rotated["client_secret"].as_str().unwrap();
    // The running process hears of it within a second.
    testkit::eventually(crate::world::DEADLINE, || async {
        let answer = world.post("/oauth2/token", None, &form(secret)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(world.post("/oauth2/token", None, &form(&former)).await.status, 401);
    let shown = operate(&world, &["clients", "show", "kiosk"]).await.text;
    assert!(shown.contains("Kiosk") && !shown.contains(secret), "{shown}");
    operate(&world, &["clients", "delete", "kiosk", "--yes"]).await;
    let gone = operate(&world, &["clients", "show", "kiosk"]).await;
    assert_eq!(
        (gone.code, gone.why.as_str()),
        (1, "no such client: `identity clients list` shows what there is")
    );

    std::fs::write(
        &path,
        r#"{"client_id": "kiosk", "name": "K", "kind": "ours", "token_endpoint_auth_method": "none"}"#,
    )
    .unwrap();
    let wrong = operate(&world, &["clients", "create", file]).await;
    assert_eq!((wrong.code, wrong.why.as_str()), (2, "client.kind must be first_party or partner"));
    std::fs::remove_file(&path).unwrap();
    let missing = operate(&world, &["clients", "create", file]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.why.contains("cannot be read"), "{}", missing.why);
}

#[tokio::test]
async fn keys_and_the_audit_are_looked_after() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let first = lines(&world, &["keys", "list"]).await.remove(0);
    let staged = lines(&world, &["keys", "stage"]).await.remove(0);
    let kid = staged["kid"].as_str().unwrap();
    let early = operate(&world, &["keys", "promote", kid]).await;
    assert_eq!(early.code, 3);
    assert!(early.why.contains("24 hours"), "{}", early.why);
    lines(&world, &["keys", "promote", kid, "--at-once"]).await;
    operate(&world, &["keys", "retire", first["kid"].as_str().unwrap(), "--yes"]).await;
    let left = lines(&world, &["keys", "list"]).await;
    assert_eq!((left.len(), left[0]["kid"].as_str()), (1, Some(kid)));
    // The running process has heard of it.
    testkit::eventually(crate::world::DEADLINE, || async {
        let keys = world.get("/oauth2/keys.json", &[]).await.body["keys"].clone();
        (keys.as_array()?.len() == 1 && keys[0]["kid"] == kid).then_some(())
    })
    .await;

    testkit::eventually(crate::world::DEADLINE, || async {
        let all: i64 = sqlx::query_scalar("select count(*) from identity.audit_record")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
        let check = lines(&world, &["audit", "verify"]).await.remove(0);
        (check["records"] == all).then_some(())
    })
    .await;
    sqlx::query("update identity.audit_record set actor = 'nobody' where action = 'retire_key'")
        .execute(&world.app.pool)
        .await
        .unwrap();
    let broken = operate(&world, &["audit", "verify"]).await;
    assert_eq!((broken.code, broken.why.as_str()), (1, "the audit is not what was written"));
}

#[tokio::test]
async fn what_cannot_be_done_says_what_to_do() {
    let world = World::start().await;
    let nobody = domain::UserId::new().to_string();
    for (arguments, code, why) in [
        (vec!["users", "show", &nobody], 1, "no such user: `identity users list` shows what there is"),
        (vec!["users", "create", "a..b@example.org"], 2, "the address must be"),
        (vec!["sessions", "list", "x"], 2, "user: must be a UUID"),
        (vec!["keys", "stage", "--alg", "none"], 2, "--alg: must be ES256, RS256 or PS256"),
        (vec!["deliveries", "retry", &nobody], 1, "no such logout delivery: `identity deliveries list`"),
        (vec!["audit", "list", "--since", "yesterday"], 2, "since: "),
        (vec!["users"], 2, ""),
    ] {
        let answer = operate(&world, &arguments).await;
        assert_eq!(answer.code, code, "{arguments:?}: {}", answer.why);
        assert!(answer.why.contains(why), "{arguments:?}: {}", answer.why);
    }
}

#[tokio::test]
async fn beside_other_services_identity_is_named() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let among = async |arguments: &[&str]| {
        let (text, ended) = world.operate_in(Service::AllInOne, arguments).await;
        match ended {
            Ok(()) => (text, 0),
            Err(stop) => (stop.to_string(), stop.exit_code()),
        }
    };
    let named = ["--service", "identity", "--operator", "olga", "--json"];
    let (listed, code) = among(&[&["users", "list"][..], &named[..]].concat()).await;
    assert_eq!((listed.lines().count(), code), (1, 0), "{listed}");
    let (shown, code) = among(&[&["clients", "show", "shop"][..], &named[..]].concat()).await;
    assert!(shown.contains("Shop") && code == 0, "{shown}");

    let (which, code) = among(&["users", "list", "--operator", "olga"]).await;
    assert!(which.contains("identity, profile") && code == 2, "{which}");
    let (other, code) = among(&["users", "list", "--operator", "olga", "--service", "profile"]).await;
    assert!(other.contains("--service identity has") && code == 3, "{other}");
}
