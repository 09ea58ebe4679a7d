//! Facts that are refused where they are told, since nobody behind could do anything about them.

use domain::DateTime;
use outbox::{Error, Fact, MAX_FACT_BYTES};
use testkit::records_in_outbox;

use crate::world::{ORDERED, SERVICE, STATES, World, fact};

async fn refusal(world: &World, begin: &'static str, fact: &Fact) -> Option<Error> {
    let mut tx = world.db.pool.begin_with(begin).await.unwrap();
    let refused = outbox::append(&mut tx, SERVICE, fact).await.err();
    tx.commit().await.unwrap();
    refused
}

#[tokio::test]
async fn a_fact_is_told_in_read_committed_only() {
    let world = World::new().await;
    let told = fact(&STATES, "alice", 1);
    for begin in ["begin isolation level repeatable read", "begin isolation level serializable"] {
        let refused = refusal(&world, begin, &told).await;
        assert!(matches!(refused, Some(Error::Isolation)), "{begin}: {refused:?}");
    }
    assert!(records_in_outbox(&world.db.pool, SERVICE).await.is_empty());
    for begin in ["begin", "begin isolation level read committed"] {
        let refused = refusal(&world, begin, &told).await;
        assert!(refused.is_none(), "{begin}: {refused:?}");
    }
    assert_eq!(records_in_outbox(&world.db.pool, SERVICE).await.len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_fact_above_the_limit_is_refused() {
    let world = World::new().await;
    let mut large = fact(&STATES, "alice", 1);
    large.payload = Some(vec![7; MAX_FACT_BYTES - 4]);
    let refused = refusal(&world, "begin", &large).await.unwrap();
    assert_eq!(
        refused.to_string(),
        "a fact for kotinos.mailer.campaign.v1 has 900001 bytes, the limit is 900000"
    );
    assert!(records_in_outbox(&world.db.pool, SERVICE).await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_fact_that_readers_could_not_read_is_refused() {
    let world = World::new().await;
    let right = fact(&ORDERED, "alice", 1);
    let wrong = [
        Fact { key: String::new(), ..right.clone() },
        Fact { key: "a".repeat(513), ..right.clone() },
        Fact { key: "ali\0ce".to_owned(), ..right.clone() },
        Fact { version: -1, ..right.clone() },
        Fact { version: 1 << 48, ..right.clone() },
        // Only a state topic has tombstones.
        Fact { payload: None, ..right.clone() },
        // RFC 3339 writes the years 0 to 9999.
        Fact { occurred_at: DateTime::from_timestamp(253_402_300_800, 0).unwrap(), ..right.clone() },
        Fact { occurred_at: DateTime::from_timestamp(-62_167_219_201, 0).unwrap(), ..right.clone() },
    ];
    for fact in wrong {
        let refused = refusal(&world, "begin", &fact).await;
        assert!(matches!(refused, Some(Error::Fact { .. })), "{fact:?}: {refused:?}");
    }
    assert!(records_in_outbox(&world.db.pool, SERVICE).await.is_empty());
    world.end().await;
}
