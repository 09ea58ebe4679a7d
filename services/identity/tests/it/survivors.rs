//! What is left when an instance, or the database, goes away under load.

use std::time::Duration;

use crate::{
    load::Load,
    process::Process,
    tap::Tap,
    world::{ALICE, BOB, Instance, World},
};

/// How long a restart of PostgreSQL takes.
const AWAY: Duration = Duration::from_secs(5);

#[tokio::test]
async fn one_of_two_processes_is_killed_under_load_and_the_other_goes_on() {
    let world = World::start().await;
    for person in [ALICE, BOB] {
        world.sign_up(person).await;
    }
    let mut doomed = Process::start(&world, world.app.database_url()).await;
    let other = Process::start(&world, world.app.database_url()).await;
    let at = |process: &Process| Instance::at(world.app.http(), process.http.clone());
    let load = Load::prepare(&world, vec![at(&doomed), at(&other)], true).await;
    let fault = async {
        load.reaches(Load::HALF).await;
        doomed.kill();
        load.goes_on().await;
    };
    let held = load.run(fault).await;
    load.check(&held).await;
}

#[tokio::test]
async fn a_database_that_restarts_under_load_costs_nobody_anything() {
    let tap = Tap::start().await;
    let world = World::start_through(&tap).await;
    for person in [ALICE, BOB] {
        world.sign_up(person).await;
    }
    let load = Load::prepare(&world, vec![Instance::of(&world.app)], false).await;
    let fault = async {
        load.reaches(Load::HALF).await;
        // As a server does that stops: it ends what runs, with a word, and then nobody is there for a while.
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid))
             from pg_stat_activity
             where datname = current_database() and application_name = 'kotinos-identity'",
        )
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
        assert!(ended > 0);
        tap.cut();
        tokio::time::sleep(AWAY).await;
        tap.mend();
        load.goes_on().await;
    };
    let held = load.run(fault).await;
    load.check(&held).await;
}
