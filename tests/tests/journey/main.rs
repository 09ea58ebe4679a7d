//! The journey on real processes, PostgreSQL and Kafka: in both shapes, and with each service killed on the way.

#![expect(clippy::panic, clippy::print_stdout, reason = "a test fails by panic, and prints what it saw")]

mod operators;
mod personal_data;
mod told_again;

use anyhow::Result;
use domain::Service;
use e2e::{Interruption, Moment, Shape, Step, Suite, Walk};
use tokio::sync::Mutex;

/// One suite at a time: a machine of two cores that runs several at once tells little by its time-outs.
static TURN: Mutex<()> = Mutex::const_new(());

fn print(step: &Step) {
    println!("{}. {} ({:.1} s)", step.number, step.title, step.took.as_secs_f32());
    for line in &step.evidence {
        println!("   {line}");
    }
}

/// Walks through a suite and stops it; fails with the ends of the logs.
async fn walk(name: &str, shape: Shape, interruptions: &[Interruption]) {
    let _turn = TURN.lock().await;
    let suite = Suite::start(name, shape).await.unwrap_or_else(|error| panic!("{error:?}"));
    let walked = go(&suite, interruptions).await;
    if let Err(error) = walked {
        panic!("{:?}", suite.with_logs(error).await);
    }
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn go(suite: &Suite, interruptions: &[Interruption]) -> Result<()> {
    let mut walk = Walk::begin(suite, &mut print).await?.interrupted(interruptions);
    walk.go(&mut print).await?;
    told_again::is_the_same(suite).await?;
    operators::are_answered(suite).await?;
    personal_data::stays_inside(&walk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journey_in_one_process() {
    walk("all-in-one", Shape::AllInOne, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journey_with_each_service_in_a_process_of_its_own() {
    walk("services", Shape::Services, &[]).await;
}

/// Each service is killed in the middle of steps 2 to 6, where it has work under way, and started again; every step sees what
/// it sees without a kill.
#[tokio::test(flavor = "multi_thread")]
async fn kill_and_restart() {
    let interruptions = [
        (Moment::ProfileSaved, Service::Identity),
        (Moment::ConsentsGiven, Service::Profile),
        (Moment::SegmentCreated, Service::Segmentation),
        (Moment::CampaignScheduled, Service::Mailer),
        (Moment::LoadApplied, Service::CrmSync),
        (Moment::RaceOn, Service::ResultsFeed),
        (Moment::PodiumIn, Service::Portal),
        (Moment::Protested, Service::ResultsFeed),
    ]
    .map(|(moment, service)| Interruption { moment, service });
    walk("killed", Shape::Services, &interruptions).await;
}
