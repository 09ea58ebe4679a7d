//! Deliveries when something fails: the partner's server, a document, a process.

use std::collections::HashMap;

use domain::TimeDelta;
use proto::results::v1::{DeliveryState, EntitlementRule, ResumeDeliveryRequest};
use testkit::{eventually, races::hundred_metres_final};

use crate::{
    receiver::{Post, Receiver, assert_in_order, deliveries, get, target, wait_for_progress, wish},
    world::{DEADLINE, World},
};

#[tokio::test]
async fn what_is_refused_comes_again_until_it_is_taken_in_order() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let mut tries = HashMap::new();
    // Each document's first two tries fail, each in its own way; 201 is no success (F 8.2 says 200).
    let receiver = Receiver::start(move |post| {
        let tried = tries.entry(post.document()).and_modify(|tried| *tried += 1).or_insert(1);
        match *tried {
            1 => 500,
            2 => 201,
            _ => 200,
        }
    })
    .await;
    let target = target(&world, wish(&receiver.url)).await;
    let last = world.send(&key, &race).await;
    wait_for_progress(&world, &target.target_id, "results", last).await;
    let taken = receiver.taken();
    assert_eq!(taken.len(), race.len());
    assert_in_order(&taken);
    assert_eq!(receiver.posts().len(), 3 * race.len());
    assert!(get(&world, &target.target_id).await.progress.iter().all(|lane| lane.failing_since.is_none()));
    let figures = world.app.http().get(world.app.ops_url("/metrics")).send().await.unwrap();
    let figures = String::from_utf8(figures.bytes().await.unwrap().to_vec()).unwrap();
    let taken = format!(
        "results_delivery_documents_total{{target=\"{}\",lane=\"results\",outcome=\"taken\"}} {}",
        target.target_id,
        race.len()
    );
    assert!(figures.contains(&taken), "{figures}");
    assert!(!figures.contains(&receiver.url) && !figures.contains(crate::receiver::KEY));
    world.app.stop().await;
}

#[tokio::test]
async fn a_document_that_is_refused_for_ever_holds_up_itself_alone() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let is_update = |post: &Post| post.document_type() == "DT_SCHEDULE_UPDATE";
    let receiver = Receiver::start(move |post| if is_update(post) { 400 } else { 200 }).await;
    let target = target(&world, wish(&receiver.url)).await;
    let last = world.send(&key, &race).await;
    let others = race.iter().filter(|document| document.document_type != "DT_SCHEDULE_UPDATE").count();
    assert_eq!(receiver.wait_for(others).await.len(), others);
    // Only the lowest version of what is refused was tried.
    assert!(receiver.posts().iter().filter(|post| is_update(post)).all(|post| post.document().1 == 1));
    receiver.judge(|_| 200);
    wait_for_progress(&world, &target.target_id, "results", last).await;
    assert_eq!(receiver.taken().len(), race.len());
    assert_in_order(&receiver.taken());
    world.app.stop().await;
}

#[tokio::test]
async fn a_lane_goes_on_without_a_document_that_is_refused_while_hundreds_are_taken() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let is_update = |post: &Post| post.document_type() == "DT_SCHEDULE_UPDATE";
    let receiver = Receiver::start(move |post| if is_update(post) { 400 } else { 200 }).await;
    let target = target(&world, wish(&receiver.url)).await;
    let refused = world.send(&key, &race[..2]).await;
    let list = |number: usize| race[2].xml.replace("ATHM100M", &format!("ATHM{number:04}"));
    for number in 0..600 {
        assert_eq!(world.post(&key, list(number)).await.outcome, "accepted");
    }
    // Behind it there is nothing any more that has to be kept in mind.
    wait_for_progress(&world, &target.target_id, "results", refused + 500).await;
    // Later versions of it wait behind it.
    let last = world.send(&key, &race[3..4]).await;
    wait_for_progress(&world, &target.target_id, "results", last).await;
    assert!(receiver.posts().iter().filter(|post| is_update(post)).all(|post| post.document().1 == 1));
    receiver.judge(|_| 200);
    let taken = receiver.wait_for(603).await;
    assert_eq!(taken.len(), 603);
    assert_in_order(&taken);
    world.app.stop().await;
}

#[tokio::test]
async fn bulk_never_holds_results_up() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let is_pdf = |post: &Post| post.document_type() == "DT_PDF";
    let receiver = Receiver::start(move |post| if is_pdf(post) { 503 } else { 200 }).await;
    let target = target(&world, wish(&receiver.url)).await;
    world.entitle(&world.client_id(), vec![EntitlementRule::default()]).await;
    for version in 1..=8 {
        let pdf =
            race[2].xml.replace("DT_RESULT", "DT_PDF").replace("ATHM100M", &format!("ATHM10{version}M"));
        assert_eq!(world.post(&key, pdf).await.outcome, "accepted");
    }
    let last = world.send(&key, &race).await;
    wait_for_progress(&world, &target.target_id, "results", last).await;
    assert_eq!(receiver.taken().len(), race.len());
    let bulk = get(&world, &target.target_id).await;
    let bulk = bulk.progress.iter().find(|progress| progress.lane == "bulk").unwrap().clone();
    assert!(bulk.acknowledged < last && bulk.failing_since.is_some());
    receiver.judge(|_| 200);
    wait_for_progress(&world, &target.target_id, "bulk", last).await;
    assert_eq!(receiver.taken().iter().filter(|post| is_pdf(post)).count(), 8);
    world.app.stop().await;
}

