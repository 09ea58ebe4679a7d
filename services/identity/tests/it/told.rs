//! What other services and the audit learned.

use domain::Service;
use prost::Message as _;
use proto::identity::v1::UserState;

use crate::world::World;

/// What happened to users, oldest first, and the states that it led to.
pub async fn states(world: &World) -> Vec<(String, UserState)> {
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    rows.into_iter()
        .filter(|row| row.topic == "kotinos.identity.user.v1")
        .map(|row| (row.fact_type, UserState::decode(row.payload.unwrap_or_default().as_slice()).unwrap()))
        .collect()
}

/// What happened to users, oldest first.
pub async fn facts(world: &World) -> Vec<String> {
    states(world).await.into_iter().map(|(fact, _)| fact).collect()
}

/// How often somebody did something with this outcome.
pub async fn audited(world: &World, action: &str, outcome: &str) -> i64 {
    let sql = "select count(*) from identity.audit_record where action = $1 and outcome = $2";
    sqlx::query_scalar(sql).bind(action).bind(outcome).fetch_one(&world.app.pool).await.unwrap()
}
