//! Over a real PostgreSQL: what is asserted is what the server does when its client has gone.

use std::{convert::Infallible, pin::pin};

use http::{Request, Response};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::{Instant, sleep};
use tonic::{Code, body::Body};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;
use crate::layers::deadline::Deadline;

/// A pool of one connection with a name, by which others see what it does.
struct World {
    pool: PgPool,
    others: PgPool,
    name: String,
}

impl World {
    async fn new() -> Self {
        let url = std::env::var("KOTINOS_TEST_DATABASE_URL");
        let url =
            url.expect("KOTINOS_TEST_DATABASE_URL: `make test` sets it, or `deploy/local/stack run test`");
        let options: PgConnectOptions = url.parse().unwrap();
        let name = format!("begin-{}", &domain::new_id().simple().to_string()[20..]);
        let pool = |most: u32| PgPoolOptions::new().max_connections(most);
        let others = pool(2).connect_with(options.clone()).await.unwrap();
        Self { pool: pool(1).connect_with(options.application_name(&name)).await.unwrap(), others, name }
    }

    /// What the server says that our one connection is doing.
    async fn state(&self) -> String {
        sqlx::query_scalar("select coalesce(state, '') from pg_stat_activity where application_name = $1")
            .bind(&self.name)
            .fetch_one(&self.others)
            .await
            .unwrap()
    }

    async fn becomes(&self, state: &str, within: Duration) {
        let until = Instant::now() + within;
        while self.state().await != state {
            assert!(Instant::now() < until, "{} after {within:?}", self.state().await);
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A call with this deadline, whose handler waits for a lock that another session holds.
async fn call(world: &World, lock: i64, deadline: Duration, bounded: bool) -> Code {
    let pool = world.pool.clone();
    let handler = service_fn(move |_: Request<()>| {
        let pool = pool.clone();
        async move {
            let mut tx = if bounded { begin(&pool).await } else { pool.begin().await }.unwrap();
            let waited = sqlx::query("select pg_advisory_xact_lock($1)")
                .bind(lock)
                .execute(&mut *tx)
                .await
                .unwrap_err();
            let code = crate::database_code(&waited);
            Ok::<_, Infallible>(tonic::Status::new(code.grpc(), "").into_http::<Body>())
        }
    });
    let service = Deadline::grpc(move |_| Some(deadline)).layer(handler);
    let answer: Response<Body> = service.oneshot(Request::new(())).await.unwrap();
    tonic::Status::from_header_map(answer.headers()).unwrap().code()
}

#[tokio::test]
async fn nothing_of_a_call_goes_on_in_the_database_after_its_deadline() {
    let world = World::new().await;
    let lock: i64 = any_lock();
    let mut holder = world.others.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)").bind(lock).execute(&mut *holder).await.unwrap();

    let began = Instant::now();
    let code = call(&world, lock, Duration::from_millis(300), true).await;
    assert!(matches!(code, Code::Unavailable | Code::DeadlineExceeded), "{code:?}");
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    world.becomes("idle", Duration::from_millis(250)).await;
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());

    // What the other way of beginning leaves behind, which is why there is this one.
    assert_eq!(call(&world, lock, Duration::from_millis(100), false).await, Code::DeadlineExceeded);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(world.state().await, "active");
    holder.rollback().await.unwrap();
    world.becomes("idle", Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_time_out_ends_with_its_transaction() {
    let world = World::new().await;
    let shown = async |tx: &mut PgTransaction<'_>| -> String {
        sqlx::query_scalar("select current_setting('statement_timeout')").fetch_one(&mut **tx).await.unwrap()
    };
    let (pool, seen) = (world.pool.clone(), std::sync::Arc::new(std::sync::Mutex::new(String::new())));
    let noted = std::sync::Arc::clone(&seen);
    let handler = service_fn(move |_: Request<()>| {
        let (pool, noted) = (pool.clone(), std::sync::Arc::clone(&noted));
        async move {
            let mut tx = begin(&pool).await.unwrap();
            let text = shown(&mut tx).await;
            *noted.lock().unwrap() = text;
            tx.commit().await.unwrap();
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    Deadline::grpc(|_| Some(Duration::from_secs(2))).layer(handler).oneshot(Request::new(())).await.unwrap();
    let inside = seen.lock().unwrap().clone();
    let milliseconds: u64 = inside.strip_suffix("ms").unwrap().parse().unwrap();
    assert!((1_000..=1_990).contains(&milliseconds), "{inside}");
    // The same connection, outside of a call.
    let mut tx = begin(&world.pool).await.unwrap();
    assert_eq!(shown(&mut tx).await, "0");
}

#[tokio::test]
async fn a_call_that_ends_while_it_begins_leaves_no_transaction_open() {
    let world = World::new().await;
    for polls in 1..40 {
        {
            let mut beginning = pin!(begin(&world.pool));
            for _ in 0..polls {
                if futures::poll!(&mut beginning).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Who comes next gets the connection when the one before is done with it.
        drop(world.pool.acquire().await.unwrap());
        world.becomes("idle", Duration::from_secs(5)).await;
    }
}

#[test]
fn a_time_out_is_never_none() {
    let table = [(0, 1), (5, 1), (10, 1), (11, 1), (12, 2), (300, 290), (5_000, 4_990)];
    for (left, milliseconds) in table {
        assert_eq!(timeout(Duration::from_millis(left)), milliseconds, "{left}");
    }
}

fn any_lock() -> i64 {
    let bytes: [u8; 8] = domain::new_id().into_bytes()[8..].try_into().unwrap();
    i64::from_be_bytes(bytes)
}
