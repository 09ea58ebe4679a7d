use domain::{ProfileId, Service};
use prost::Message;
use proto::mailer::v1::{
    ListSuppressionsRequest, Suppression, SuppressionState,
    suppression_service_client::SuppressionServiceClient,
};
use testkit::Mail;

use crate::world::{ALICE_ON_THE_WIRE, BOB, DEADLINE, World, alice, bob};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn mail_to(world: &World, address: &str) -> Mail {
    world.sink.wait_for(|mail| mail.is_to(address), DEADLINE).await
}

fn unsubscribe_path(mail: &Mail) -> String {
    let header = mail.header("list-unsubscribe");
    header.trim_matches(['<', '>']).strip_prefix("https://mail.committee.example").unwrap().to_owned()
}

fn paths(mail: &Mail, prefix: &str) -> Vec<String> {
    let html = mail.html();
    let start = format!("https://mail.committee.example{prefix}");
    html.match_indices(&start)
        .map(|(at, _)| {
            let rest = &html[at + start.len() - prefix.len()..];
            rest[..rest.find('"').unwrap()].to_owned()
        })
        .collect()
}

async fn suppressions(world: &World, profile_id: ProfileId) -> Vec<Suppression> {
    let mut client = SuppressionServiceClient::new(world.app.grpc(&["mailer.admin"]));
    let request = ListSuppressionsRequest { profile_id: profile_id.to_string() };
    client.list_suppressions(request).await.unwrap().into_inner().suppressions
}

#[tokio::test]
async fn one_click_acts_at_once_and_a_get_changes_nothing() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    let campaign_id = world.send_all(&[bob]).await;
    let url = world.app.http_url(&unsubscribe_path(&mail_to(&world, BOB).await));

    let form = world.app.http().get(&url).header("accept-language", "fr").send().await.unwrap();
    assert_eq!(form.status(), 200);
    assert_eq!(form.headers()["cache-control"], "no-store");
    let html = form.text().await.unwrap();
    assert!(html.contains("lang=\"fr\"") && html.contains("<form method=\"post\""), "{html}");
    assert!(suppressions(&world, bob).await.is_empty());

    // As a mail client sends it (RFC 8058 3.1), twice.
    for _ in 0..2 {
        let post = world.app.http().post(&url).header("content-type", "application/x-www-form-urlencoded");
        let answer = post.body("List-Unsubscribe=One-Click").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let standing = suppressions(&world, bob).await;
        assert_eq!(standing.len(), 1, "it stands when the answer is there");
        assert_eq!(
            (standing[0].reason.as_str(), standing[0].sender_key.as_str()),
            ("unsubscribed", "committee")
        );
    }

    let withdrawals = testkit::eventually(DEADLINE, || async {
        Some(world.peers.withdrawals()).filter(|withdrawals| !withdrawals.is_empty())
    })
    .await;
    assert_eq!(withdrawals.len(), 1);
    assert_eq!(withdrawals[0].request_id, suppressions(&world, bob).await[0].suppression_id);
    assert_eq!(withdrawals[0].profile_id, bob.to_string());
    assert_eq!(
        (withdrawals[0].answers[0].purpose.as_str(), withdrawals[0].answers[0].status.as_str()),
        ("committee_newsletter", "withdrawn")
    );

    let second = world.send_all(&[bob]).await;
    assert_eq!(world.row(&second, bob, "skipped").await.reason, "suppressed");
    assert_eq!(world.sink.mails().len(), 1);
    assert_eq!(world.report(&campaign_id).await.unsubscribed, 1);
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Mailer).await;
    let facts: Vec<_> = rows.iter().filter(|row| row.topic == "kotinos.mailer.suppression.v1").collect();
    assert_eq!(facts.len(), 1);
    let state = SuppressionState::decode(facts[0].payload.as_deref().unwrap()).unwrap();
    assert_eq!((state.profile_id, state.scope, state.ended), (bob.to_string(), "sender".to_owned(), false));
}

