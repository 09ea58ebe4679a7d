//! Two processes over one database, and one after the other: the log is one, and so is its order.

use proto::results::v1::SubscribeMode;
use testkit::races::hundred_metres_final;

use crate::world::{Partner, World};

#[tokio::test]
async fn what_one_replica_takes_the_other_delivers_in_one_order() {
    let one = World::start().await;
    let two = one.beside().await;
    let (_, key) = one.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let mut at_one = Partner::default();
    at_one.connect(&one, SubscribeMode::Every, &[]).await;
    at_one.read_snapshot().await;
    let mut at_two = Partner::default();
    at_two.connect(&two, SubscribeMode::Every, &[]).await;
    at_two.read_snapshot().await;

    let mut last = 0;
    for (at, document) in race.iter().enumerate() {
        let replica = if at % 2 == 0 { &one } else { &two };
        last = replica.send(&key, std::slice::from_ref(document)).await;
    }
    at_one.read_to(last).await;
    at_two.read_to(last).await;
    let all: Vec<i64> = (1..=i64::try_from(race.len()).unwrap()).collect();
    assert_eq!(at_one.seqs, all);
    assert_eq!(at_two.seqs, all);
    assert_eq!(at_one.documents, at_two.documents);
    two.app.stop().await;
    one.app.stop().await;
}

#[tokio::test]
async fn a_cursor_of_one_process_is_good_at_its_successor() {
    let home = World::start().await;
    let (_, key) = home.key("P", &[]).await;
    let race = hundred_metres_final(2);
    let first = home.beside().await;
    let seen = first.send(&key, &race[..4]).await;
    let mut partner = Partner::default();
    partner.connect(&first, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    partner.drop_connection();
    first.app.stop().await;

    let last = home.send(&key, &race[4..]).await;
    // Its ring is empty: what the partner missed comes from the log.
    let successor = home.beside().await;
    partner.connect(&successor, SubscribeMode::Every, &[]).await;
    partner.read_to(last).await;
    assert_eq!(partner.seqs, (seen + 1..=last).collect::<Vec<i64>>());
    successor.app.stop().await;
    home.app.stop().await;
}
