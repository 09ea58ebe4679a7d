use domain::Uuid;
use sqlx::{Connection, PgConnection, PgPool};

use crate::Error;

// Half of the key of the advisory locks, so that other users of such locks do not collide: "crms".
const CLASS: i32 = 0x6372_6d73;

/// The right to send to a destination. It is held by a database session of its own: whoever loses the session loses it.
pub struct Lease {
    connection: PgConnection,
    /// Raised by each runner that takes the destination over.
    pub epoch: i64,
}

impl Lease {
    /// Takes a destination over, if nobody has it.
    pub async fn take(pool: &PgPool, destination_id: Uuid) -> Result<Option<Self>, Error> {
        // Out of the pool for good: a lock must end with its session, never travel with a pooled connection.
        let mut connection = pool.acquire().await?.detach();
        let held = sqlx::query_scalar!(
            r#"select pg_try_advisory_lock($1, hashtext($2)) as "held!""#,
            CLASS,
            destination_id.to_string(),
        )
        .fetch_one(&mut connection)
        .await?;
        if !held {
            connection.close().await?;
            return Ok(None);
        }
        let epoch = sqlx::query_scalar!(
            "update crmsync.destination set epoch = epoch + 1 where destination_id = $1 returning epoch",
            destination_id,
        )
        .fetch_one(&mut connection)
        .await?;
        Ok(Some(Self { connection, epoch }))
    }

    /// Whether the session still lives.
    ///
    /// # Errors
    /// It does not: somebody else may have the destination.
    pub async fn check(&mut self) -> Result<(), Error> {
        Ok(self.connection.ping().await?)
    }

    /// Gives it up at once, so that a successor need not wait for the session's end.
    pub async fn give_up(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "lease session was gone");
        }
    }
}
