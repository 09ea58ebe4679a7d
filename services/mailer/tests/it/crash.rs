//! A relay that hangs up after the dot, and a process that dies in the middle.

use std::{collections::BTreeMap, time::Duration};

use crate::world::{BOB, DEADLINE, World, bob};

#[tokio::test]
async fn a_mail_whose_answer_was_lost_goes_again_under_its_message_id() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.drop_after_dot(1);
    let campaign_id = world.send_all(&[bob]).await;
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].message_id, mails[1].message_id);
    assert_eq!(world.ledger(&campaign_id).await.len(), 1);
    world.row(&campaign_id, bob, "accepted").await;
}

#[tokio::test]
async fn what_may_leave_at_most_once_is_unknown_after_a_lost_answer_and_never_sent_again() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.drop_after_dot(1);
    let campaign_id = world.send(&[bob], "at_most_once").await;
    world.reaches(&campaign_id, "finished").await;
    let row = world.row(&campaign_id, bob, "unknown").await;
    assert_eq!(row.message_id, format!("<{}>", world.sink.mails()[0].message_id));
    assert_eq!(world.sink.mails().len(), 1);
}

#[tokio::test]
async fn a_mark_without_an_outcome_becomes_unknown() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.peers.set_people(&[bob]);
    let campaign_id = world.draft("at_most_once").await.campaign_id;
    // As a process leaves it that dies between the mark and the relay's answer.
    sqlx::query(
        "insert into mailer.message (campaign_id, profile_id, state, at) values ($1, $2, 'handing', now())",
    )
    .bind(crate::world::uuid(&campaign_id))
    .bind(bob.0)
    .execute(&world.app.pool)
    .await
    .unwrap();
    world.schedule(&campaign_id).await;
    world.reaches(&campaign_id, "finished").await;
    assert_eq!(world.row(&campaign_id, bob, "unknown").await.reason, "process_lost");
    assert!(world.sink.mails().is_empty());
}

#[tokio::test]
async fn a_killed_process_leaves_one_row_and_one_message_id_a_person() {
    let world = World::start().await;
    world.sender().await;
    let mut people = Vec::new();
    for _ in 0..60 {
        people.push(world.person(&bob()).await);
    }
    // A second process on the same database, whose runtime is torn down in the middle of a campaign.
    world.sink.delay(Duration::from_millis(15));
    let campaign_id = world.send(&people, "at_least_once").await;
    world.sink.wait_for(|mail| mail.is_to(BOB), DEADLINE).await;
    testkit::eventually(DEADLINE, || async { (world.sink.mails().len() >= 10).then_some(()) }).await;
    let World { app, sink, peers } = world;
    let app = crate::world::kill_and_restart(app, &sink, &peers).await;
    let world = World { app, sink, peers };
    assert!(world.sink.mails().len() < 60, "killed in the middle");
    // The dead owner's lease runs out.
    world.advance(domain::TimeDelta::seconds(31));
    world.reaches(&campaign_id, "finished").await;
    let report = world.report(&campaign_id).await;
    assert_eq!((report.frozen, report.accepted), (60, 60));
    let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
    for mail in world.sink.mails() {
        *by_id.entry(mail.message_id).or_default() += 1;
    }
    let twice = by_id.values().filter(|count| **count > 1).count();
    assert_eq!(by_id.len(), 60, "one Message-ID a person");
    assert!(twice <= 4, "at most one mail a connection goes twice: {twice}");
}