#[tokio::test]
async fn a_click_leads_to_the_published_target_and_counts_once_as_human() {
    let world = World::start().await;
    world.sender().await;
    let alice = world.person(&alice()).await;
    let campaign_id = world.send_all(&[alice]).await;
    let mail = mail_to(&world, ALICE_ON_THE_WIRE).await;
    let links = paths(&mail, "/c/");
    assert_eq!(links.len(), 2);
    let get = |path: &str| world.app.http().get(world.app.http_url(path)).header("user-agent", FIREFOX);

    let answer = get(&links[1]).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["location"], "https://games.example/ja/tickets?a=1&b=2");
    let head = world.app.http().head(world.app.http_url(&links[1])).header("user-agent", FIREFOX);
    assert_eq!(head.send().await.unwrap().status(), 302);
    let pixel = get(&paths(&mail, "/o/")[0]).send().await.unwrap();
    assert_eq!(pixel.headers()["content-type"], "image/gif");
    assert_eq!(pixel.bytes().await.unwrap().len(), 43);

    let report = testkit::eventually(DEADLINE, || async {
        let report = world.report(&campaign_id).await;
        (report.clicks_machine == 1 && report.opens_human == 1).then_some(report)
    })
    .await;
    assert_eq!((report.clicks_human, report.opens_machine), (1, 0));
}

#[tokio::test]
async fn all_links_at_once_are_a_machine() {
    let world = World::start().await;
    world.sender().await;
    let alice = world.person(&alice()).await;
    let campaign_id = world.send_all(&[alice]).await;
    for path in paths(&mail_to(&world, ALICE_ON_THE_WIRE).await, "/c/") {
        let answer = world.app.http().get(world.app.http_url(&path)).header("user-agent", FIREFOX).send();
        assert_eq!(answer.await.unwrap().status(), 302);
    }
    let report = testkit::eventually(DEADLINE, || async {
        let report = world.report(&campaign_id).await;
        (report.clicks_machine == 2).then_some(report)
    })
    .await;
    assert_eq!(report.clicks_human, 0);
}

#[tokio::test]
async fn what_is_done_after_tracking_was_withdrawn_is_not_kept() {
    let world = World::start().await;
    world.sender().await;
    let (alice, other) = (world.person(&alice()).await, world.person(&alice()).await);
    let campaign_id = world.send_all(&[alice, other]).await;
    world.consent(alice, "open_tracking", "withdrawn").await;
    // Both click; only the other's is there at last.
    for mail in world.sink.mails() {
        let path = paths(&mail, "/c/").remove(0);
        let answer = world.app.http().get(world.app.http_url(&path)).send().await.unwrap();
        assert_eq!(answer.status(), 302, "the link works for both");
    }
    testkit::eventually(DEADLINE, || async {
        (world.report(&campaign_id).await.clicks_human == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_forged_token_leads_nowhere() {
    let world = World::start().await;
    world.sender().await;
    let alice = world.person(&alice()).await;
    world.send_all(&[alice]).await;
    let mail = mail_to(&world, ALICE_ON_THE_WIRE).await;
    let (click, unsubscribe) = (paths(&mail, "/c/").remove(0), unsubscribe_path(&mail));
    let mut forged = unsubscribe.clone();
    let last = if forged.ends_with('A') { "B" } else { "A" };
    forged.replace_range(forged.len() - 1.., last);
    let swapped = click.replacen("/c/", "/u/", 1);
    let status = |path: String, is_post: bool| {
        let url = world.app.http_url(&path);
        let client = world.app.http();
        async move {
            let request = if is_post { client.post(url) } else { client.get(url) };
            request.send().await.unwrap().status().as_u16()
        }
    };
    assert_eq!(status(forged.clone(), true).await, 404);
    assert_eq!(status(forged, false).await, 404);
    assert_eq!(status(swapped, true).await, 404, "a click's token does not unsubscribe");
    assert_eq!(status(unsubscribe.replacen("/u/", "/c/", 1), false).await, 404);
    assert_eq!(status("/c/https:%2F%2Feve.example".to_owned(), false).await, 404);
    assert_eq!(status(format!("/c/{}", "A".repeat(5_000)), false).await, 404);
    assert_eq!(status("/o/forged.gif".to_owned(), false).await, 200, "a pixel tells nothing");
    assert!(suppressions(&world, alice).await.is_empty());
    let big = world.app.http().post(world.app.http_url(&unsubscribe)).body("x".repeat(100_000)).send().await;
    // The body is not read, so its size does not matter to the answer; the person is unsubscribed.
    assert!(big.is_err() || big.unwrap().status().as_u16() < 500);
}
