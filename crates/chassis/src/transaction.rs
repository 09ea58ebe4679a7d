use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool, PgTransaction, SqlSafeStr as _, Transaction};

use crate::remaining;

/// The database gives up so much earlier than the caller, so that nothing of a call goes on when nobody waits for it.
const MARGIN: Duration = Duration::from_millis(10);

/// Begins a transaction in which no statement outlasts the present call: what is left of its time is the statements'
/// time-out, set in the same round trip. Without it a statement that waits for a lock would keep its connection after its
/// caller has gone, and a few of them the whole pool. Outside of calls, in streams and tasks, there is none.
///
/// A statement that is ended so is Unavailable (`database_code`), a moment before the deadline; the transaction is rolled
/// back, so that the caller knows what came of it.
///
/// # Errors
/// No connection can be had, or the database refuses.
pub async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    let connection = pool.acquire().await?;
    // After the wait for a connection, which is the call's time too.
    let statement = match remaining() {
        Some(left) => {
            AssertSqlSafe(format!("begin; set local statement_timeout = {}", timeout(left))).into_sql_str()
        }
        None => "begin".into_sql_str(),
    };
    // By a task that nobody drops: sqlx counts a transaction from the answer on. A call that ended before would give its
    // connection back with a transaction open, and the next user's writes would go into it, and with it.
    let begun = tokio::spawn(Transaction::begin(connection, Some(statement)));
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

// In milliseconds; 0 would be none.
fn timeout(left: Duration) -> u128 {
    left.saturating_sub(MARGIN).as_millis().max(1)
}

#[cfg(test)]
mod tests;
