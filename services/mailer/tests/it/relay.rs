use std::time::Duration;

use domain::TimeDelta;
use proto::mailer::v1::{ListSuppressionsRequest, suppression_service_client::SuppressionServiceClient};

use crate::world::{ALICE_ON_THE_WIRE, BOB, DEADLINE, Person, World, alice, bob};

#[tokio::test]
async fn a_deferred_mail_is_tried_again_under_the_same_message_id() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.refuse(BOB, "451 4.7.1 greylisted", 2);
    let campaign_id = world.send(&[bob], "at_least_once").await;
    let deferred = world.row(&campaign_id, bob, "deferred").await;
    assert_eq!((deferred.relay_code, deferred.reason.as_str()), (451, "4.7.1"));
    assert_eq!(world.campaign(&campaign_id).await.state, "sending");
    testkit::eventually(DEADLINE, || async {
        world.advance(TimeDelta::minutes(10));
        (world.campaign(&campaign_id).await.state == "finished").then_some(())
    })
    .await;
    let accepted = world.row(&campaign_id, bob, "accepted").await;
    assert_eq!(accepted.message_id, deferred.message_id);
    assert_eq!(world.sink.mails().len(), 1);
    let report = world.report(&campaign_id).await;
    assert_eq!((report.sent, report.accepted, report.deferred), (1, 1, 0));
}

#[tokio::test]
async fn a_deadline_ends_the_attempts() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.refuse(BOB, "451 4.7.1 never", 1_000);
    let campaign_id = world.send(&[bob], "at_least_once").await;
    world.row(&campaign_id, bob, "deferred").await;
    world.advance(TimeDelta::days(4));
    world.row(&campaign_id, bob, "expired").await;
    world.reaches(&campaign_id, "finished").await;
}

#[tokio::test]
async fn an_address_that_does_not_exist_bounces_and_is_suppressed_until_it_changes() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.refuse(BOB, "550 5.1.1 no such user", 1);
    let campaign_id = world.send_all(&[bob]).await;
    assert_eq!(world.row(&campaign_id, bob, "bounced").await.reason, "5.1.1");
    let mut client = SuppressionServiceClient::new(world.app.grpc(&["mailer.admin"]));
    let request = ListSuppressionsRequest { profile_id: bob.to_string() };
    let standing = client.list_suppressions(request).await.unwrap().into_inner().suppressions;
    assert_eq!((standing[0].reason.as_str(), standing[0].scope.as_str()), ("hard_bounce", "all"));
    let second = world.send_all(&[bob]).await;
    assert_eq!(world.row(&second, bob, "skipped").await.reason, "suppressed");
    sqlx::query("update mailer.recipient set email = 'new@example.fr' where profile_id = $1")
        .bind(bob.0)
        .execute(&world.app.pool)
        .await
        .unwrap();
    let third = world.send_all(&[bob]).await;
    world.row(&third, bob, "accepted").await;
}

#[tokio::test]
async fn a_policy_block_is_no_fault_of_the_address() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.refuse(BOB, "550 5.7.1 blocked", 1);
    let first = world.send_all(&[bob]).await;
    assert_eq!(world.row(&first, bob, "bounced").await.reason, "5.7.1");
    let second = world.send_all(&[bob]).await;
    world.row(&second, bob, "accepted").await;
}

#[tokio::test]
async fn a_relay_without_pipelining_gets_the_same_mails() {
    let world = World::start().await;
    world.sink.hide("PIPELINING");
    world.sink.hide("SIZE");
    world.sender().await;
    let (alice, bob) = (world.person(&alice()).await, world.person(&bob()).await);
    world.sink.refuse(BOB, "550 5.7.1 blocked", 1);
    let campaign_id = world.send_all(&[alice, bob]).await;
    world.row(&campaign_id, alice, "accepted").await;
    world.row(&campaign_id, bob, "bounced").await;
    assert!(world.sink.mails()[0].is_to(ALICE_ON_THE_WIRE));
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_smtputf8() {
    const CAROL: Person = Person {
        email: "カロル@例え.jp",
        locale: "ja",
        given_name: "カロル",
        given: &["committee_newsletter"],
    };
    let world = World::start().await;
    world.sender().await;
    let carol = world.person(&CAROL).await;
    let first = world.send_all(&[carol]).await;
    world.row(&first, carol, "accepted").await;
    assert!(world.sink.mails()[0].is_to(CAROL.email));
    world.sink.hide("SMTPUTF8");
    // The kept connection still knows the extension of its greeting: a new one does not.
    let world = World::start().await;
    world.sink.hide("SMTPUTF8");
    world.sender().await;
    let carol = world.person(&CAROL).await;
    let campaign_id = world.send_all(&[carol]).await;
    assert_eq!(world.row(&campaign_id, carol, "bounced").await.reason, "no_smtputf8");
}

#[tokio::test]
async fn a_relay_that_is_away_is_waited_for() {
    let mut world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    let addr = world.sink.addr;
    let away = std::mem::replace(&mut world.sink, testkit::SmtpSink::start().await);
    away.stop().await;
    let campaign_id = world.send(&[bob], "at_least_once").await;
    world.reaches(&campaign_id, "sending").await;
    tokio::time::timeout(Duration::from_secs(1), world.row(&campaign_id, bob, "accepted")).await.unwrap_err();
    assert!(world.ledger(&campaign_id).await.is_empty(), "nothing left, so nothing is written");
    world.sink = testkit::SmtpSink::start_on(addr).await.unwrap();
    world.row(&campaign_id, bob, "accepted").await;
    assert_eq!(world.sink.mails().len(), 1);
}