#[tokio::test]
async fn after_a_kill_another_replica_goes_on_and_repeats_nothing_that_was_saved() {
    let one = World::start().await;
    let (_, key) = one.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let receiver =
        Receiver::start(|post| if post.document_type() == "DT_SCHEDULE_UPDATE" { 503 } else { 200 }).await;
    let target = target(&one, wish(&receiver.url)).await;
    one.send(&key, &race[..8]).await;
    let before = race[..8].iter().filter(|document| document.document_type != "DT_SCHEDULE_UPDATE").count();
    receiver.wait_for(before).await;
    // Taken out of order, and saved as such.
    eventually(DEADLINE, async || {
        let sql = "select cardinality(ahead) from results.delivery_progress where lane = 'results'";
        let ahead: i32 = sqlx::query_scalar(sql).fetch_one(&one.app.pool).await.unwrap();
        (usize::try_from(ahead).unwrap() == before).then_some(())
    })
    .await;

    let two = one.beside().await;
    let _ = one.app.kill();
    receiver.judge(|_| 200);
    let last = two.send(&key, &race[8..]).await;
    wait_for_progress(&two, &target.target_id, "results", last).await;
    let times = |xml: &str| receiver.taken().iter().filter(|post| post.xml == xml).count();
    // What was under way when the process died may come a second time: that it was taken could not be saved.
    for document in &race {
        let (times, may_repeat) = (times(&document.xml), document.document_type == "DT_SCHEDULE_UPDATE");
        assert!(times == 1 || (times > 1 && may_repeat), "{times} times {}", document.document_type);
    }
    assert_in_order(&receiver.taken());
    two.app.stop().await;
}

#[tokio::test]
async fn what_a_kill_repeats_is_what_was_under_way() {
    let mut world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let receiver = Receiver::start(|_| 200).await;
    let target = target(&world, wish(&receiver.url)).await;
    let (mut sent, mut kills) = (0_usize, 0);
    for seed in 1..=4_u64 {
        let at = usize::try_from(seed).unwrap();
        for (version, document) in hundred_metres_final(seed).iter().enumerate() {
            let version = 100 * at + version + 1;
            let number = format!(" Version=\"{version}\"");
            let xml = document.xml.replace(&format!(" Version=\"{}\"", document.version), &number);
            assert_eq!(world.post(&key, xml).await.outcome, "accepted");
            sent += 1;
        }
        // In the middle of it, on purpose at no certain place.
        let successor = world.beside().await;
        let _ = std::mem::replace(&mut world, successor).app.kill();
        kills += 1;
    }
    let last = i64::try_from(sent).unwrap();
    wait_for_progress(&world, &target.target_id, "results", last).await;
    let taken = receiver.taken();
    let distinct: std::collections::HashSet<_> = taken.iter().map(Post::document).collect();
    assert_eq!(distinct.len(), sent, "none was lost");
    // Four under way, and four whose answers were being written.
    assert!(taken.len() - sent <= 8 * kills, "{} repeats", taken.len() - sent);
    world.app.stop().await;
}

#[tokio::test]
async fn a_day_without_success_parks_a_target_until_somebody_resumes_it() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let receiver = Receiver::start(|_| 500).await;
    let target = target(&world, wish(&receiver.url)).await;
    let last = world.send(&key, &race).await;
    eventually(DEADLINE, async || {
        let target = get(&world, &target.target_id).await;
        target.progress.iter().any(|lane| lane.failing_since.is_some()).then_some(())
    })
    .await;
    world.app.clock.advance(TimeDelta::hours(23));
    assert_eq!(get(&world, &target.target_id).await.state(), DeliveryState::Running);
    world.app.clock.advance(TimeDelta::hours(1));
    eventually(DEADLINE, async || {
        let target = get(&world, &target.target_id).await;
        (target.state() == DeliveryState::Parked).then_some(())
    })
    .await;

    receiver.judge(|_| 200);
    let resume = ResumeDeliveryRequest { target_id: target.target_id.clone() };
    deliveries(&world).resume_delivery(resume).await.unwrap();
    wait_for_progress(&world, &target.target_id, "results", last).await;
    assert_eq!(receiver.taken().len(), race.len());
    assert_in_order(&receiver.taken());
    world.app.stop().await;
}
