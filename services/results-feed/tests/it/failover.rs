//! Two replicas behind a plain balancer: readers of the one that dies go on at the other, and miss and repeat nothing.

use std::time::Duration;

use testkit::races::hundred_metres_final;

use crate::{
    balancer::Balancer,
    follower::{Follower, state},
    process::{Process, Surroundings},
    world::World,
};

const READERS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_replica_that_dies_go_on_at_the_other_one() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let around = Surroundings::of(&world);
    let (mut one, two) = tokio::join!(Process::start(&around), Process::start(&around));
    let balancer = Balancer::over(&[one.http, two.http]).await;
    let race = hundred_metres_final(1);
    let began = world.send(&key, &race[..4]).await;

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = balancer.url("/results/v1/feed?mode=every");
    let readers: Vec<Follower> = (0..READERS).map(|_| Follower::start(&url, None)).collect();
    for reader in &readers {
        reader.wait_until(|followed| followed.began.is_some()).await;
    }
    let seen = world.send(&key, &race[4..8]).await;
    // Half of them are at the first one, some in the middle of a change.
    world.send(&key, &race[8..9]).await;
    one.kill();
    let last = world.send(&key, &race[9..]).await;
    let state = state(&client, &format!("http://{}/results/v1/state", two.http)).await;
    for reader in &readers {
        reader
            .wait_until(|followed| {
                i64::try_from(followed.seqs.len()).unwrap() >= last - followed.began.unwrap()
            })
            .await;
    }
    let mut came_back = 0;
    for reader in &readers {
        let mut followed = reader.followed();
        followed.seqs.sort_unstable();
        // A replica may not have heard of the newest yet when a reader came.
        let since = followed.began.unwrap();
        assert!(since <= began, "{since}");
        let all: Vec<i64> = (since + 1..=last).collect();
        assert_eq!((followed.seqs, followed.faults, followed.resets), (all, vec![], vec![]));
        assert_eq!(followed.documents, state);
        came_back += usize::from(followed.connections > 1);
    }
    assert!(seen > began && came_back >= READERS / 3, "only {came_back} lost their replica");
    drop(two);
    world.app.stop().await;
}

#[tokio::test]
async fn a_cursor_is_served_by_either_replica() {
    let world = World::start().await;
    let other = world.beside().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(2);
    world.send(&key, &race[..5]).await;
    let balancer = Balancer::over(&[address(&world)]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let reader = Follower::start(&balancer.url("/results/v1/feed?mode=every"), None);
    reader.wait_until(|followed| followed.began.is_some()).await;
    let mut last = 0;
    for (at, document) in race[5..].iter().enumerate() {
        // Each connection is a few documents long, at the one and then at the other.
        if at % 3 == 2 {
            let next = if at % 2 == 0 { address(&world) } else { address(&other) };
            balancer.lead_to(&[next]);
            balancer.hang_up();
        }
        last = world.send(&key, std::slice::from_ref(document)).await;
        let wait = reader.wait_until(|followed| followed.seqs.contains(&last));
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    }
    let mut followed = reader.followed();
    followed.seqs.sort_unstable();
    assert_eq!(followed.seqs, (6..=last).collect::<Vec<i64>>());
    assert_eq!((followed.faults.len(), followed.resets.len()), (0, 0), "{:?}", followed.faults);
    assert!(followed.connections > 2, "{}", followed.connections);
    assert_eq!(followed.documents, state(&client, &balancer.url("/results/v1/state")).await);
    other.app.stop().await;
    world.app.stop().await;
}

fn address(world: &World) -> std::net::SocketAddr {
    world.app.http_url("").trim_start_matches("http://").parse().unwrap()
}
